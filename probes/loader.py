"""The child that compiles and attaches the probes, hands the descriptors over, and is gone.

`python -m probes.loader FD`, with FD a socket as exchange.py describes. This way BCC, and the compiler in it,
stay out of the collector's memory.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from probes import bpf
from probes.btf import Btf, BtfError
from probes.catalog import HOOKS, Dialect, Hook, Map, dialects, hooks_of, maps_of
from probes.compiler import CodeOf, CompileError, Compiler, header_directory
from probes.exchange import (
    MESSAGE_BYTES,
    HookResult,
    ProbeError,
    Request,
    send_descriptors,
    send_error,
    send_report,
)
from probes.headers import BTF_DIRECTORY, running_kernel

LOG_SHOWN_CHARACTERS = 4096
NOTHING_LOADED = "No probe can be loaded; logs are not affected."


@dataclass(frozen=True, slots=True)
class Attachment:
    """Descriptors of an attached program."""

    hook: Hook
    dialect: Dialect
    program: int
    link: int


class Attacher:
    """Attaches each hook in the best dialect that the kernel takes."""

    def __init__(self, compiler: Compiler, btf_ids: dict[str, int]) -> None:
        """`btf_ids`: of the tracepoints' typedefs, as far as the kernel has them."""
        self._compiler = compiler
        self._btf_ids = btf_ids
        self._reasons: dict[Hook, list[str]] = {}
        self.attached: dict[Hook, Attachment] = {}

    def run(self, hooks: Sequence[Hook], forced: Dialect | None) -> None:
        for dialect in Dialect:
            self._attach_all([hook for hook in hooks if self._is_wanted(hook, dialect, forced)], dialect)

    def result(self, hook: Hook) -> HookResult:
        done = self.attached.get(hook)
        return HookResult(hook.tracepoint, done.dialect if done else None, tuple(self._reasons.get(hook, ())))

    def _is_wanted(self, hook: Hook, dialect: Dialect, forced: Dialect | None) -> bool:
        return hook not in self.attached and dialect in dialects(hook, self._btf_ids, forced)

    def _attach_all(self, hooks: Sequence[Hook], dialect: Dialect) -> None:
        subjects = list(dict.fromkeys(hook.subject for hook in hooks))
        if not subjects:
            return
        try:
            code_of = self._compiler.compile(subjects, dialect)
        except CompileError as error:
            if len(subjects) == 1:
                self._note(hooks, str(error))
                return
            # One subject that this kernel's types don't fit must not take the others with it.
            for subject in subjects:
                self._attach_all([hook for hook in hooks if hook.subject == subject], dialect)
            return
        for hook in hooks:
            self._attach(hook, dialect, code_of)

    def _attach(self, hook: Hook, dialect: Dialect, code_of: CodeOf) -> None:
        try:
            program, link = attach(hook, dialect, code_of(hook.tracepoint), self._btf_ids)
        except OSError as error:
            self._note([hook], reason_of(hook, error))
        else:
            self.attached[hook] = Attachment(hook, dialect, program, link)

    def _note(self, hooks: Sequence[Hook], reason: str) -> None:
        for hook in hooks:
            self._reasons.setdefault(hook, []).append(reason)


def attach(hook: Hook, dialect: Dialect, code: bytes, btf_ids: dict[str, int]) -> tuple[int, int]:
    """(program, link). Raises OSError."""
    name = f"pw_{hook.tracepoint}"
    if dialect is Dialect.RAW_TP:
        program = bpf.program_load(name, bpf.PROG_TYPE_RAW_TRACEPOINT, code)
        return program, bpf.raw_tracepoint_open(program, hook.tracepoint)
    btf_id = btf_ids.get(hook.tracepoint, 0)
    program = bpf.program_load(
        name, bpf.PROG_TYPE_TRACING, code, attach_type=bpf.ATTACH_TRACE_RAW_TP, btf_id=btf_id
    )
    return program, bpf.raw_tracepoint_open(program, None)


def reason_of(hook: Hook, error: OSError) -> str:
    if isinstance(error, bpf.VerifierError) and error.log:
        print(hook.tracepoint, error.log[-LOG_SHOWN_CHARACTERS:], file=sys.stderr)
        return f"bpf(BPF_PROG_LOAD): {error.strerror}: {verifier_reason(error.log)}"
    if error.errno == errno.ENOENT:
        return (
            f"the kernel has no tracepoint {hook.tracepoint} (since Linux {'.'.join(map(str, hook.since))})"
        )
    return f"bpf(2): {error.strerror}"


def verifier_reason(log: str) -> str:
    """The last thing that the verifier said before its statistics."""
    lines = [
        line for line in log.split("\n") if line and not line.startswith(("processed ", "verification "))
    ]
    return lines[-1] if lines else ""


def check_requirements() -> None:
    """Raises ProbeError for what no hook could work without."""
    if not (BTF_DIRECTORY / "vmlinux").exists():
        raise ProbeError(
            f"The kernel does not describe its types: {BTF_DIRECTORY}/vmlinux is missing.",
            NOTHING_LOADED,
            "Use a kernel with CONFIG_DEBUG_INFO_BTF=y (all big distributions since 2021), and give the "
            "container the host's /sys.",
        )
    try:
        import bcc  # noqa: F401
    except (ImportError, OSError) as error:
        raise ProbeError(
            f"BCC can't be imported by {sys.executable}: {error}.",
            NOTHING_LOADED,
            "Install python3-bpfcc (Debian, Ubuntu) or python3-bcc (Fedora); a virtual environment sees it "
            "only with --system-site-packages.",
        ) from error


def lift_locked_memory_limit() -> None:
    """Before 5.11 maps count as locked memory of the process. Without CAP_SYS_RESOURCE the limit may stay."""
    for limit in (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            return


def make_maps(subjects: Sequence[str], ring_bytes: int) -> dict[Map, int]:
    """Descriptors. The first is the ring: what fails there fails for all. Raises ProbeError."""
    made: dict[Map, int] = {}
    try:
        for wanted in maps_of(subjects, ring_bytes):
            made[wanted] = bpf.map_create(
                wanted.type.value,
                f"pw_{wanted.name}",
                wanted.key_bytes,
                wanted.value_bytes,
                wanted.entries,
                bpf.MAP_FLAG_MMAPABLE if wanted.mappable else 0,
            )
    except PermissionError as error:
        raise ProbeError(
            "The kernel refuses to make a map: bpf(2): EPERM.",
            NOTHING_LOADED,
            "Run privileged, or with the capabilities BPF, PERFMON and SYS_RESOURCE (kernels before 5.8: "
            "SYS_ADMIN), and with a seccomp profile that allows bpf(2).",
        ) from error
    except OSError as error:
        raise ProbeError(
            f"The kernel refuses to make the map {wanted.name}: bpf(2): {error.strerror}.",
            NOTHING_LOADED,
            "Ring buffers need Linux 5.8 and a size that is a power of two; all maps need memory, about "
            "16 MiB and the ring.",
        ) from error
    return made


def read_types() -> list[Btf]:
    """The kernel's, then those of modules. Raises ProbeError."""
    try:
        return running_kernel()
    except (OSError, BtfError) as error:
        raise ProbeError(
            f"The kernel's types can't be read: {error}.", NOTHING_LOADED, f"See {BTF_DIRECTORY}."
        ) from error


def find_btf_ids(kernel: Btf) -> dict[str, int]:
    """Of those tracepoints in the catalog that the kernel has."""
    found = {hook.tracepoint: kernel.typedef(f"btf_trace_{hook.tracepoint}") for hook in HOOKS}
    return {tracepoint: btf_id for tracepoint, btf_id in found.items() if btf_id is not None}


def load(request: Request) -> tuple[dict[Map, int], Attacher]:
    """Raises ProbeError."""
    check_requirements()
    lift_locked_memory_limit()
    types = read_types()
    maps = make_maps(request.subjects, request.ring_bytes)
    with header_directory(types, request.without) as headers:
        attacher = Attacher(Compiler(headers, maps), find_btf_ids(types[0]))
        attacher.run(hooks_of(request.subjects), request.dialect)
    return maps, attacher


def descriptors(maps: dict[Map, int], attacher: Attacher) -> Iterator[tuple[str, int]]:
    for made, descriptor in maps.items():
        yield f"map:{made.name}", descriptor
    for hook, attachment in attacher.attached.items():
        yield f"program:{hook.tracepoint}", attachment.program
        yield f"link:{hook.tracepoint}", attachment.link


def main(channel: socket.socket) -> int:
    request = Request.decode(channel.recv(MESSAGE_BYTES))
    try:
        maps, attacher = load(request)
    except ProbeError as error:
        send_error(channel, error)
        return 1
    send_descriptors(channel, list(descriptors(maps, attacher)))
    send_report(channel, [attacher.result(hook) for hook in hooks_of(request.subjects)])
    return 0


if __name__ == "__main__":
    status = main(socket.socket(fileno=int(sys.argv[1])))
    sys.stderr.flush()
    # Not by exit(): BCC undoes things in an atexit function, and freeing a compiler takes its time.
    os._exit(status)

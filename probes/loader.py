"""The child that compiles and attaches the probes, hands the descriptors over, and is gone.

`python -m probes.loader [CACHE] FD`, with FD a socket as exchange.py describes. This way BCC, and the
compiler in it, stay out of the collector's memory. With probes in the folder CACHE that fit, they are not
even loaded.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from probes import bpf
from probes.btf_files import BTF_DIRECTORY
from probes.cache import Cache
from probes.cache_key import compiler_version, key_of
from probes.catalog import Dialect, Hook, Map, RingSizes, dialects, maps_of, needed
from probes.cgroup_root import open_root
from probes.choice import are_packets_seen, hooks_for, kinds_off
from probes.codes import CodeSource, CompileError, Unit
from probes.conntrack import open_of_the_node
from probes.cpus import possible_cpus
from probes.exchange import (
    COMPILED,
    LIBRARIES,
    MESSAGE_BYTES,
    NO_TRACEPOINT,
    NOTHING_LOADED,
    HookResult,
    Origin,
    ProbeError,
    Request,
    send_descriptors,
    send_error,
    send_report,
)
from probes.kept_code import Entry, NotKept, Recorder, Replay
from probes.netlink import NetlinkSocket

LOG_SHOWN_CHARACTERS = 4096
NEEDS_NET_ADMIN = " (programs of cgroups need the capability NET_ADMIN)"


class Attachment(NamedTuple):
    """Descriptors of an attached program."""

    hook: Hook
    dialect: Dialect
    program: int
    link: int


class Attacher:
    """Attaches each hook in the best dialect that the kernel takes."""

    def __init__(self, compiler: CodeSource, btf_ids: dict[str, int], without: Collection[str] = ()) -> None:
        """`btf_ids`: of the tracepoints' typedefs, as far as the kernel has them. `without`: as in a
        Request."""
        self._compiler = compiler
        self._btf_ids = btf_ids
        self._without = without
        self.hooks: tuple[Hook, ...] = ()  # those that were tried
        self._reasons: dict[Hook, list[str]] = {}
        self.attached: dict[Hook, Attachment] = {}
        self.attached_ns = 0  # CLOCK_BOOTTIME: what begins from then on is seen

    def run(self, hooks: Sequence[Hook], forced: Dialect | None) -> None:
        self.hooks = needed(hooks, self._btf_ids, self._without)
        tries = {hook: dialects(hook, self._btf_ids, forced) for hook in self.hooks}
        for number in range(len(Dialect)):
            left = {hook: tried[number:] for hook, tried in tries.items() if hook not in self.attached}
            self._attach_all({hook: tried[0] for hook, tried in left.items() if tried})
        self.attached_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        # What begins from now on the other programs see.
        for hook, done in list(self.attached.items()):
            if hook.is_walk and not hook.kinds:
                self._walk(hook, done)

    def _walk(self, hook: Hook, done: Attachment) -> None:
        try:
            bpf.walk(done.link)
        except OSError as error:
            self._note([hook], f"read(2): {error.strerror}")

    def result(self, hook: Hook) -> HookResult:
        done = self.attached.get(hook)
        return HookResult(hook.tracepoint, done.dialect if done else None, tuple(self._reasons.get(hook, ())))

    def detach(self) -> None:
        while self.attached:
            _, done = self.attached.popitem()
            os.close(done.link)
            os.close(done.program)

    def _attach_all(self, wanted: Mapping[Hook, Dialect]) -> None:
        loads = Loads(self._btf_ids)
        for unit, made in self._compiler.compile(units_of(wanted)):
            hooks = [hook for hook in wanted if hook.tracepoint in unit.tracepoints]
            if isinstance(made, CompileError):
                self._note(hooks, str(made))
                continue
            codes = {hook: made[hook.tracepoint] for hook in hooks}
            for hook in sorted(hooks, key=lambda hook: len(codes[hook]), reverse=True):
                loads.begin(hook, unit.dialect, codes[hook])
        loaded = loads.end()
        for hook in filter(loaded.__contains__, wanted):
            self._attach(hook, wanted[hook], loaded[hook])

    def _attach(self, hook: Hook, dialect: Dialect, loaded: int | OSError) -> None:
        try:
            if isinstance(loaded, OSError):
                raise loaded
            self.attached[hook] = Attachment(hook, dialect, loaded, attach(hook, dialect, loaded))
        except OSError as error:
            self._note([hook], reason_of(hook, error))

    def _note(self, hooks: Sequence[Hook], reason: str) -> None:
        for hook in hooks:
            said = self._reasons.setdefault(hook, [])
            if reason not in said:  # another try may fail of the same
                said.append(reason)


def units_of(wanted: Mapping[Hook, Dialect]) -> list[Unit]:
    tracepoints: dict[tuple[str, Dialect], list[str]] = {}
    for hook, dialect in wanted.items():
        tracepoints.setdefault((hook.subject, dialect), []).append(hook.tracepoint)
    return [Unit(subject, dialect, tuple(names)) for (subject, dialect), names in tracepoints.items()]


class Loads:
    """Loads programs, each as soon as it is known.

    The kernel takes up to 0.05 s to check one, and checks those of several threads at a time: who begins with
    what takes longest is done first.
    """

    def __init__(self, btf_ids: dict[str, int]) -> None:
        self._btf_ids = btf_ids
        self._loaded: dict[Hook, int | OSError] = {}
        self._threads: list[threading.Thread] = []

    def begin(self, hook: Hook, dialect: Dialect, code: bytes) -> None:
        self._threads.append(threading.Thread(target=self._load, args=(hook, dialect, code)))
        self._threads[-1].start()

    def end(self) -> dict[Hook, int | OSError]:
        """A program, or why there is none, for each hook."""
        for thread in self._threads:
            thread.join()
        return self._loaded

    def _load(self, hook: Hook, dialect: Dialect, code: bytes) -> None:
        try:
            self._loaded[hook] = load_program(hook, dialect, code, self._btf_ids)
        except OSError as error:
            self._loaded[hook] = error


def load_program(hook: Hook, dialect: Dialect, code: bytes, btf_ids: dict[str, int]) -> int:
    """Raises OSError."""
    name = f"pw_{hook.tracepoint}"
    if hook.cgroup is not None:
        kind = bpf.PROG_TYPE_CGROUP_SKB if hook.cgroup.is_of_packets else bpf.PROG_TYPE_CGROUP_SOCK
        return bpf.program_load(name, kind, code, attach_type=hook.cgroup)
    if dialect is Dialect.RAW_TP:
        return bpf.program_load(name, bpf.PROG_TYPE_RAW_TRACEPOINT, code)
    return bpf.program_load(
        name,
        bpf.PROG_TYPE_TRACING,
        code,
        attach_type=bpf.ATTACH_TRACE_ITER if hook.is_walk else bpf.ATTACH_TRACE_RAW_TP,
        btf_id=btf_ids.get(hook.tracepoint, 0),
    )


def attach(hook: Hook, dialect: Dialect, program: int) -> int:
    """The link's descriptor. Raises OSError."""
    if hook.is_walk:
        return bpf.walk_link(program)
    if hook.cgroup is not None:
        root = open_root()
        try:
            return bpf.cgroup_attach(program, root, hook.cgroup)
        finally:
            os.close(root)
    return bpf.raw_tracepoint_open(program, hook.tracepoint if dialect is Dialect.RAW_TP else None)


def reason_of(hook: Hook, error: OSError) -> str:
    if isinstance(error, bpf.VerifierError) and error.log:
        print(hook.tracepoint, error.log[-LOG_SHOWN_CHARACTERS:], file=sys.stderr)
        return f"bpf(BPF_PROG_LOAD): {error.strerror}: {verifier_reason(error.log)}"
    if hook.cgroup is not None:
        hint = NEEDS_NET_ADMIN if error.errno == errno.EPERM else ""
        return f"{error.filename or 'bpf(2)'}: {error.strerror}{hint}"
    if error.errno == errno.ENOENT:
        return f"{NO_TRACEPOINT} {hook.tracepoint} (since Linux {'.'.join(map(str, hook.since))})"
    return f"bpf(2): {error.strerror}"


def verifier_reason(log: str) -> str:
    """The last thing that the verifier said before its statistics."""
    lines = [
        line for line in log.split("\n") if line and not line.startswith(("processed ", "verification "))
    ]
    return lines[-1] if lines else ""


def check_types() -> None:
    """Raises ProbeError where no hook could work."""
    if not (BTF_DIRECTORY / "vmlinux").exists():
        raise ProbeError(
            f"The kernel does not describe its types: {BTF_DIRECTORY}/vmlinux is missing.",
            NOTHING_LOADED,
            "Use a kernel with CONFIG_DEBUG_INFO_BTF=y (all big distributions since 2021), and give the "
            "container the host's /sys.",
        )


def lift_locked_memory_limit() -> None:
    """Before 5.11 maps count as locked memory of the process. Without CAP_SYS_RESOURCE the limit may stay."""
    for limit in (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            return


def make_maps(subjects: Sequence[str], sizes: RingSizes) -> dict[Map, int]:
    """Descriptors. The first is a ring: what fails there fails for all. Raises ProbeError."""
    made: dict[Map, int] = {}
    try:
        for wanted in maps_of(subjects, sizes, possible_cpus()):
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
            "20 MiB and the rings.",
        ) from error
    return made


class Loaded(NamedTuple):
    maps: dict[Map, int]
    attacher: Attacher
    origin: Origin


def load(request: Request, cache: Cache | None) -> Loaded:
    """Raises ProbeError."""
    check_types()
    lift_locked_memory_limit()
    if cache is None:
        return compile_and_attach(request, COMPILED)
    try:
        key = key_of(request)
        return attach_kept(request, cache.read(key))
    except OSError as error:
        return compile_and_attach(request, Origin(reason=f"{error.filename}: {error.strerror}", is_odd=True))
    except NotKept as error:
        origin = Origin(reason=str(error), is_odd=error.is_odd)
    return compile_and_attach(request, origin, key, cache)


def attach_kept(request: Request, entry: Entry) -> Loaded:
    """Raises ProbeError; NotKept when the entry is no longer as good as when it was written."""
    version = compiler_version()
    if version and version != entry.compiler:
        raise NotKept(f"BCC was {entry.compiler} and is {version}", is_odd=False)
    maps = make_maps(request.subjects, request.ring_sizes)
    attacher = Attacher(Replay(entry.programs, by_name(maps)), entry.btf_ids, request.without)
    try:
        attacher.run(hooks_for(request.subjects, request.off), request.dialect)
        lost = entry.attached - {hook.tracepoint for hook in attacher.attached}
        if lost:
            raise NotKept(f"the kernel no longer takes {', '.join(sorted(lost))} as it was kept")
    except NotKept:
        attacher.detach()
        for descriptor in maps.values():
            os.close(descriptor)
        raise
    return Loaded(maps, attacher, Origin(is_cached=True))


def compile_and_attach(request: Request, origin: Origin, key: str = "", cache: Cache | None = None) -> Loaded:
    """Keeps what it compiled where there is a cache. Raises ProbeError."""
    # Not needed where the code is kept, and a third of the loader's own start.
    from probes.compiler import Compiler, check_compiler, find_btf_ids, header_directory, read_types

    check_compiler()
    types = read_types()
    maps = make_maps(request.subjects, request.ring_sizes)
    btf_ids = find_btf_ids(types[0])
    with header_directory(types, request.without, kinds_off("syscalls", request.off)) as headers:
        compiler = Compiler(headers, maps, request.constants, request.off)
        recorder = Recorder(compiler, by_name(maps))
        attacher = Attacher(recorder, btf_ids, request.without)
        attacher.run(hooks_for(request.subjects, request.off), request.dialect)
    if cache is None:
        return Loaded(maps, attacher, origin)
    attached = frozenset(hook.tracepoint for hook in attacher.attached)
    entry = Entry(key, compiler_version(), btf_ids, attached, recorder.programs)
    return Loaded(maps, attacher, keep(entry, recorder.gap, cache, origin))


def keep(entry: Entry, gap: str, cache: Cache, origin: Origin) -> Origin:
    """`origin`, and what prevented that the entry was written, if anything did."""
    try:
        if gap:
            raise NotKept(gap)
        cache.write(entry)
    except NotKept as error:
        return Origin(reason=f"{origin.reason}; not kept: {error}", is_odd=True)
    return origin


def by_name(maps: dict[Map, int]) -> dict[str, int]:
    return {made.name: descriptor for made, descriptor in maps.items()}


def descriptors(maps: dict[Map, int], attacher: Attacher) -> Iterator[tuple[str, int]]:
    for made, descriptor in maps.items():
        yield f"map:{made.name}", descriptor
    for hook, attachment in attacher.attached.items():
        if hook.is_walk and hook.kinds:
            yield f"walk:{hook.tracepoint}", bpf.walk_open(attachment.link)
        yield f"program:{hook.tracepoint}", attachment.program
        yield f"link:{hook.tracepoint}", attachment.link


class Tracking:
    """Opens the socket of connection tracking, which takes 10 ms, while programs are loaded."""

    def __init__(self) -> None:
        self._opened: NetlinkSocket | None = None
        self._thread = threading.Thread(target=self._open)
        self._thread.start()

    def end(self) -> NetlinkSocket | None:
        """None where connections are not tracked, or may not be listened to."""
        self._thread.join()
        return self._opened

    def _open(self) -> None:
        try:
            self._opened = open_of_the_node()
        except OSError as error:
            print("conntrack", error, file=sys.stderr)


def main(channel: socket.socket, cache: Cache | None = None) -> int:
    request = Request.decode(channel.recv(MESSAGE_BYTES))
    tracking = Tracking() if are_packets_seen(request.subjects, request.off) else None
    try:
        maps, attacher, origin = load(request, cache)
    except ProbeError as error:
        send_error(channel, error)
        return 1
    opened = tracking.end() if tracking else None
    named = [("tracking:conntrack", opened.fileno())] if opened else []
    send_descriptors(channel, [*descriptors(maps, attacher), *named])
    results = [attacher.result(hook) for hook in attacher.hooks]
    send_report(channel, results, origin, attacher.attached_ns)
    return 0


def add_libraries() -> None:
    """Python's own folders are among them; they are not looked through twice."""
    told = filter(None, os.environ.get(LIBRARIES, "").split(os.pathsep))
    sys.path.extend(path for path in told if path not in sys.path)


if __name__ == "__main__":
    add_libraries()
    status = main(socket.socket(fileno=int(sys.argv[-1])), *map(Cache, sys.argv[1:-1]))
    sys.stderr.flush()
    # Not by exit(): BCC undoes things in an atexit function, and freeing a compiler takes its time.
    os._exit(status)

"""BCC, used for its compiler only: from the text of the probes to the code of each program."""

from __future__ import annotations

import ctypes
import marshal
import os
import secrets
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from probes.btf import Btf, BtfError
from probes.btf_files import BTF_DIRECTORY
from probes.catalog import HOOKS, Dialect, Map, RecordKind
from probes.choice import Event, off_flags
from probes.codes import Codes, CompileError, Unit
from probes.exchange import NOTHING_LOADED, ProbeError
from probes.headers import running_kernel, write_tree
from probes.side_by_side import Ended, side_by_side

SOURCE_DIRECTORY = Path(__file__).resolve().parent
# Where the temporary headers may go when the root file system is read-only.
TEMPORARY_DIRECTORIES = (None, "/dev/shm", "/run")
STDERR_BYTES = 4096
# struct bpf_insn: operation, registers (destination low, source high), offset, immediate.
INSTRUCTION = struct.Struct("<BBhi")
INSTRUCTION_BYTES = INSTRUCTION.size
CALL = 0x85
SOURCE_IS_KERNEL_FUNCTION = 2 << 4  # BPF_PSEUDO_KFUNC_CALL
KERNEL_FUNCTION = 0x7000_0000  # as in dialect.h
# A compilation takes one processor and 30 MiB of its own.
COMPILATIONS = 2
# By how long they take: what is begun last should be short.
LONGEST_FIRST = ("flow", "process", "syscalls", "network", "privilege", "state", "cgroup")
# Against what BCC asks clang for: a description of the code for debuggers, which nobody reads, and to
# optimise what BCC optimises afterwards anyway. They take a fifth of the time each.
QUICKLY = ("-g0", "-Xclang", "-disable-llvm-passes")
CLONE_NEWUSER = 0x1000_0000

_libc = ctypes.CDLL(None, use_errno=True)


def check_compiler() -> None:
    """Raises ProbeError where nothing can be compiled."""
    try:
        import bcc  # noqa: F401
    except (ImportError, OSError) as error:
        raise ProbeError(
            f"BCC can't be imported by {sys.executable}: {error}.",
            NOTHING_LOADED,
            "Install python3-bpfcc (Debian, Ubuntu) or python3-bcc (Fedora); a virtual environment sees it "
            "only with --system-site-packages.",
        ) from error


def read_types() -> list[Btf]:
    """The kernel's, then those of modules. Raises ProbeError."""
    try:
        return running_kernel()
    except (OSError, BtfError) as error:
        raise ProbeError(
            f"The kernel's types can't be read: {error}.", NOTHING_LOADED, f"See {BTF_DIRECTORY}."
        ) from error


def find_btf_ids(kernel: Btf) -> dict[str, int]:
    """Of those hooks in the catalog that the kernel has: of a tracepoint its type, of a walk its function."""
    found = {
        hook.tracepoint: kernel.function(hook.walks)
        if hook.walks
        else kernel.typedef(f"btf_trace_{hook.tracepoint}")
        for hook in HOOKS
    }
    return {tracepoint: btf_id for tracepoint, btf_id in found.items() if btf_id is not None}


def source_text(subject: str) -> str:
    """BCC takes programs only from the text itself, not from what it includes."""
    name = f"{subject}.bpf.c"
    return f'#line 1 "{name}"\n{(SOURCE_DIRECTORY / name).read_text()}'


def map_flags(maps: Mapping[Map, int]) -> Iterator[str]:
    """What the probes know of the maps: descriptors and sizes."""
    for made, descriptor in maps.items():
        yield f"-DPW_MAP_{made.name}={descriptor}"
        yield f"-DPW_KEY_BYTES_{made.name}={made.key_bytes}"
        yield f"-DPW_VALUE_BYTES_{made.name}={made.value_bytes}"
        yield f"-DPW_ENTRIES_{made.name}={made.entries}"


class Compiler:
    """Compiles in children of this process, which BCC would change."""

    def __init__(
        self,
        headers: Path,
        maps: Mapping[Map, int],
        constants: Sequence[tuple[str, int]] = (),
        off: Collection[Event] = (),
    ) -> None:
        from bcc import BPF

        self._bpf: Callable[..., Any] = BPF
        self._headers = headers
        self._off = off
        secret = f"-DPW_SOCKET_SECRET={secrets.randbits(64)}ull"
        self._flags = [*QUICKLY, f"-I{SOURCE_DIRECTORY}", secret, *map_flags(maps)]
        self._flags += [f"-DPW_{name}={value}ull" for name, value in constants]

    def compile(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Codes | CompileError]]:
        ordered = sorted(units, key=lambda unit: LONGEST_FIRST.index(unit.subject))
        at_once = min(COMPILATIONS, len(os.sched_getaffinity(0)))
        for ended in side_by_side([partial(self._say, unit) for unit in ordered], at_once):
            yield ordered[ended.number], codes_of(ended)

    def _say(self, unit: Unit) -> bytes:
        """In the child: what codes_of() reads."""
        os.environ["BCC_KERNEL_SOURCE"] = str(self._headers)
        os.chdir("/")  # BCC adds the current directory to the include path
        hide_symbols()
        try:
            return marshal.dumps(self._codes(unit))
        except CompileError as error:
            return marshal.dumps(str(error))

    def _codes(self, unit: Unit) -> Codes:
        """Raises CompileError."""
        flags = [*self._flags, *off_flags(unit.subject, self._off)]
        flags += ["-DPW_TP_BTF"] if unit.dialect is Dialect.TP_BTF else []
        with captured_stderr() as said:
            try:
                module = self._bpf(text=source_text(unit.subject).encode(), cflags=flags)
            except Exception as error:  # BCC raises no class of its own
                raise CompileError(first_error(said()) or str(error)) from error
        return {
            tracepoint: with_kernel_functions(module.dump_func(f"on_{tracepoint}".encode()))
            for tracepoint in unit.tracepoints
        }


def codes_of(ended: Ended) -> Codes | CompileError:
    if ended.status:
        return CompileError(f"the compiler ended with status {ended.status}")
    said: Codes | str = marshal.loads(ended.said)
    return CompileError(said) if isinstance(said, str) else said


def hide_symbols() -> None:
    """Keeps BCC from reading all the kernel's symbols, which takes it 0.15 s, longer than many a compilation.

    It does so to learn which helpers there are, where geteuid() is 0. In a user namespace without users it is
    not, nor has the compiler any capability there; files are still those of root. dialect.h names the helpers
    by number. Where no such namespace may be made, BCC reads on.
    """
    _libc.unshare(CLONE_NEWUSER)


def with_kernel_functions(code: bytes) -> bytes:
    """Calls of helpers that have numbers from KERNEL_FUNCTION on become calls of functions of the kernel.

    BCC's compiler has no way to say that; dialect.h does so by adding a function's number to that.
    """
    changed = bytearray(code)
    for offset in range(0, len(code), INSTRUCTION_BYTES):
        operation, registers, _, number = INSTRUCTION.unpack_from(code, offset)
        if operation == CALL and not registers and number >= KERNEL_FUNCTION:
            INSTRUCTION.pack_into(
                changed, offset, CALL, SOURCE_IS_KERNEL_FUNCTION, 0, number - KERNEL_FUNCTION
            )
    return bytes(changed)


@contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """clang writes to descriptor 2 itself. What was written is passed on at the end."""
    saved, memory = os.dup(2), os.memfd_create("stderr")

    def said() -> str:
        return os.pread(memory, STDERR_BYTES, 0).decode(errors="replace")

    os.dup2(memory, 2)
    try:
        yield said
    finally:
        os.dup2(saved, 2)
        os.write(2, said().encode())
        os.close(saved)
        os.close(memory)


def first_error(said: str) -> str:
    return next((line.strip() for line in said.split("\n") if "error:" in line), "")


@contextmanager
def header_directory(
    sections: Sequence[Btf], without: Sequence[str], calls_off: Collection[RecordKind] = ()
) -> Iterator[Path]:
    """A private directory with the made headers, gone at the end. Raises ProbeError."""
    directory = temporary_directory()
    try:
        write_tree(directory, sections, [hook.tracepoint for hook in HOOKS], without, calls_off)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def temporary_directory() -> Path:
    refused: list[str] = []
    for parent in TEMPORARY_DIRECTORIES:
        try:
            return Path(tempfile.mkdtemp(prefix="podwitness-headers-", dir=parent))  # mode 0700
        except OSError as error:
            refused.append(str(error))
    raise ProbeError(
        f"No directory for 100 KiB of generated headers: {'; '.join(refused)}.",
        "The probes can't be compiled.",
        "Mount an emptyDir on /tmp, or set TMPDIR to a directory that can be written to.",
    )

"""probes.process_files: what /proc says of real processes in every state."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from probes.process_files import ARGS_BYTES, ProcessFiles, ProcessGone, processes
from tests.kernel.sandbox import execve

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


@contextmanager
def stopped(work: Callable[[], object]) -> Iterator[int]:
    """A child that does `work`, which ends in a stop by itself or in waiting for input."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(99)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@contextmanager
def executing(program: str, argv: list[bytes]) -> Iterator[int]:
    """A program that waits for input, and has been seen to run."""
    reading, writing = os.pipe()
    done, executed = os.pipe()  # both ends close on exec

    def work() -> None:
        os.dup2(reading, 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        execve(program, argv)

    with stopped(work) as pid:
        os.close(executed)
        os.close(reading)
        os.read(done, 1)
        yield pid
        os.close(writing)
    os.close(done)


def cat(*arguments: bytes) -> list[bytes]:
    return [b"cat", *arguments]


@pytest.mark.parametrize(
    "argv",
    [
        cat(),
        cat(b"-", b"", b""),
        cat(b"-", b"\xff\\x41\n"),
        [b"", b"-"],
        cat(b"-", b"y" * (ARGS_BYTES + 1)),
        cat(*[b"-"] * 40_000),
    ],
    ids=["none", "empty", "bytes", "empty name", "long", "many"],
)
def test_arguments(argv: list[bytes]) -> None:
    with executing("/bin/cat", argv) as pid, ProcessFiles(pid) as files:
        found = files.arguments()
    whole = b"".join(one + b"\0" for one in argv)
    assert found == (whole[:ARGS_BYTES], len(whole), len(argv))


def test_a_name_with_parentheses_and_spaces() -> None:
    def work() -> None:
        ctypes.CDLL(None).prctl(15, b") R 1 (")
        stop()

    with stopped(work) as pid:
        os.waitpid(pid, os.WUNTRACED)
        with ProcessFiles(pid) as files:
            stat = files.stat()
    assert (stat.comm, stat.state, stat.parent_pid, stat.threads) == (b") R 1 (", "T", os.getpid(), 1)
    assert stat.start_ns % TICK_NS == 0
    assert not stat.is_zombie


def test_credentials() -> None:
    def work() -> None:
        os.setresgid(5, 6, 7)
        os.setresuid(8, 9, 10)
        stop()

    with stopped(work) as pid:
        os.waitpid(pid, os.WUNTRACED)
        with ProcessFiles(pid) as files:
            ids = files.credentials()
    assert ids is not None
    assert ids[:4] == (8, 9, 5, 6)
    assert (ids.capabilities_effective, ids.namespace_pid) == (0, pid)


def test_a_zombie_has_a_name_and_nothing_to_run() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with ProcessFiles(pid) as files:
        assert files.stat().is_zombie
        assert files.stat().comm == b"true"
        assert files.arguments() is None
        assert files.binary() is None
        assert files.working_directory() is None
        assert files.credentials() is not None
        assert files.cgroup() is not None
        os.waitpid(pid, 0)
        for read in (files.stat, files.credentials, files.arguments, files.cgroup):
            with pytest.raises(ProcessGone):
                read()
        assert files.namespaces() == {}
        assert list(files.descriptors()) == []
    with pytest.raises(ProcessGone):
        ProcessFiles(pid)


def test_binary_and_folder() -> None:
    with executing("/bin/cat", cat()) as pid, ProcessFiles(pid) as files:
        binary, folder = files.binary(), files.working_directory()
    found = os.stat("/bin/cat")
    assert binary == (
        os.path.realpath(b"/bin/cat"),
        found.st_ino,
        found.st_dev,
        found.st_mode & 0o7777,
        False,
        False,
    )
    assert folder == os.getcwdb()


def test_a_deleted_binary(tmp_path: Path) -> None:
    copy = tmp_path / "cat (deleted)"
    shutil.copy("/bin/cat", copy)
    with executing(str(copy), cat()) as pid, ProcessFiles(pid) as files:
        there = files.binary()
        copy.unlink()
        gone = files.binary()
    assert there is not None
    assert gone is not None
    assert there.path == gone.path == os.fsencode(copy)
    assert (there.is_deleted, gone.is_deleted, gone.is_memfd) == (False, True, False)


def test_a_binary_in_memory() -> None:
    memory = os.memfd_create("hidden", 0)
    os.write(memory, Path("/bin/cat").read_bytes())
    with executing(f"/proc/self/fd/{memory}", cat()) as pid, ProcessFiles(pid) as files:
        found = files.binary()
    os.close(memory)
    assert found is not None
    assert (found.path, found.is_memfd, found.is_deleted) == (b"/memfd:hidden", True, False)


def test_namespaces_and_descriptors() -> None:
    reading, writing = os.pipe()
    with ProcessFiles(os.getpid()) as files:
        namespaces, descriptors = files.namespaces(), dict(files.descriptors())
    assert namespaces == {
        name: os.stat(f"/proc/self/ns/{name}").st_ino for name in ("mnt", "pid", "net", "user")
    }
    pipe = os.readlink(f"/proc/self/fd/{reading}").encode()
    assert descriptors[str(reading)] == descriptors[str(writing)] == pipe
    os.close(reading)
    os.close(writing)


def test_all_processes() -> None:
    assert {1, os.getpid()} <= set(processes())


def test_who_logged_in() -> None:
    with ProcessFiles(os.getpid()) as files:
        try:
            written = int(Path("/proc/self/loginuid").read_text())
        except FileNotFoundError:  # a kernel without audit
            written = 2**32 - 1
        assert files.login_uid() == (None if written == 2**32 - 1 else written)

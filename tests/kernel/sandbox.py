"""Cgroups of a test's own, and processes in them: what is counted there is the test's alone."""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
LEAVE_MS = 10_000

libc = ctypes.CDLL(None, use_errno=True)


def unified_mount() -> Path:
    """Where the cgroup v2 hierarchy is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().split("\n"):
        found = re.fullmatch(r"\d+ \d+ \S+ / (\S+) .* - cgroup2 .*", line)
        if found:
            return Path(found[1])
    raise AssertionError("no cgroup2 file system is mounted")


@dataclass(frozen=True)
class Cgroup:
    path: Path

    @property
    def id(self) -> int:
        return self.path.stat().st_ino

    def enter(self) -> None:
        (self.path / "cgroup.procs").write_text("0")

    def remove(self) -> None:
        for path in (*sorted(self.path.rglob("*/"), reverse=True), self.path):
            await_empty(path)
            path.rmdir()


def await_empty(path: Path) -> None:
    """A process that was reaped may stay in its cgroup for a moment; the kernel tells when it has left."""
    with (path / "cgroup.events").open() as events:
        changes = select.poll()
        changes.register(events, select.POLLPRI | select.POLLERR)
        while "populated 1" in events.read():
            assert changes.poll(LEAVE_MS), f"{path} still has {(path / 'cgroup.procs').read_text().split()}"
            events.seek(0)


def check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unshare(flags: int) -> None:
    check(libc.unshare(flags))


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    check(libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()))


def private_mounts() -> None:
    unshare(CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def execve(path: str, argv: list[bytes], environ: list[bytes] | None = None) -> None:
    """os.execve() without its checks: argv may be empty."""
    args = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
    env = (ctypes.c_char_p * (len(environ or []) + 1))(*(environ or []), None)
    check(libc.execve(path.encode(), args, env))


class Process:
    """A fork of the test that enters a cgroup, does something and exits by its result."""

    def __init__(self, cgroup: Cgroup, work: Callable[[], int | None]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                cgroup.enter()
                status = work() or 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)

    def wait(self) -> int:
        """As wait(2) has it."""
        _, status = os.waitpid(self.pid, 0)
        return status

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def run(cgroup: Cgroup, work: Callable[[], int | None]) -> tuple[int, int]:
    """(pid, wait status) of a process that has done `work`."""
    process = Process(cgroup, work)
    return process.pid, process.wait()


def fork_one_by_one(count: int) -> None:
    for _ in range(count):
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)

"""What /proc says of one process, as raw values. All reads of a process go through one descriptor of its
directory: when the process is gone they fail, and never speak of a later process with the same number."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import NamedTuple, Self

ARGS_BYTES = 4096  # kept of argv: PW_ARGS_BYTES of events.h
_ARGS_READ_BYTES = 1 << 17
_FILE_BYTES = 1 << 14
_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_DELETED = b" (deleted)"
_MEMFD = b"/memfd:"
_NAMESPACES = ("mnt", "pid", "net", "user")
_LOGIN_UNSET = 2**32 - 1
_GONE = (errno.ESRCH, errno.ENOENT)


class ProcessGone(Exception):
    """The process has ended and its parent has been told."""


class Stat(NamedTuple):
    """/proc/PID/stat. Times come in clock ticks, 10 ms as a rule, and are given in ns."""

    comm: bytes
    state: str
    parent_pid: int
    user_ns: int
    system_ns: int
    threads: int
    start_ns: int  # CLOCK_BOOTTIME

    @property
    def is_zombie(self) -> bool:
        return self.state in "ZX"


class Credentials(NamedTuple):
    """/proc/PID/status."""

    real_uid: int
    effective_uid: int
    real_gid: int
    effective_gid: int
    capabilities_effective: int
    namespace_pid: int  # in its innermost pid namespace


class Arguments(NamedTuple):
    """argv as the kernel has it: each argument NUL-ended; at most ARGS_BYTES of them are kept."""

    kept: bytes
    total_bytes: int
    argument_count: int


class Binary(NamedTuple):
    path: bytes
    inode: int
    device: int  # as os.stat() has it
    mode: int
    is_deleted: bool
    is_memfd: bool


class ProcessFiles:
    """The directory of a process, open. Raises ProcessGone when there is none.

    Each method raises ProcessGone when the process has ended meanwhile. Those that
    give None say that podwitness may not look, or that a zombie has no such thing.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ProcessGone from error

    def close(self) -> None:
        os.close(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stat(self) -> Stat:
        raw = self._read("stat")
        if raw is None:
            raise ProcessGone
        # The name is in parentheses, and may have some of its own.
        comm, _, rest = raw.partition(b"(")[2].rpartition(b") ")
        fields = rest.split()
        return Stat(
            comm,
            fields[0].decode(),
            int(fields[1]),
            int(fields[11]) * _TICK_NS,
            int(fields[12]) * _TICK_NS,
            int(fields[17]),
            int(fields[19]) * _TICK_NS,
        )

    def credentials(self) -> Credentials | None:
        raw = self._read("status")
        found = None if raw is None else _STATUS.search(raw)
        if found is None:
            return None
        real_uid, effective_uid, real_gid, effective_gid = map(int, found.group(1, 2, 3, 4))
        return Credentials(
            real_uid,
            effective_uid,
            real_gid,
            effective_gid,
            int(found["capabilities"], 16),
            int(found["pids"].split()[-1]),
        )

    def arguments(self) -> Arguments | None:
        """None where the process has no memory any more."""
        kept, total_bytes, count = b"", 0, 0
        for piece in self._pieces("cmdline"):
            kept = kept or piece[:ARGS_BYTES]
            total_bytes += len(piece)
            count += piece.count(b"\0")
        return Arguments(kept, total_bytes, count) if total_bytes else None

    def binary(self) -> Binary | None:
        path = self._read_link("exe")
        try:
            found = os.stat("exe", dir_fd=self._directory)
        except OSError:
            return None
        if path is None:
            return None
        is_gone = found.st_nlink == 0 and path.endswith(_DELETED)
        is_memfd = is_gone and path.startswith(_MEMFD)
        if is_gone:
            path = path.removesuffix(_DELETED)
        return Binary(
            path, found.st_ino, found.st_dev, found.st_mode & 0o7777, is_gone and not is_memfd, is_memfd
        )

    def working_directory(self) -> bytes | None:
        return self._read_link("cwd")

    def cgroup(self) -> str | None:
        """Path of the cgroup (v2), as the cgroup namespace of the reader has it."""
        raw = self._read("cgroup") or b""
        for line in raw.split(b"\n"):
            if line.startswith(b"0::"):
                return os.fsdecode(line[3:].removesuffix(_DELETED))
        return None

    def namespaces(self) -> dict[str, int]:
        """Inode numbers of mnt, pid, net, user; those that may be seen."""
        links = ((name, self._read_link(f"ns/{name}")) for name in _NAMESPACES)
        return {name: int(link.rpartition(b"[")[2][:-1]) for name, link in links if link}

    def login_uid(self) -> int | None:
        """None also on a kernel that does not know it."""
        try:
            raw = self._read("loginuid")
        except ProcessGone:
            return None
        return int(raw) if raw and int(raw) != _LOGIN_UNSET else None

    def descriptors(self) -> Iterator[tuple[str, bytes]]:
        """(number, what it leads to) of each open file; none if podwitness may not look."""
        try:
            directory = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
        except OSError:
            return
        try:
            for name in os.listdir(directory):
                try:
                    yield name, os.readlink(name.encode(), dir_fd=directory)
                except OSError:
                    continue
        finally:
            os.close(directory)

    def _pieces(self, name: str) -> Iterator[bytes]:
        descriptor = self._open(name)
        if descriptor is None:
            return
        try:
            while piece := os.read(descriptor, _ARGS_READ_BYTES):
                yield piece
        except OSError as error:
            if error.errno in _GONE:
                raise ProcessGone from error
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> bytes | None:
        descriptor = self._open(name)
        if descriptor is None:
            return None
        try:
            return os.read(descriptor, _FILE_BYTES)
        except OSError as error:
            if error.errno in _GONE:
                raise ProcessGone from error
            return None
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int | None:
        try:
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except OSError as error:
            if error.errno in _GONE:
                raise ProcessGone from error
            return None

    def _read_link(self, name: str) -> bytes | None:
        """A zombie's links can't be read; nor can those that podwitness may not see."""
        try:
            return os.readlink(name.encode(), dir_fd=self._directory)
        except OSError:
            return None


_STATUS = re.compile(
    rb"^Uid:\s+(\d+)\s+(\d+).*?^Gid:\s+(\d+)\s+(\d+).*?^NSpid:(?P<pids>[\d\s]+?)$"
    rb".*?^CapEff:\s+(?P<capabilities>[0-9a-f]+)",
    re.MULTILINE | re.DOTALL,
)


def processes() -> list[int]:
    """All process numbers that /proc shows now."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]

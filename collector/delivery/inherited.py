"""Positions that the spool has from the run before, beside those of the databases."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from collector.delivery.chunk import FileKey, Position


def present(known: Position | None, inherited: Position) -> Position:
    """The further of the two, but that of a file whose inode another has by now counts for nothing.

    The run before may have ended between writing one and the other, so either may be of the file that is
    gone. What there is on disk tells, where their fingerprints don't say that they are of one file.
    """
    if known is None:
        return inherited
    both = (known, inherited)
    if known.file == inherited.file:
        return _furthest(both)
    head = _head_of(inherited.file, both)
    return _furthest(tuple(one for one in both if one.file.fits(head)) or both)


def _furthest(positions: tuple[Position, ...]) -> Position:
    return max(positions, key=lambda one: one.offset)


def _head_of(file: FileKey, positions: tuple[Position, ...]) -> bytes:
    """As many first bytes as the fingerprints were made of; b"" where there is no such file any more.

    A log may have been renamed, but stays in its directory.
    """
    size = max(one.file.fingerprint_bytes for one in positions)
    for directory in {os.path.dirname(os.path.realpath(one.path)) for one in positions}:
        with contextlib.suppress(OSError):
            for path in _paths_of(file.inode, directory):
                if head := _read(path, file, size):
                    return head
    return b""


def _paths_of(inode: int, directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.inode() == inode:
                yield entry.path


def _read(path: str, file: FileKey, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        is_it = (status.st_dev, status.st_ino) == (file.device, file.inode) and stat.S_ISREG(status.st_mode)
        return os.pread(descriptor, size, 0) if is_it else b""
    finally:
        os.close(descriptor)

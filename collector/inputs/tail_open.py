"""Opening a log file: links are followed, but never out of the permitted directories."""

from __future__ import annotations

import os
from dataclasses import dataclass

from collector.inputs.tail_gzip import size_mod_4gib
from collector.inputs.tail_paths import COMPRESSED
from collector.native.files import open_pin

_DELETED = " (deleted)"  # what the kernel appends to the name of an unlinked file


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open log file. `real_path` has no links in it; the receiver closes `fd`."""

    fd: int
    real_path: str
    device: int
    inode: int

    def close(self) -> None:
        os.close(self.fd)

    @property
    def is_compressed(self) -> bool:
        """Whether it is one that was compressed after its rotation, by its name."""
        return self.real_path.endswith(COMPRESSED)

    @property
    def size(self) -> int:
        """Of what it holds, uncompressed; where it is compressed, modulo 4 GiB and as it says itself."""
        return size_mod_4gib(self.fd) if self.is_compressed else os.fstat(self.fd).st_size


class Refused(Exception):
    """The name is not a log file: it is no regular file, or it lies outside of the permitted directories."""


def pin(path: str) -> int:
    """An O_PATH descriptor of what a name leads to: no side effects, whatever it is. Raises OSError."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def open_pinned(pinned_fd: int, roots: tuple[str, ...]) -> OpenFile:
    """Opens for reading what is pinned, after a look at it, and closes the pin.

    Device, name and kind are those of the pinned file itself, so nobody can put
    another in its place between the look and the opening. Raises Refused, OSError.
    """
    opened = open_pin(pinned_fd, roots)
    real_path = opened.name.removesuffix(_DELETED)
    if opened.fd >= 0:
        return OpenFile(opened.fd, real_path, opened.device, opened.inode)
    if not real_path:
        raise Refused("it is not a regular file")
    raise Refused(
        f"it leads to {real_path!r}, which is not below {' or '.join(roots)}; "
        "name the directory that it leads to in Path to have it followed"
    )


def path_of(fd: int) -> str:
    """The present name of an open file; the last one of an unlinked file."""
    return os.readlink(f"/proc/self/fd/{fd}").removesuffix(_DELETED)

"""The root of the cgroup (v2) tree, which programs that watch all sockets are attached to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT_ID = 1  # of the first directory that a kernfs has: inside a cgroup namespace "/" is another
# Ours, then the node's, which a process with SYS_PTRACE may walk through.
VIEWS = (Path("/proc/self"), Path("/proc/1"))


def open_root(views: tuple[Path, ...] = VIEWS) -> int:
    """A descriptor of its directory. Raises OSError with the reason as its file name."""
    for view in views:
        for point in mount_points(view):
            with suppress(OSError):
                descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                if os.fstat(descriptor).st_ino == ROOT_ID:
                    return descriptor
                os.close(descriptor)
    text = "no mount shows the root of the cgroup2 file system"
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), text)


def mount_points(view: Path) -> Iterator[str]:
    """Where cgroup2 may be mounted with its root on top, as seen through /proc/PID.

    The kernel tells a mount's root from where the reader's cgroup namespace has its own: the tree's root is
    `/`, or as many `..` as that is deep (in a pod).
    """
    with suppress(OSError):
        for line in (view / "mountinfo").read_text(errors="surrogateescape").split("\n"):
            fields, _, kind = line.partition(" - ")
            if kind.startswith("cgroup2 "):
                root, point = fields.split(" ")[3:5]
                if set(root.split("/")) <= {"", ".."}:
                    yield f"{view}/root{unescaped(point)}"


def unescaped(path: str) -> str:
    """Without the octal escapes of /proc/PID/mountinfo."""
    for code in ("040", "011", "012", "134"):
        path = path.replace(f"\\{code}", chr(int(code, 8)))
    return path

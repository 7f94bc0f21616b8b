"""The cgroup file system: ids to paths, at start for all of them and later for one."""

from __future__ import annotations

import ctypes
import errno
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from collector.errors import OperatorError

_ROOT_INODE = 1  # of the root of the cgroup2 hierarchy itself; a namespace's root has another
_FILEID_KERNFS = 0xFE  # include/linux/exportfs.h: the handle is the 64-bit id of the node
_DELETED = " (deleted)"  # what the kernel appends to the path of a removed directory
_PODS_ROOTS = ("kubepods", "kubepods.slice", "kubelet", "kubelet.slice")
# A container can make as many cgroups as it likes below its own; a node has some hundreds.
_MAX_WALKED = 100_000


class CgroupTreeUnusable(OperatorError):
    """No mount of the cgroup2 hierarchy shows the containers of this node."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The cgroups of this node can't be read: {reason}.",
            "Kernel events of containers that were started before podwitness go out without their names.",
            "Mount the host's /sys/fs/cgroup into the pod, or run it with hostPID.",
        )


@dataclass(frozen=True, slots=True)
class Mount:
    """A cgroup2 mount: where it is, and which cgroup is its root as this process sees it."""

    point: str
    root: str


def cgroup2_mounts(mountinfo: str) -> list[Mount]:
    """The cgroup2 mounts in the text of /proc/PID/mountinfo; on a hybrid node beside those of version 1."""
    mounts: list[Mount] = []
    for line in mountinfo.splitlines():
        fields, separator, filesystem = line.partition(" - ")
        parts = fields.split(" ")
        if separator and filesystem.startswith("cgroup2 ") and len(parts) >= 5:
            mounts.append(Mount(_unescape(parts[4]), _unescape(parts[3])))
    return mounts


def _unescape(path: str) -> str:
    for written, meant in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        path = path.replace(written, meant)
    return path


class _Handle(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_uint), ("kind", ctypes.c_int), ("id", ctypes.c_uint64))


def _load_open_by_handle() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).open_by_handle_at
    function.argtypes = (ctypes.c_int, ctypes.POINTER(_Handle), ctypes.c_int)
    function.restype = ctypes.c_int
    return function


class CgroupTree:
    """The cgroup2 hierarchy at a mount point. Paths start at the hierarchy's root, if it can be seen."""

    def __init__(self, point: str) -> None:
        self.point = point.rstrip("/") or "/"
        self._fd = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # A mount of another namespace (/proc/1/root/...) has another path in the kernel's answers.
        self._kernels_point = os.readlink(f"/proc/self/fd/{self._fd}")
        self._open_by_handle = _load_open_by_handle()

    @classmethod
    def find(cls, root: str = "/") -> Self:
        """The mount that shows most; `root` is where the host's root directory is mounted.

        Raises CgroupTreeUnusable.
        """
        points = [mount.point for mount in cgroup2_mounts(Path("/proc/self/mountinfo").read_text())]
        points.sort(key=lambda point: not point.startswith(root))
        # With hostPID the first process of the node sees the node's own mounts.
        points += ["/proc/1/root/sys/fs/cgroup/unified", "/proc/1/root/sys/fs/cgroup"]
        for shows_all in (_is_whole, _shows_pods):
            for point in points:
                if shows_all(point):
                    return cls(point)
        raise CgroupTreeUnusable(
            "there is no cgroup2 mount" if len(points) == 2 else "the mounts show only podwitness itself"
        )

    def path_of(self, cgroup_id: int) -> str | None:
        """The path of a cgroup; None for one that doesn't exist (any more), or that the mount doesn't show.

        Raises OSError where the kernel doesn't let a cgroup be opened by its id (CAP_DAC_READ_SEARCH is
        missing); `walk` still works there.
        """
        handle = _Handle(8, _FILEID_KERNFS, cgroup_id)
        fd = self._open_by_handle(self._fd, ctypes.byref(handle), os.O_PATH | os.O_CLOEXEC)
        if fd < 0:
            number = ctypes.get_errno()
            if number in (errno.ESTALE, errno.ENOENT):
                return None
            raise OSError(number, os.strerror(number), self.point)
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        path = path.removesuffix(_DELETED)
        # Of what is outside the root of a namespace's mount the kernel knows no path here: it says "/".
        return _below(self._kernels_point, path) if path.startswith(self._kernels_point) else None

    def walk(self) -> Iterator[tuple[int, str]]:
        """(id, path) of all cgroups, at most _MAX_WALKED, those near the root first."""
        yield os.fstat(self._fd).st_ino, "/"
        found = deque([self.point])
        left = _MAX_WALKED
        while found:
            for cgroup_id, path in _directories(found.popleft(), left):
                yield cgroup_id, _below(self.point, path)
                found.append(path)
                left -= 1

    def close(self) -> None:
        os.close(self._fd)


def _below(point: str, path: str) -> str:
    return path.removeprefix(point) or "/"


def _is_whole(point: str) -> bool:
    try:
        return os.stat(point).st_ino == _ROOT_INODE and _is_cgroup2(point)
    except OSError:
        return False


def _shows_pods(point: str) -> bool:
    """True for the node of a cluster inside a container: its root is not the machine's."""
    return _is_cgroup2(point) and any(os.path.isdir(f"{point}/{name}") for name in _PODS_ROOTS)


def _is_cgroup2(point: str) -> bool:
    return os.path.exists(f"{point}/cgroup.procs") and os.path.exists(f"{point}/cgroup.controllers")


def _directories(path: str, at_most: int) -> list[tuple[int, str]]:
    try:
        with os.scandir(path) as entries:
            directories = (entry for entry in entries if entry.is_dir(follow_symlinks=False))
            return [(entry.inode(), entry.path) for entry in islice(directories, at_most)]
    except FileNotFoundError:
        return []  # removed since its parent was read

"""Cgroups for the netlink witness: where the tree is, where podwitness is in it, whose pod a cgroup is of."""

from __future__ import annotations

import os
from collections.abc import Iterable

from collector.identity.cgroup_tree import CgroupTree, CgroupTreeUnusable
from collector.identity.cgroups import owner_of
from probes.cgroup_paths import CgroupPaths

# Of the whole tree, read once where podwitness has a cgroup namespace of its own.
_MAX_READ = 10_000


def open_paths(root: str = "/") -> CgroupPaths | None:
    """Those of this machine; None where no mount shows its cgroups (which IdentityTable says)."""
    try:
        tree = CgroupTree.find(root)
    except CgroupTreeUnusable:
        return None
    try:
        own = own_path(tree.point, (path for _, path in tree.walk())) if _is_private() else ()
    finally:
        tree.close()
    return CgroupPaths(tree.point, own)


def pod_path(path: str) -> str:
    """The pod's cgroup of a container's; the path itself where there is no pod."""
    owner = owner_of(path)
    if owner is None or not owner.pod_uid:
        return path
    while owner is not None and owner.container_id:
        path = path.rpartition("/")[0]
        owner = owner_of(path)
    return path


def _is_private() -> bool:
    """Process 1 of the node is outside of our cgroup namespace, if it is not the node's own."""
    try:
        with open("/proc/1/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            return any(line.startswith("0::/..") for line in file)
    except OSError:
        return False


def own_path(mount_point: str, paths: Iterable[str]) -> tuple[str, ...]:
    """The names of the cgroup that this process is in, found by its number; () when it is not found."""
    pid = os.getpid()
    found = CgroupPaths(mount_point)
    for _, path in zip(range(_MAX_READ), paths, strict=False):
        if pid in found.pids(path):
            return tuple(path.strip("/").split("/"))
    return ()

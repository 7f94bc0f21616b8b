"""From the cgroup path that /proc shows to the cgroup's id, as the kernel's events have it."""

from __future__ import annotations

import os

MAX_REMEMBERED = 16384
_UP = ".."


class CgroupPaths:
    """Paths from the root of the hierarchy, and ids.

    In a cgroup namespace of our own /proc shows paths relative to our cgroup:
    `/../../podX/Y`. `own` are the names from the root down to ours; () where /proc
    shows whole paths.
    """

    def __init__(self, mount_point: str, own: tuple[str, ...] = ()) -> None:
        self.mount_point = mount_point.rstrip("/")
        self.own = own
        self._paths: dict[int, str] = {}

    def whole(self, path: str) -> str:
        """The path from the root of the hierarchy."""
        names = [name for name in path.split("/") if name]
        ups = 0
        while ups < len(names) and names[ups] == _UP:
            ups += 1
        kept = self.own[: len(self.own) - ups] if ups <= len(self.own) else ()
        return "/" + "/".join((*kept, *names[ups:]))

    def find(self, shown: str) -> tuple[int, str]:
        """Id and whole path of what /proc shows; a name that is not UTF-8, which a container may make, with
        its bytes as \\xNN."""
        path = self.whole(shown)
        return self.id_of(path), os.fsencode(path).decode("utf-8", "backslashreplace")

    def id_of(self, path: str) -> int:
        """0: there is no such cgroup (any more)."""
        try:
            found = os.stat(f"{self.mount_point}{path}").st_ino
        except OSError:
            return 0
        if found not in self._paths and len(self._paths) >= MAX_REMEMBERED:
            self._paths.clear()
        self._paths[found] = path
        return found

    def path_of(self, cgroup_id: int) -> str | None:
        """Of a cgroup whose id was asked for; None for others."""
        return self._paths.get(cgroup_id)

    def pids(self, path: str) -> list[int]:
        """The processes of a cgroup, not those of cgroups below."""
        try:
            with open(f"{self.mount_point}{path}/cgroup.procs", encoding="ascii") as file:
                return [int(line) for line in file]
        except OSError:
            return []

"""An identity table whose cgroups a test makes up; everything else of it is real."""

from __future__ import annotations

from collections.abc import Container, Iterable

from collector.identity.bundles import Bundle
from collector.identity.paths import LogName
from collector.identity.table import IdentityTable

UID = "12345678-1234-1234-1234-123456789abc"
CONTAINER_ID = "c" * 64
CONTAINER_PATH = f"/kubepods/besteffort/pod{UID}/{CONTAINER_ID}"
HOST_PATH = "/system.slice/cron.service"


class Cgroups:
    """The cgroup tree: id -> path. `asked` are the ids that were looked up."""

    def __init__(self, paths: dict[int, str]) -> None:
        self.paths = paths
        self.asked: list[int] = []
        self.walks = 0

    def path_of(self, cgroup_id: int) -> str | None:
        self.asked.append(cgroup_id)
        return self.paths.get(cgroup_id)

    def walk(self) -> Iterable[tuple[int, str]]:
        self.walks += 1
        return self.paths.items()


class NoBundles:
    """A runtime without files."""

    def read(self, container_id: str) -> Bundle | None:
        return None


class NoLogs:
    """A kubelet without logs."""

    def name_of(self, path: str) -> LogName | None:
        return None

    def pods(self, uids: Container[str] | None = None) -> Iterable[tuple[str, str, str, tuple[str, ...]]]:
        return ()

    def changed_links(self) -> Iterable[LogName]:
        return ()


def identity_table(cgroups: Cgroups | None = None, node: str = "node1") -> IdentityTable:
    return IdentityTable(node, NoBundles(), NoLogs(), cgroups)

"""Files of a node below a directory, a tree of cgroups, and the table of identities that reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from collector.identity.bundles import Bundles
from collector.identity.identity import Identity
from collector.identity.log_directories import LogDirectories
from collector.identity.table import IdentityTable

UID = "7b47325f-7086-444a-87e3-fb3a30fd855b"
HASH = "3f029f2357c07f6d347ffa1e082f4d7a"
SANDBOX, WEB, SIDE = "a0" * 32, "b1" * 32, "c2" * 32
POD_PATH = f"/kubepods/burstable/pod{UID}"
POD_LOGS = f"shop_web-0_{UID}"
SECOND = 1_000_000_000


class Tree:
    """A cgroup file system in a dict: id -> path."""

    def __init__(self) -> None:
        self.paths: dict[int, str] = {1: "/"}
        self.opens_by_id = True
        self.asked = 0
        self.walked = 0

    def path_of(self, cgroup_id: int) -> str | None:
        self.asked += 1
        if not self.opens_by_id:
            raise PermissionError(1, "Operation not permitted")
        return self.paths.get(cgroup_id)

    def walk(self) -> Iterator[tuple[int, str]]:
        self.walked += 1
        yield from list(self.paths.items())


class Node:
    """Files of a node below a directory, a tree of cgroups, and the table that reads them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Tree()
        self.table = IdentityTable("node1", Bundles(str(root)), LogDirectories(str(root)), self.tree)
        self.changes: list[tuple[int, Identity]] = []
        self.table.changed.append(lambda cgroup_id, identity: self.changes.append((cgroup_id, identity)))

    def bundle(self, container_id: str, name: str = "", uid: str = UID, pod: str = "web-0") -> None:
        annotations = {
            "io.kubernetes.cri.container-type": "container" if name else "sandbox",
            "io.kubernetes.cri.sandbox-name": pod,
            "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": uid,
        }
        if name:
            annotations["io.kubernetes.cri.container-name"] = name
            annotations["io.kubernetes.cri.image-name"] = "docker.io/library/web:1"
        place = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{container_id}/config.json"
        self.write(place, json.dumps({"annotations": annotations}))

    def docker(self, container_id: str, labels: dict[str, str]) -> None:
        config = {"Name": "/db", "Image": "sha256:1", "Config": {"Image": "db:1", "Labels": labels}}
        self.write(f"var/lib/docker/containers/{container_id}/config.v2.json", json.dumps(config))

    def log(self, container: str, restart: int = 0, pod: str = POD_LOGS) -> str:
        return self.write(f"var/log/pods/{pod}/{container}/{restart}.log", "")

    def link(self, container: str, container_id: str, target: str) -> str:
        link = self.root / f"var/log/containers/web-0_shop_{container}-{container_id}.log"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        return str(link)

    def write(self, place: str, content: str) -> str:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return str(path)

    def remove_bundle(self, container_id: str) -> None:
        (
            self.root / f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{container_id}/config.json"
        ).unlink()


def in_full(container_id: str, name: str) -> Identity:
    return Identity(
        "node1", container_id, "containerd", "shop", "web-0", UID, name, "docker.io/library/web:1"
    )

"""A folder that stands for the root of a node: logs, the kubelet's links to them, the runtime's bundles.

The logs are written beside it and put in their place by `appear`, so that an agent that is already running
finds them as it finds new pods, and what it costs can be told from what starting costs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.bench.node_logs import PodLog

IMAGE = "registry.example.internal/platform/team/web:1.42.0-rc.3"
TASKS = "run/containerd/io.containerd.runtime.v2.task/k8s.io"


class Host:
    """`root` is what Host_Root is set to."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "host"
        self.waiting = folder / "waiting"
        self.pods = self.root / "var/log/pods"
        self.links = self.root / "var/log/containers"
        for directory in (self.waiting, self.pods, self.links, self.root / TASKS):
            directory.mkdir(parents=True)

    def appear(self, logs: list[PodLog]) -> None:
        """Bundles first, as a runtime has it, then logs, then links."""
        for log in logs:
            _write_bundle(self.root, log)
        for log in logs:
            (self.waiting / pod_of(log)).rename(self.pods / pod_of(log))
        for log in logs:
            self.link(log).symlink_to(self.pods / pod_of(log) / "app/0.log")

    def vanish(self, logs: list[PodLog]) -> None:
        """Back to where they were before `appear`."""
        for log in logs:
            self.link(log).unlink()
            (self.pods / pod_of(log)).rename(self.waiting / pod_of(log))

    def link(self, log: PodLog) -> Path:
        namespace, name, _ = pod_of(log).split("_")
        return self.links / f"{name}_{namespace}_app-{container_id(log)}.log"


def pod_of(log: PodLog) -> str:
    """NAMESPACE_POD_UID."""
    return log.path.parent.parent.name


def container_id(log: PodLog) -> str:
    return hashlib.sha256(pod_of(log).encode()).hexdigest()


def kubernetes(log: PodLog, node: str) -> dict[str, str]:
    """What the filter of this name has to add to the records of this log."""
    namespace, name, uid = pod_of(log).split("_")
    return {
        "pod_name": name,
        "namespace_name": namespace,
        "pod_id": uid,
        "host": node,
        "container_name": "app",
        "docker_id": container_id(log),
        "container_image": IMAGE,
    }


def _write_bundle(root: Path, log: PodLog) -> None:
    namespace, name, uid = pod_of(log).split("_")
    said = {"container-name": "app", "container-type": "container", "image-name": IMAGE, "sandbox-name": name,
            "sandbox-namespace": namespace, "sandbox-uid": uid}  # fmt: skip
    folder = root / TASKS / container_id(log)
    folder.mkdir(exist_ok=True)
    spec = {"annotations": {f"io.kubernetes.cri.{key}": value for key, value in said.items()}}
    (folder / "config.json").write_text(json.dumps(spec))

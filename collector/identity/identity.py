"""Who a record is about: the one identity that logs and kernel events carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collector.kubernetes.objects import Pod
from collector.kubernetes.workload import Workload


@dataclass(frozen=True, slots=True)
class Identity:
    """A container of a pod, a container without one, or the host ("" where not known)."""

    node: str
    container_id: str = ""  # 64 hex digits; "": a process of the host
    runtime: str = ""  # containerd, cri-o, docker
    namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    container_name: str = ""
    image: str = ""
    image_id: str = ""
    is_sandbox: bool = False  # the pod's pause container
    pod: Pod | None = None  # as the API server has it, where it is asked
    workload: Workload | None = None  # from there too
    runtime_labels: tuple[tuple[str, str], ...] = ()  # the pod's, as the runtime has them

    @property
    def is_host(self) -> bool:
        return not self.container_id and not self.pod_uid

    def labels(self) -> dict[str, Any]:
        """The pod's: as the API server has them now, else as they were when the runtime made the pod."""
        return dict(self.pod.labels or {}) if self.pod else dict(self.runtime_labels)

    def kubernetes(self, with_labels: bool = True) -> dict[str, Any]:
        """The `kubernetes` map, keys in Fluent Bit's order; absent values left out; {} without a pod."""
        if not self.pod_uid and not self.pod_name:
            return {}
        pairs: tuple[tuple[str, Any], ...] = (
            ("pod_name", self.pod_name),
            ("namespace_name", self.namespace),
            ("pod_id", self.pod_uid),
            ("labels", self.labels() if with_labels else None),
            ("workload", self.workload._asdict() if self.workload else None),
            ("host", self.node),
            ("pod_ip", self.pod.pod_ip if self.pod else ""),
            ("container_name", self.container_name),
            ("docker_id", self.container_id),
            ("container_hash", self.image_id),
            ("container_image", self.image),
        )
        return {key: value for key, value in pairs if value}

    def container(self) -> dict[str, Any]:
        """The ECS `container` map; {} for the host."""
        if not self.container_id:
            return {}
        pairs: tuple[tuple[str, Any], ...] = (
            ("id", self.container_id),
            ("name", self.container_name),
            ("runtime", self.runtime),
            ("image", {"name": self.image} if self.image else None),
        )
        return {key: value for key, value in pairs if value}

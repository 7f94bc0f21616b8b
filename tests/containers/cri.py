"""A client of the Container Runtime Interface, as the kubelet is one. Field numbers: k8s.io/cri-api, v1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import grpc  # type: ignore[import-untyped]

from tests.containers import protobuf as pb

_POD, _CONTAINER_ONLY, _NODE = 0, 1, 2  # NamespaceMode
RUNNING, EXITED = 1, 2  # ContainerState


class Refused(Exception):
    """The runtime did not do it; its own words."""


class ExecResult(NamedTuple):
    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class PodConfig:
    """What a kubelet asks of a runtime for a pod."""

    name: str
    namespace: str
    uid: str
    log_directory: str
    cgroup_parent: str
    host_network: bool
    privileged: bool
    own_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        return {
            **self.own_labels,
            "io.kubernetes.pod.name": self.name,
            "io.kubernetes.pod.namespace": self.namespace,
            "io.kubernetes.pod.uid": self.uid,
        }

    @property
    def namespaces(self) -> bytes:
        return pb.number(1, _NODE if self.host_network else _POD) + pb.number(2, _CONTAINER_ONLY)

    def encode(self) -> bytes:
        metadata = pb.text(1, self.name) + pb.text(2, self.uid) + pb.text(3, self.namespace)
        security = pb.message(1, self.namespaces) + pb.number(6, self.privileged)
        return (
            pb.message(1, metadata)
            + pb.text(2, "" if self.host_network else self.name)
            + pb.text(3, self.log_directory)
            # Without servers containerd copies /etc/resolv.conf, which may be a link into the machine's /run.
            + pb.message(4, pb.texts(1, ["127.0.0.1"]))
            + pb.mapping(6, self.labels)
            + pb.message(8, pb.text(1, self.cgroup_parent) + pb.message(2, security))
        )


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    mounts: dict[str, str]  # path in the container -> path on the node
    restart: int
    log_path: str  # relative to the pod's log directory

    def encode(self, pod: PodConfig) -> bytes:
        metadata = pb.text(1, self.name) + pb.number(2, self.restart)
        security = pb.number(2, pod.privileged) + pb.message(3, pod.namespaces)
        # The kubelet gives its pod's labels to the sandbox only.
        names = {key: value for key, value in pod.labels.items() if key not in pod.own_labels}
        return (
            pb.message(1, metadata)
            + pb.message(2, pb.text(1, self.image))
            + pb.texts(3, self.command)
            + b"".join(pb.message(6, pb.text(1, k) + pb.text(2, v)) for k, v in self.environment.items())
            + b"".join(pb.message(7, pb.text(1, k) + pb.text(2, v)) for k, v in self.mounts.items())
            + pb.mapping(9, {**names, "io.kubernetes.container.name": self.name})
            + pb.mapping(10, {"io.kubernetes.container.restartCount": str(self.restart)})
            + pb.text(11, self.log_path)
            + pb.message(15, pb.message(1, pb.number(3, 2)) + pb.message(2, security))
        )


class ContainerStatus(NamedTuple):
    state: int
    exit_code: int
    pid: int


class Cri:
    """Calls of one runtime. Each raises Refused."""

    def __init__(self, socket: str) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def close(self) -> None:
        self._channel.close()

    def version(self) -> str:
        found = self._call("Version", pb.text(1, "v1"))
        return f"{pb.get_text(found, 2)} {pb.get_text(found, 3)}"

    def images(self) -> set[str]:
        found = self._call("ListImages", service="ImageService")
        tags = (image.get(2, []) for image in pb.get_messages(found, 1))
        return {tag.decode() for of_image in tags for tag in of_image if isinstance(tag, bytes)}

    def run_sandbox(self, pod: PodConfig) -> str:
        return pb.get_text(self._call("RunPodSandbox", pb.message(1, pod.encode())), 1)

    def sandbox_ip(self, sandbox_id: str) -> str:
        status = pb.get_message(self._call("PodSandboxStatus", pb.text(1, sandbox_id)), 1)
        return pb.get_text(pb.get_message(status, 5), 1)

    def create(self, sandbox_id: str, pod: PodConfig, container: ContainerConfig) -> str:
        request = pb.text(1, sandbox_id) + pb.message(2, container.encode(pod)) + pb.message(3, pod.encode())
        return pb.get_text(self._call("CreateContainer", request), 1)

    def start(self, container_id: str) -> None:
        self._call("StartContainer", pb.text(1, container_id))

    def status(self, container_id: str) -> ContainerStatus:
        found = self._call("ContainerStatus", pb.text(1, container_id) + pb.number(2, 1))
        status = pb.get_message(found, 1)
        info: Any = json.loads(pb.get_mapping(found, 2)["info"])
        return ContainerStatus(pb.get_number(status, 3), pb.get_number(status, 7), info["pid"])

    def exec(self, container_id: str, argv: list[str], timeout_s: int) -> ExecResult:
        request = pb.text(1, container_id) + pb.texts(2, argv) + pb.number(3, timeout_s)
        found = self._call("ExecSync", request)
        return ExecResult(pb.get_number(found, 3), pb.get_bytes(found, 1), pb.get_bytes(found, 2))

    def stop(self, container_id: str, timeout_s: int) -> None:
        self._call("StopContainer", pb.text(1, container_id) + pb.number(2, timeout_s))

    def remove(self, container_id: str) -> None:
        self._call("RemoveContainer", pb.text(1, container_id))

    def reopen_log(self, container_id: str) -> None:
        self._call("ReopenContainerLog", pb.text(1, container_id))

    def stop_sandbox(self, sandbox_id: str) -> None:
        self._call("StopPodSandbox", pb.text(1, sandbox_id))

    def remove_sandbox(self, sandbox_id: str) -> None:
        self._call("RemovePodSandbox", pb.text(1, sandbox_id))

    def _call(self, method: str, request: bytes = b"", service: str = "RuntimeService") -> pb.Message:
        call = self._channel.unary_unary(
            f"/runtime.v1.{service}/{method}",
            request_serializer=lambda data: data,
            response_deserializer=lambda data: data,
        )
        try:
            return pb.read(cast(bytes, call(request, timeout=60)))
        except grpc.RpcError as error:
            raise Refused(f"{method}: {error}") from error

"""From a container's id to its names, as the runtime itself wrote them down.

containerd, CRI-O and docker write a container's configuration before its first process runs, so the names
are there for the first exec. Where each writes, and under which keys, is from their sources:
containerd `pkg/cri/annotations`, CRI-O `internal/factory/container`, dockershim's labels.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from collector.errors import OperatorError
from collector.identity.paths import is_container_name, is_pod_name, is_uid

_DOCKER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_ID = re.compile(r"[0-9a-f]{64}")
# The kubelet takes a pod of up to etcd's 1.5 MiB; its environment and mounts are in the file once more.
MAX_BUNDLE_BYTES = 4 << 20
_MAX_IMAGE_CHARACTERS = 512  # of a reference, 255 for the name and 128 for the tag or the digest are legal

_TASKS = "io.containerd.runtime.v2.task/k8s.io/{id}/config.json"
PLACES = (
    f"run/containerd/{_TASKS}",
    f"run/k3s/containerd/{_TASKS}",  # k3s and RKE2
    f"run/k0s/containerd/{_TASKS}",
    f"var/snap/microk8s/common/run/containerd/{_TASKS}",
    "run/containers/storage/overlay-containers/{id}/userdata/config.json",  # CRI-O
    "var/lib/containers/storage/overlay-containers/{id}/userdata/config.json",
    "var/lib/docker/containers/{id}/config.v2.json",
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the runtime says of a container; "" where it says nothing, or nothing that Kubernetes admits.

    `is_kubernetes_own`: only the runtime's Kubernetes side can have written the names. Where it is False
    (labels of docker, which an image may bring along) they count only if the cgroup agrees on the pod.
    """

    runtime: str
    namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    container_name: str = ""
    image: str = ""
    image_id: str = ""
    is_sandbox: bool = False
    is_kubernetes_own: bool = True
    labels: tuple[tuple[str, str], ...] = ()  # of the pod; no file has them, only the runtime's CRI


class BundleUnreadable(OperatorError):
    """A runtime's file is there and can't be used."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}.",
            "The container goes without the names that only its runtime knows.",
            "It has to be readable for podwitness (as root), in the format of containerd, CRI-O or docker.",
        )


class _Containerd(msgspec.Struct, rename=lambda name: "io.kubernetes.cri." + name.replace("_", "-")):
    container_type: str = ""
    container_name: str = ""
    image_name: str = ""
    sandbox_name: str = ""
    sandbox_namespace: str = ""
    sandbox_uid: str = ""


class _Crio(msgspec.Struct):
    container_type: str = msgspec.field(default="", name="io.kubernetes.cri-o.ContainerType")
    image: str = msgspec.field(default="", name="io.kubernetes.cri-o.ImageName")
    image_id: str = msgspec.field(default="", name="io.kubernetes.cri-o.ImageRef")
    container_name: str = msgspec.field(default="", name="io.kubernetes.container.name")
    pod_name: str = msgspec.field(default="", name="io.kubernetes.pod.name")
    namespace: str = msgspec.field(default="", name="io.kubernetes.pod.namespace")
    pod_uid: str = msgspec.field(default="", name="io.kubernetes.pod.uid")


class _Spec(msgspec.Struct):
    annotations: msgspec.Raw = msgspec.Raw(b"null")


class _DockerLabels(msgspec.Struct):
    kind: str = msgspec.field(default="", name="io.kubernetes.docker.type")
    container_name: str = msgspec.field(default="", name="io.kubernetes.container.name")
    pod_name: str = msgspec.field(default="", name="io.kubernetes.pod.name")
    namespace: str = msgspec.field(default="", name="io.kubernetes.pod.namespace")
    pod_uid: str = msgspec.field(default="", name="io.kubernetes.pod.uid")


class _DockerConfig(msgspec.Struct, rename="pascal"):
    image: str = ""
    labels: _DockerLabels | None = None


class _Docker(msgspec.Struct, rename="pascal"):
    name: str = ""
    image: str = ""
    config: _DockerConfig = msgspec.field(default_factory=_DockerConfig)


_spec = msgspec.json.Decoder(_Spec)
_containerd = msgspec.json.Decoder(_Containerd | None)
_crio = msgspec.json.Decoder(_Crio | None)
_docker = msgspec.json.Decoder(_Docker)


def read_oci(data: bytes) -> Bundle | None:
    """An OCI `config.json` of containerd's CRI plugin or of CRI-O; None when neither wrote it.

    Raises msgspec.MsgspecError when it is no such file at all.
    """
    annotations = _spec.decode(data).annotations
    by_containerd = _containerd.decode(annotations)
    if by_containerd is not None and by_containerd.container_type:
        return _from_containerd(by_containerd)
    by_crio = _crio.decode(annotations)
    if by_crio is not None and by_crio.container_type:
        return _from_crio(by_crio)
    return None


def _from_containerd(found: _Containerd) -> Bundle:
    return checked(
        Bundle(
            "containerd",
            found.sandbox_namespace,
            found.sandbox_name,
            found.sandbox_uid,
            found.container_name,
            found.image_name,
            is_sandbox=found.container_type == "sandbox",
        )
    )


def _from_crio(found: _Crio) -> Bundle:
    is_sandbox = found.container_type == "sandbox"
    return checked(
        Bundle(
            "cri-o",
            found.namespace,
            found.pod_name,
            found.pod_uid,
            "" if is_sandbox else found.container_name,
            "" if is_sandbox else found.image,
            "" if is_sandbox else found.image_id,
            is_sandbox=is_sandbox,
        )
    )


def read_docker(data: bytes) -> Bundle:
    """docker's `config.v2.json`, of a pod (labels of dockershim) or of a container of its own.

    Raises msgspec.MsgspecError when it is no such file.
    """
    found = _docker.decode(data)
    labels = found.config.labels or _DockerLabels()
    is_sandbox = labels.kind == "podsandbox"
    name = labels.container_name if labels.pod_uid else found.name.removeprefix("/")
    bundle = Bundle(
        "docker",
        labels.namespace,
        labels.pod_name,
        labels.pod_uid,
        "" if is_sandbox else name,
        found.config.image,
        found.image,
        is_sandbox=is_sandbox,
        is_kubernetes_own=False,
    )
    return checked(bundle)


def checked(bundle: Bundle) -> Bundle:
    """The bundle without what Kubernetes would not have admitted as a name."""
    image = bundle.image if len(bundle.image) <= _MAX_IMAGE_CHARACTERS else ""
    image_id = bundle.image_id if len(bundle.image_id) <= _MAX_IMAGE_CHARACTERS else ""
    is_name = is_container_name if bundle.pod_name else _is_docker_name
    container_name = bundle.container_name if is_name(bundle.container_name) else ""
    # containerd before 1.6 does not write the uid.
    is_pod = (not bundle.pod_uid or is_uid(bundle.pod_uid)) and is_pod_name(bundle.namespace, bundle.pod_name)
    return Bundle(
        bundle.runtime,
        bundle.namespace if is_pod else "",
        bundle.pod_name if is_pod else "",
        bundle.pod_uid if is_pod else "",
        container_name,
        image,
        image_id,
        bundle.is_sandbox,
        bundle.is_kubernetes_own,
        bundle.labels if is_pod else (),
    )


def _is_docker_name(name: str) -> bool:
    return _DOCKER_NAME.fullmatch(name) is not None


class Bundles:
    """The runtimes' files below `root`: `/`, or where the host's root is mounted (`/host`)."""

    def __init__(self, root: str = "/") -> None:
        self._root = Path(root)
        self._places = list(PLACES)

    def read(self, container_id: str) -> Bundle | None:
        """What the runtime says of a container; None when no runtime knows the id (any more).

        Raises BundleUnreadable.
        """
        if not _ID.fullmatch(container_id):
            return None
        for index, place in enumerate(self._places):
            path = self._root / place.format(id=container_id)
            data = _read_bounded(path)
            if data is None:
                continue
            if index:  # a node has one runtime: look there first from now on
                self._places.insert(0, self._places.pop(index))
            return _read_bundle(path, data)
        return None


def _read_bounded(path: Path) -> bytes | None:
    try:
        with path.open("rb", buffering=0) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes > MAX_BUNDLE_BYTES:
                raise BundleUnreadable(str(path), f"{size_bytes} bytes, more than {MAX_BUNDLE_BYTES}")
            return file.read(MAX_BUNDLE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as reason:
        raise BundleUnreadable(str(path), f"can't be read ({reason.strerror})") from reason


def _read_bundle(path: Path, data: bytes) -> Bundle | None:
    try:
        return read_docker(data) if path.name == "config.v2.json" else read_oci(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as reason:
        raise BundleUnreadable(str(path), f"is not what a runtime writes ({reason})") from reason

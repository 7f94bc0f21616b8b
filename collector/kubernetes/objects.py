"""What the collector reads of the API server's objects; everything else of them is skipped undecoded.

The shapes are those of the core/v1 API. Names of keys in a map keep the order in
which the server sent them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

# Of the kubelet, on the mirror in the API of a pod that it made from a file.
CONFIG_HASH = "kubernetes.io/config.hash"

ObjectT = TypeVar("ObjectT")


# gc=False: they hold no cycle, and 500 pods would be walked with each collection.


class UnreadableObject(Exception):
    """The server sent what is not the object that was asked for."""


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None
    owner_references: list[dict[str, Any]] | None = None


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Spec(msgspec.Struct, rename="camel", gc=False):
    node_name: str = ""


class ContainerStatus(msgspec.Struct, frozen=True, gc=False):
    """A container of a pod, as its status has it."""

    name: str = ""
    image: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    container_id: str = msgspec.field(default="", name="containerID")
    is_ephemeral: bool = msgspec.field(default=False, name="is ephemeral")  # no key of the API


class _Status(msgspec.Struct, rename="camel", gc=False):
    pod_ip: str = msgspec.field(default="", name="podIP")
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None


class _PodObject(msgspec.Struct, gc=False):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


class _PodList(msgspec.Struct):
    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)
    items: list[_PodObject] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    object: _PodObject  # a bookmark is a pod that has nothing but its version


class _Object(msgspec.Struct):
    metadata: _Metadata


class _Failure(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


class _FailedEvent(msgspec.Struct):
    type: str
    object: _Failure


class Pod(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A pod of the API. Equal is only the same one: `collector.kubernetes.pods` keeps it while it is true."""

    namespace: str
    name: str
    uid: str
    node: str = ""
    pod_ip: str = ""
    labels: Mapping[str, Any] | None = None
    annotations: Mapping[str, Any] | None = None
    owners: Sequence[Mapping[str, Any]] | None = None  # as the API has them
    containers: tuple[ContainerStatus, ...] = ()

    @property
    def log_uid(self) -> str:
        """The uid in its log's path and its cgroup: of a static pod the hash of its manifest."""
        return str((self.annotations or {}).get(CONFIG_HASH) or self.uid)

    def container(self, name: str) -> ContainerStatus | None:
        return next((one for one in self.containers if one.name == name), None)

    def says_the_same(self, other: Pod) -> bool:
        """Compared first is what changes most."""
        return (
            self.containers == other.containers
            and self.pod_ip == other.pod_ip
            and self.labels == other.labels
            and self.annotations == other.annotations
            and self.node == other.node
            and self.owners == other.owners
            and (self.uid, self.name, self.namespace) == (other.uid, other.name, other.namespace)
        )


@dataclass(frozen=True, slots=True)
class Page(Generic[ObjectT]):
    """Part of a list; `rest` is the token for what follows, `version` that of the whole list."""

    objects: list[ObjectT]
    version: str
    rest: str


@dataclass(frozen=True, slots=True)
class Change(Generic[ObjectT]):
    """A line of a watch. `object` of ADDED, MODIFIED and DELETED; `code` and `message` of ERROR."""

    kind: str
    version: str = ""
    object: ObjectT | None = None
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What namespaces and owners are asked for."""

    name: str
    labels: Mapping[str, Any] | None
    annotations: Mapping[str, Any] | None
    owners: Sequence[Mapping[str, Any]] | None


_pod = msgspec.json.Decoder(_PodObject)
_list = msgspec.json.Decoder(_PodList)
_event = msgspec.json.Decoder(_Event)
_object = msgspec.json.Decoder(_Object)
_failure = msgspec.json.Decoder(_Failure)
_failed_event = msgspec.json.Decoder(_FailedEvent)


def read_pod(text: bytes) -> Pod:
    """Raises UnreadableObject."""
    return _made(_decoded(_pod, text))


def read_list(text: bytes) -> Page[Pod]:
    """Raises UnreadableObject."""
    found: _PodList = _decoded(_list, text)
    pods = [_made(one) for one in found.items or ()]
    return Page(pods, found.metadata.resource_version, found.metadata.continue_)


def read_change(line: bytes) -> Change[Pod]:
    """A line of a watch. Raises UnreadableObject."""
    try:
        event: _Event = _decoded(_event, line)
    except UnreadableObject as reason:
        return _read_failure(line, reason)
    if event.type == "ERROR":
        return _read_failure(line)
    version = event.object.metadata.resource_version
    return Change(event.type, version, None if event.type == "BOOKMARK" else _made(event.object))


def _read_failure(line: bytes, reason: UnreadableObject | None = None) -> Change[Pod]:
    """A Status is no pod: its own `status` is a text. Seldom, so that pods are decoded in one pass."""
    event: _FailedEvent = _decoded(_failed_event, line)
    if event.type != "ERROR" and reason is not None:
        raise reason
    return Change("ERROR", code=event.object.code, message=event.object.message or event.object.reason)


def read_metadata(text: bytes) -> Metadata:
    """Of a namespace or an owner. Raises UnreadableObject."""
    found: _Metadata = _decoded(_object, text).metadata
    return Metadata(found.name, found.labels, found.annotations, found.owner_references)


def failure_of(text: bytes) -> str:
    """The sentence of a Status object; "" for what is none."""
    try:
        return _failure.decode(text).message
    except msgspec.DecodeError:
        return ""


def _decoded(decoder: msgspec.json.Decoder[Any], text: bytes) -> Any:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as reason:
        raise UnreadableObject(str(reason)) from None


def _made(found: _PodObject) -> Pod:
    own, status = found.metadata, found.status
    # Fluent Bit looks at these two, in the order of the status: c before i.
    containers = (*(status.container_statuses or ()), *(status.init_container_statuses or ()))
    if status.ephemeral_container_statuses:
        containers += tuple(
            msgspec.structs.replace(one, is_ephemeral=True) for one in status.ephemeral_container_statuses
        )
    return Pod(
        own.namespace,
        own.name,
        own.uid,
        found.spec.node_name,
        status.pod_ip,
        own.labels,
        own.annotations,
        own.owner_references,
        containers,
    )

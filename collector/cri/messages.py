"""What podwitness reads of the runtimes' answers. Field numbers: k8s.io/cri-api, runtime/v1/api.proto.

Names and ids are not judged here, but for their length; a text that is longer or no UTF-8 is as none.
"""

from __future__ import annotations

from dataclasses import dataclass

from collector import protobuf
from collector.protobuf import elements

RUNTIME, IMAGES = "/runtime.v1.RuntimeService/", "/runtime.v1.ImageService/"
CREATED, STARTED, STOPPED, DELETED = range(4)  # ContainerEventType
VERSION_REQUEST = protobuf.text(1, "v1")

# The longest that is legal is a label's key (317) or an image's name with its digest (some 400).
_MAX_TEXT_BYTES = 512
_MAX_LABELS = 256

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod, as its runtime has it. `labels` are the pod's own, without those that the kubelet adds."""

    id: str
    namespace: str = ""
    name: str = ""
    uid: str = ""
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Container:
    """`image` is what was asked for or the image's id, `image_ref` the id or the digest of the repository.

    Of its labels those with the pod's names: the rest are an image's own, or of no use.
    """

    id: str
    sandbox_id: str = ""
    name: str = ""
    image: str = ""
    image_ref: str = ""
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    name: str = ""  # the first tag, or the first digest
    ref: str = ""  # the first digest, or the id


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """A container or sandbox came or went. What the runtime tells beside that is as of a list."""

    container_id: str
    kind: int
    sandbox: Sandbox | None
    containers: tuple[Container, ...]


def _text(value: int | bytes) -> str:
    if not isinstance(value, bytes) or len(value) > _MAX_TEXT_BYTES:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return ""


def _inner(value: int | bytes) -> dict[int, int | bytes]:
    return protobuf.fields(value) if isinstance(value, bytes) else {}


def _label(value: int | bytes) -> tuple[str, str]:
    pair = _inner(value)
    return _text(pair.get(1, b"")), _text(pair.get(2, b""))


def _of_kubelet(label: tuple[str, str]) -> bool:
    return label[0].startswith("io.kubernetes.pod.")


def id_of(element: int | bytes) -> str:
    """The id of a listed sandbox, container or image, which is its first field; "" without one."""
    if not isinstance(element, bytes):
        return ""
    number, value = next(elements(element), (0, b""))
    return _text(value) if number == 1 else ""


def sandbox(message: bytes, labels_field: int = 5) -> Sandbox:
    """A PodSandbox; with 7 a PodSandboxStatus. Raises ValueError."""
    names: dict[int, int | bytes] = {}
    own = ""
    labels: list[tuple[str, str]] = []
    for number, value in elements(message):
        if number == 1:
            own = _text(value)
        elif number == 2:
            names = _inner(value)
        elif number == labels_field and len(labels) < _MAX_LABELS:
            labels.append(_label(value))
    # In an order of their own: containerd's is another one in each answer.
    kept = tuple(sorted(one for one in labels if one[0] and not _of_kubelet(one)))
    return Sandbox(own, _text(names.get(3, b"")), _text(names.get(1, b"")), _text(names.get(2, b"")), kept)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a message about a container has what."""

    sandbox_id: int
    metadata: int
    image: int
    image_ref: int
    labels: int


_LISTED = _Layout(sandbox_id=2, metadata=3, image=4, image_ref=5, labels=8)
_STATUS = _Layout(sandbox_id=0, metadata=2, image=8, image_ref=9, labels=12)


def container(message: bytes, layout: _Layout = _LISTED) -> Container:
    """A Container of a list. Raises ValueError."""
    found: dict[int, int | bytes] = {}
    labels: list[tuple[str, str]] = []
    for number, value in elements(message):
        if number != layout.labels:
            found[number] = value
        elif len(labels) < _MAX_LABELS:
            labels.append(_label(value))
    image = _inner(found.get(layout.image, b""))
    asked_for = _text(image.get(18, b""))  # user_specified_image, since Kubernetes 1.29
    return Container(
        _text(found.get(1, b"")),
        _text(found.get(layout.sandbox_id, b"")),
        _text(_inner(found.get(layout.metadata, b"")).get(1, b"")),
        asked_for or _text(image.get(1, b"")),
        _text(found.get(layout.image_ref, b"")),
        tuple(filter(_of_kubelet, labels)),
    )


def image(message: bytes) -> Image:
    """Raises ValueError."""
    own = tag = digest = ""
    for number, value in elements(message):
        if number == 1:
            own = _text(value)
        elif number == 2:
            tag = tag or _text(value)
        elif number == 3:
            digest = digest or _text(value)
    return Image(own, tag or digest, digest or own)


def event(message: bytes) -> ContainerEvent:
    """A ContainerEventResponse. Raises ValueError."""
    found: dict[int, int | bytes] = {}
    containers: list[Container] = []
    for number, value in elements(message):
        if number == 5 and isinstance(value, bytes):
            containers.append(container(value, _STATUS))
        else:
            found[number] = value
    told, kind = found.get(4), found.get(2, CREATED)
    return ContainerEvent(
        _text(found.get(1, b"")),
        kind if isinstance(kind, int) else -1,
        sandbox(told, labels_field=7) if isinstance(told, bytes) else None,
        tuple(containers),
    )


def version(fields: dict[int, int | bytes]) -> tuple[str, str]:
    """The runtime's name and version, of a VersionResponse."""
    return _text(fields.get(2, b"")), _text(fields.get(3, b""))

"""What the runtime has told of its containers, by id. Sans-I/O: elements of answers in, bundles out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collector.cri import messages
from collector.cri.messages import Container, ContainerEvent, Image, Sandbox
from collector.identity.bundles import Bundle, checked

# Names and labels of all that is held; a pod takes 1 KiB, a container with its bundle as much.
MAX_BYTES = 8 << 20
MAX_IMAGES = 4096
KEEP_GONE_S = 300.0
_ENTRY_BYTES = 400  # beside its texts

CONTAINERD, CRIO = "containerd", "cri-o"


@dataclass(slots=True)
class _Entry:
    told: Sandbox | Container
    size_bytes: int


class Inventory:
    """Sandboxes, containers and images of one runtime.

    Bounded by MAX_BYTES: what is gone gives way first, then what is new is left out and counted in `refused`.
    `now_s` is a monotonic clock.
    """

    def __init__(self) -> None:
        self.runtime = ""
        self.refused = 0
        self._entries: dict[str, _Entry] = {}
        self._gone: dict[str, float] = {}  # since when the runtime does not have it any more, in this order
        self._images: dict[str, Image] = {}
        self._size_bytes = 0
        self._news: dict[str, None] = {}
        self._listed: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._entries

    def set_runtime(self, name: str) -> None:
        """As a VersionResponse has it."""
        known = {"containerd": CONTAINERD, "cri-o": CRIO, "docker": "docker"}
        self.runtime = known.get(name.lower(), "")

    # ---- lists

    def begin_list(self) -> None:
        """All sandboxes and containers follow."""
        self._listed = set()

    def sandbox_listed(self, element: int | bytes) -> None:
        """Raises ValueError for what is no PodSandbox."""
        if self._is_new(element) and isinstance(element, bytes):
            self._take(messages.sandbox(element))

    def container_listed(self, element: int | bytes) -> None:
        """Raises ValueError for what is no Container."""
        if self._is_new(element) and isinstance(element, bytes):
            self._take(messages.container(element))

    def end_list(self, now_s: float) -> None:
        """What was not listed is gone."""
        for container_id in self._entries.keys() - self._listed:
            self._gone.setdefault(container_id, now_s)
        self.expire(now_s)

    def image_listed(self, element: int | bytes) -> None:
        """Raises ValueError for what is no Image."""
        if isinstance(element, bytes) and len(self._images) < MAX_IMAGES:
            found = messages.image(element)
            self._images[found.id] = found

    def begin_images(self) -> None:
        """All images follow."""
        self._images = {}

    def end_images(self) -> None:
        """Containers are news again. An image that was not listed is not asked for again."""
        for container_id, entry in self._entries.items():
            image_id = _image_id(entry.told)
            if image_id:
                self._images.setdefault(image_id, Image(image_id, "", image_id))
                self._news[container_id] = None

    def lacks_images(self) -> bool:
        """Whether a container that is there has an image that no list has told of."""
        present = (entry.told for one, entry in self._entries.items() if one not in self._gone)
        return any(image_id and image_id not in self._images for image_id in map(_image_id, present))

    # ---- events

    def take_event(self, event: ContainerEvent, now_s: float) -> None:
        """What came is known, what went is kept for KEEP_GONE_S."""
        if event.kind == messages.DELETED:
            if event.container_id in self._entries:
                self._gone.setdefault(event.container_id, now_s)
            self.expire(now_s)
            return
        if event.sandbox is not None and event.sandbox.id not in self._entries:
            self._take(event.sandbox)
        sandbox_id = event.sandbox.id if event.sandbox else ""
        for one in event.containers:
            if one.id not in self._entries:
                self._take(Container(one.id, sandbox_id, one.name, one.image, one.image_ref, one.labels))

    # ---- answers

    def bundle(self, container_id: str) -> Bundle | None:
        """What the runtime says of a container or a sandbox; None when it does not know the id."""
        entry = self._entries.get(container_id)
        if entry is None:
            return None
        if isinstance(entry.told, Sandbox):
            told = entry.told
            return checked(
                Bundle(self.runtime, told.namespace, told.name, told.uid, is_sandbox=True, labels=told.labels)
            )
        return self._of_container(entry.told)

    def _of_container(self, told: Container) -> Bundle:
        """The names are the sandbox's; those in the container's labels, where that is not known."""
        entry = self._entries.get(told.sandbox_id)
        pod = entry.told if entry is not None and isinstance(entry.told, Sandbox) else _of_labels(told)
        image = self._images.get(_image_id(told))
        name = told.image if not _is_image_id(told.image) else image.name if image else ""
        return checked(
            Bundle(
                self.runtime,
                pod.namespace,
                pod.name,
                pod.uid,
                told.name,
                name,
                image.ref if image else told.image_ref,
                labels=pod.labels,
            )
        )

    def take_news(self) -> list[str]:
        """Ids of containers of which something was learned since the last time."""
        news, self._news = self._news, {}
        return list(news)

    def expire(self, now_s: float) -> None:
        """Forgets what was gone for long enough."""
        while self._gone and now_s - next(iter(self._gone.values())) >= KEEP_GONE_S:
            self._drop(next(iter(self._gone)))

    # ---- the store

    def _is_new(self, element: int | bytes) -> bool:
        container_id = messages.id_of(element)
        if not container_id:
            return False
        if container_id in self._entries:
            self._listed.add(container_id)
            self._gone.pop(container_id, None)
            return False
        return True

    def _take(self, told: Sandbox | Container) -> None:
        if not told.id or told.id in self._entries:
            return
        size_bytes = _size_bytes(told)
        while self._gone and self._size_bytes + size_bytes > MAX_BYTES:
            self._drop(next(iter(self._gone)))
        if self._size_bytes + size_bytes > MAX_BYTES:
            self.refused += 1
            return
        self._entries[told.id] = _Entry(told, size_bytes)
        self._listed.add(told.id)
        self._size_bytes += size_bytes
        self._news[told.id] = None

    def _drop(self, container_id: str) -> None:
        self._size_bytes -= self._entries.pop(container_id).size_bytes
        self._gone.pop(container_id, None)
        self._news.pop(container_id, None)


def _of_labels(told: Container) -> Sandbox:
    """The pod as the kubelet has written it down in its container's labels."""
    labels = dict(told.labels)
    pod = "io.kubernetes.pod."
    return Sandbox(
        "", labels.get(pod + "namespace", ""), labels.get(pod + "name", ""), labels.get(pod + "uid", "")
    )


def _is_image_id(image: str) -> bool:
    """`sha256:` and 64 hex digits, or these alone (CRI-O)."""
    digits = image.removeprefix("sha256:")
    return len(digits) == 64 and not set(digits) - set("0123456789abcdef")


def _image_id(told: Sandbox | Container) -> str:
    """The id of a container's image; "" where the runtime names it in another way."""
    if isinstance(told, Sandbox):
        return ""
    return next((one for one in (told.image, told.image_ref) if _is_image_id(one)), "")


def _texts(told: Sandbox | Container) -> Iterable[str]:
    if isinstance(told, Sandbox):
        yield from (told.id, told.namespace, told.name, told.uid)
    else:
        yield from (told.id, told.sandbox_id, told.name, told.image, told.image_ref)
    for label in told.labels:
        yield from label


def _size_bytes(told: Sandbox | Container) -> int:
    # A str takes 50 bytes beside its characters.
    return _ENTRY_BYTES + sum(50 + len(text) for text in _texts(told))

"""A runtime for tests: grpc's own server at a UNIX socket, with the answers of a real node or others.

tests/golden/cri has what `crictl pods`, `ps` and `images` printed of containerd 1.7 below a kubelet 1.34.
"""

from __future__ import annotations

import json
import queue
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc  # type: ignore[import-untyped]

from tests.containers import protobuf as pb

GOLDEN = Path(__file__).parent / "golden" / "cri"
VERSION = pb.text(1, "0.1.0") + pb.text(2, "containerd") + pb.text(3, "1.7.24") + pb.text(4, "v1")


def golden(name: str) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = json.loads((GOLDEN / f"{name}.json").read_text())
    return next(iter(found.values()))


def sandbox(told: dict[str, Any], labels_field: int = 5) -> bytes:
    """A PodSandbox; with 7 a PodSandboxStatus."""
    names = told["metadata"]
    metadata = pb.text(1, names["name"]) + pb.text(2, names["uid"]) + pb.text(3, names["namespace"])
    return (
        pb.text(1, told["id"])
        + pb.message(2, metadata + pb.number(4, names["attempt"]))
        + pb.number(4, int(told["createdAt"]))
        + pb.mapping(labels_field, told["labels"])
        + pb.mapping(labels_field + 1, told["annotations"])
    )


def container(told: dict[str, Any]) -> bytes:
    """A Container of a list."""
    return (
        pb.text(1, told["id"])
        + pb.text(2, told["podSandboxId"])
        + pb.message(3, pb.text(1, told["metadata"]["name"]))
        + pb.message(4, pb.text(1, told["image"]["image"]))
        + pb.text(5, told["imageRef"])
        + pb.number(6, 1)
        + pb.number(7, int(told["createdAt"]))
        + pb.mapping(8, told["labels"])
        + pb.mapping(9, told["annotations"])
    )


def container_status(told: dict[str, Any], image: str) -> bytes:
    """A ContainerStatus of an event."""
    return (
        pb.text(1, told["id"])
        + pb.message(2, pb.text(1, told["metadata"]["name"]))
        + pb.number(3, 1)
        + pb.message(8, pb.text(1, image))
        + pb.text(9, told["imageRef"])
        + pb.mapping(12, told["labels"])
    )


def image(told: dict[str, Any]) -> bytes:
    return pb.text(1, told["id"]) + pb.texts(2, told["repoTags"]) + pb.texts(3, told["repoDigests"])


def event(container_id: str, kind: int, sandbox: bytes = b"", containers: tuple[bytes, ...] = ()) -> bytes:
    """A ContainerEventResponse."""
    return (
        pb.text(1, container_id)
        + pb.number(2, kind)
        + pb.number(3, 1)
        + (pb.message(4, sandbox) if sandbox else b"")
        + b"".join(pb.message(5, one) for one in containers)
    )


def repeated(elements: list[bytes]) -> bytes:
    return b"".join(pb.message(1, one) for one in elements)


class CriRuntime:
    """Serves at `path` until `close`. Its answers may be changed at any time; `calls` has what was asked."""

    def __init__(self, path: Path, *, has_events: bool = False) -> None:
        self.sandboxes = [sandbox(one) for one in golden("pods")]
        self.containers = [container(one) for one in golden("ps")]
        self.images = [image(one) for one in golden("images")]
        self.calls: list[str] = []
        self.events: queue.Queue[bytes | None] = queue.Queue()
        self._has_events = has_events
        path.parent.mkdir(parents=True, exist_ok=True)
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((self._handler(),))
        self._server.add_insecure_port(f"unix:{path}")
        self._server.start()

    def close(self) -> None:
        self.events.put(None)
        self._server.stop(0).wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handler(self) -> grpc.GenericRpcHandler:
        runtime = self

        class Services(grpc.GenericRpcHandler):  # type: ignore[misc]
            def service(self, details: Any) -> Any:
                method = details.method.rpartition("/")[2]
                runtime.calls.append(method)
                if method == "GetContainerEvents" and runtime._has_events:
                    return grpc.unary_stream_rpc_method_handler(runtime._follow)
                answer = runtime._answers().get(method)
                return grpc.unary_unary_rpc_method_handler(lambda *_: answer()) if answer else None

        return Services()

    def _answers(self) -> dict[str, Callable[[], bytes]]:
        return {
            "Version": lambda: VERSION,
            "ListPodSandbox": lambda: repeated(self.sandboxes),
            "ListContainers": lambda: repeated(self.containers),
            "ListImages": lambda: repeated(self.images),
        }

    def _follow(self, request: bytes, context: Any) -> Iterator[bytes]:
        while (one := self.events.get()) is not None:
            yield one
        self.events.put(None)  # for the next: one that follows for a client who has gone is not told so


def grpc_message(content: bytes) -> bytes:
    """As a body has it."""
    return struct.pack(">BI", 0, len(content)) + content

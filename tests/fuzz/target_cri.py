"""What a container runtime answers: frames, headers, gRPC and the messages, in any pieces, and whole."""

from __future__ import annotations

from collections.abc import Callable

from collector.cri import messages
from collector.cri.grpc import Answer, Refused, Stream
from collector.cri.http2 import Connection, ProtocolError
from collector.cri.inventory import Inventory
from collector.identity.bundles import Bundle

Known = list[Bundle | None]


def read(data: bytes, cut: int, is_stream: bool) -> tuple[bool, Known]:
    """Whether the answer ended well, and what is known by then."""
    connection, inventory = Connection(), Inventory()
    call = Stream() if is_stream else Answer()
    stream = connection.request([(":method", "POST")], b"")
    taken: dict[int, Callable[[int | bytes], None]] = {
        0: lambda one: inventory.take_event(messages.event(one), 0.0) if isinstance(one, bytes) else None,
        1: inventory.container_listed,
        2: inventory.sandbox_listed,
        3: inventory.image_listed,
    }
    known: list[str] = []
    is_well = True
    try:
        for begin in range(0, len(data), cut):
            for event in connection.feed(data[begin : begin + cut]):
                if event.stream == stream and not call.is_done:
                    for number, value in call.take(event):
                        if number in taken:
                            taken[number](value)
                        known += inventory.take_news()
    except (ProtocolError, Refused, ValueError):
        is_well = False
    inventory.end_images()
    assert len(connection.outgoing) <= 200 + 4 * len(data)
    return is_well and call.is_done, [inventory.bundle(one) for one in known]


def target(data: bytes) -> None:
    """The first byte says into which pieces the rest is cut, and which kind of call it answers."""
    if not data:
        return
    found = [read(data[1:], cut, data[0] >= 128) for cut in (data[0] or 1, 1)]
    assert found[0] == found[1]
    for bundle in found[0][1]:
        assert bundle is None or len(bundle.image) <= 512

"""Chunks of which a receiver has a part: what is still to be sent, and what it refused for good."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from collector.entries import spans
from collector.plugin import Rejected

if TYPE_CHECKING:
    from collector.delivery.chunk import Chunk

Part = TypeVar("Part")

# Chunks remembered; beyond it a whole chunk is sent again, which costs copies and no record.
CHUNKS = 64


class Parts(Generic[Part]):
    """What is known of chunks between one attempt and the next, by their ids; the oldest are forgotten."""

    def __init__(self, chunks: int = CHUNKS) -> None:
        self._chunks = chunks
        self._parts: OrderedDict[bytes, Part] = OrderedDict()

    def take(self, chunk_id: bytes) -> Part | None:
        """None for a chunk that was not tried before."""
        return self._parts.pop(chunk_id, None)

    def keep(self, chunk_id: bytes, part: Part) -> None:
        self._parts[chunk_id] = part
        if len(self._parts) > self._chunks:
            self._parts.popitem(last=False)


def rejection(chunk: Chunk, refused: Sequence[int], by: object, reason: str) -> Rejected:
    """That some records of a chunk, by their numbers, were refused for good."""
    said = f"{by} refused {len(refused)} of {chunk.records} records: {reason}"
    if len(refused) == chunk.records:
        return Rejected(said)
    wanted = set(refused)
    entries = b"".join(raw for number, raw in enumerate(spans(chunk.entries)) if number in wanted)
    return Rejected(said, entries, len(refused))

"""Chunks of which a receiver has a part: what is still to be sent, and what it refused for good."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from collector.delivery.chunk import Chunk, chunk_id
from collector.entries import spans
from collector.plugin import Rejected

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


class TooLarge(Rejected):
    """The receiver takes no request of this size: it may take smaller ones."""


async def in_halves(deliver: Callable[[Chunk], Awaitable[None]], chunk: Chunk) -> None:
    """Delivers a chunk whole, or where it is too large by halves, down to single records.

    Raises what `deliver` raises; Rejected with the records concerned where others were taken.
    """
    try:
        await deliver(chunk)
        return
    except TooLarge:
        if chunk.records < 2:
            raise
    reason, entries, records = "", b"", 0
    for half in _halves(chunk):
        try:
            await in_halves(deliver, half)
        except Rejected as refused:
            reason = reason or str(refused)
            records += refused.records or half.records
            entries += refused.entries if refused.records else half.entries
    if records == chunk.records:
        raise Rejected(reason)
    if records:
        raise Rejected(reason, entries, records)


def _halves(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """With ids of their own, the same each time."""
    entries, middle = bytes(chunk.entries), chunk.records // 2
    begin = sum(map(len, itertools.islice(spans(entries), middle)))
    first, second = entries[:begin], entries[begin:]
    return (
        replace(chunk, id=chunk_id(chunk.id, "first"), entries=first, records=middle),
        replace(chunk, id=chunk_id(chunk.id, "second"), entries=second, records=chunk.records - middle),
    )


def rejection(chunk: Chunk, refused: Sequence[int], by: object, reason: str) -> Rejected:
    """That some records of a chunk, by their numbers, were refused for good."""
    said = f"{by} refused {len(refused)} of {chunk.records} records: {reason}"
    if len(refused) == chunk.records:
        return Rejected(said)
    wanted = set(refused)
    entries = b"".join(raw for number, raw in enumerate(spans(chunk.entries)) if number in wanted)
    return Rejected(said, entries, len(refused))

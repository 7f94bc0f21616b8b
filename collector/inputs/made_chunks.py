"""Chunks of what the filters leave of a portion: of its own tag and of others, one step of its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from collector.delivery.chunk import Chunk, Packed, Position, Stretch, chunk_id
from collector.filters.chain import Tagged

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.identity.identity import Identity


def filtered(
    context: InputContext, tag: str, entries: Packed, identity: Identity | None = None
) -> list[Tagged]:
    """What the filters leave of entries of a tag, and what they made of other tags; nothing is left out."""
    _, rest = context.chain.record_plan(tag)
    return [part for part in context.chain.apply(rest, tag, entries, identity) if part.records]


def chunks(
    source: str,
    parts: Sequence[Tagged],
    *ident: Sequence[bytes | str | int],
    before: Position | None = None,
    after: Position | None = None,
    raw_bytes: int = 0,
    vanishing: Callable[[], bool] | None = None,
    gone: Callable[[], bool] | None = None,
    stretch: Stretch | None = None,
) -> list[Chunk]:
    """`ident` tells these records from all others. Positions move to `after` when the last chunk is
    delivered, and all before it: the others carry `before`, so that together they are one step."""
    place = [one for many in ident for one in many]
    created_ns = time.monotonic_ns()
    return [
        Chunk(
            id=chunk_id(*place, number, part.tag) if number else chunk_id(*place),
            tag=part.tag,
            entries=part.entries,
            records=part.records,
            source=source,
            created_ns=created_ns,
            position=after if number == len(parts) - 1 else before,
            raw_bytes=raw_bytes if number == len(parts) - 1 else 0,
            vanishing=vanishing,
            gone=gone,
            stretch=stretch,
        )
        for number, part in enumerate(parts)
    ]

"""What the spool is given and gives back, and the columns that it is kept in."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from collector.delivery.chunk import Chunk, FileKey, Position, Worth

# What a row costs on disk beside its entries: columns, three places in indexes.
ROW_BYTES = 256

# A spool of a gigabyte may have a million rows: they are not to be in memory together.
ROWS_AT_ONCE = 20_000

# Columns of a Dropped, from `waiting w` and `chunks c`.
SUBJECT = (
    "w.output, w.seq, w.size_bytes, "
    "c.tag, c.source, c.records, c.created_ns, c.raw_bytes, c.path, c.to_offset"
)


class Addition(NamedTuple):
    """A chunk to be kept for `outputs`, and how far the files that it came from are safe with it.

    `must`: even beyond their bounds, as an output is just sending it and may have delivered it.
    """

    chunk: Chunk
    outputs: tuple[str, ...]
    positions: tuple[tuple[str, Position], ...] = ()  # source, position
    must: bool = False


class Place(NamedTuple):
    """An output's bound. Rows may be dropped for newer ones, all but `kept`, which it is just sending."""

    limit_bytes: int
    kept: Collection[int] = ()

    def keeping(self, seq: int) -> Place:
        return Place(self.limit_bytes, {*self.kept, seq})


class Stored(NamedTuple):
    seq: int
    chunk: Chunk
    size_bytes: int


class Found(NamedTuple):
    """Rows of an output up to `after`: those that are whole, and those that are not."""

    stored: list[Stored]
    damaged: list[Dropped]
    after: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that was given up for an output; `seq` 0: it was never written."""

    output: str
    seq: int
    size_bytes: int  # as it counted
    tag: str
    source: str
    records: int
    created_ns: int  # wall clock
    raw_bytes: int
    path: str
    to_offset: int


class Kept(NamedTuple):
    """The row of an addition (0: there is none) and the outputs that had room for it."""

    seq: int
    outputs: tuple[str, ...]


class Written(NamedTuple):
    """Of the additions, in their order; and what had to go for them, they themselves included."""

    kept: tuple[Kept, ...]
    dropped: tuple[Dropped, ...]


class Content(NamedTuple):
    output: str
    tag: str
    source: str
    chunks: int
    records: int
    size_bytes: int


def wall_clock_ns(chunk: Chunk) -> int:
    """When a chunk was read, by the wall clock of now."""
    return time.time_ns() - (time.monotonic_ns() - chunk.created_ns)


def refused(chunk: Chunk, output: str, size_bytes: int) -> Dropped:
    path, to_offset = (chunk.position.path, chunk.position.offset) if chunk.position else ("", -1)
    what = (chunk.tag, chunk.source, chunk.records, wall_clock_ns(chunk), chunk.raw_bytes)
    return Dropped(output, 0, size_bytes, *what, path, to_offset)


def dropped_of(row: Sequence[Any]) -> Dropped:
    output, seq, size_bytes, tag, source, records, created_ns, raw_bytes, path, to_offset = row
    what = (tag_of(tag), source, records, created_ns, raw_bytes)
    return Dropped(output, seq, size_bytes, *what, os.fsdecode(path), to_offset)


def chunk_of(subject: Dropped, ident: bytes, worth: int, entries: bytes) -> Chunk:
    age_ns = time.time_ns() - subject.created_ns
    of_file = subject.to_offset >= 0
    return Chunk(
        id=ident,
        tag=subject.tag,
        entries=entries,
        records=subject.records,
        source=subject.source,
        created_ns=time.monotonic_ns() - age_ns,
        # Only for telling a loss: the spool is where it can be read again.
        position=Position(FileKey(0, 0), subject.path, subject.to_offset) if of_file else None,
        raw_bytes=subject.raw_bytes,
        worth=Worth(worth),
    )


def packed_tag(tag: str) -> bytes:
    return tag.encode(errors="surrogateescape")


def tag_of(tag: bytes) -> str:
    return tag.decode(errors="surrogateescape")

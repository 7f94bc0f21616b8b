"""Losses told in-band: the receiver learns of every gap, by cause, in records of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgpack

from collector.delivery.chunk import Chunk, chunk_id
from collector.delivery.spool_rows import ROW_BYTES, Dropped, wall_clock_ns
from collector.entries import pack_entry

LOSS_TAG = "podwitness.loss"

# A row for each cause, output and stream; a node has far fewer streams that lose at the same time. What
# comes beyond is added to one row for all other streams, so that memory stays bounded and sums stay right.
MAX_ROWS = 256
MAX_TEXT_BYTES = 256 << 10  # names and paths of all rows
OTHER_STREAMS = "*"


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that will not reach an output. Offsets are of the file at `path`, -1 where there is none."""

    cause: str
    records: int
    size_bytes: int
    stream: str  # the tag
    output: str = ""
    source: str = ""
    path: str = ""
    from_offset: int = -1
    to_offset: int = -1
    since_ns: int = 0  # wall clock: when the oldest of them was read
    until_ns: int = 0

    def plus(self, other: Loss) -> Loss:
        """Both as one; the range of offsets holds only when they are of the same file."""
        same_file = self.path == other.path and min(self.from_offset, other.from_offset) >= 0
        return replace(
            self,
            records=self.records + other.records,
            size_bytes=self.size_bytes + other.size_bytes,
            path=self.path if same_file else "",
            from_offset=min(self.from_offset, other.from_offset) if same_file else -1,
            to_offset=max(self.to_offset, other.to_offset) if same_file else -1,
            since_ns=min(self.since_ns, other.since_ns),
            until_ns=max(self.until_ns, other.until_ns),
        )


def chunk_loss(chunk: Chunk, cause: str, output: str) -> Loss:
    """All of a chunk, for one output or ("") for every one."""
    created_ns = wall_clock_ns(chunk)
    file = chunk.position if chunk.raw_bytes else None
    return Loss(
        cause=cause,
        records=chunk.records,
        size_bytes=len(chunk.entries),
        stream=chunk.tag,
        output=output,
        source=chunk.source,
        path=file.path if file else "",
        from_offset=file.offset - chunk.raw_bytes if file else -1,
        to_offset=file.offset if file else -1,
        since_ns=created_ns,
        until_ns=created_ns,
    )


def row_loss(row: Dropped, cause: str) -> Loss:
    """A row of the spool that was given up."""
    of_file = row.raw_bytes > 0 and row.to_offset >= 0
    return Loss(
        cause=cause,
        records=row.records,
        size_bytes=row.size_bytes - ROW_BYTES,
        stream=row.tag,
        output=row.output,
        source=row.source,
        path=row.path if of_file else "",
        from_offset=row.to_offset - row.raw_bytes if of_file else -1,
        to_offset=row.to_offset if of_file else -1,
        since_ns=row.created_ns,
        until_ns=row.created_ns,
    )


class Losses:
    """Losses not yet told, one row for each cause, output and stream."""

    def __init__(
        self, rows: Iterable[Loss] = (), max_rows: int = MAX_ROWS, max_text_bytes: int = MAX_TEXT_BYTES
    ) -> None:
        self._max_rows = max_rows
        self._max_text_bytes = max_text_bytes
        self._rows: dict[tuple[str, str, str], Loss] = {}
        self._text_bytes = 0
        for loss in rows:
            self.add(loss)

    def add(self, loss: Loss) -> None:
        key = (loss.cause, loss.output, loss.stream)
        text_bytes = self._text_bytes + _text_bytes(loss)
        is_full = len(self._rows) >= self._max_rows or text_bytes > self._max_text_bytes
        if key not in self._rows and is_full:
            loss = replace(loss, stream=OTHER_STREAMS, source="", path="", from_offset=-1, to_offset=-1)
            key = (loss.cause, loss.output, OTHER_STREAMS)
        present = self._rows.get(key)
        row = self._rows[key] = present.plus(loss) if present else loss
        self._text_bytes += _text_bytes(row) - (_text_bytes(present) if present else 0)

    def take(self) -> tuple[Loss, ...]:
        """All rows; the caller adds them again when they could not be told."""
        rows, self._rows, self._text_bytes = self.rows(), {}, 0
        return rows

    def rows(self) -> tuple[Loss, ...]:
        return tuple(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)


def _text_bytes(loss: Loss) -> int:
    return len(loss.stream) + len(loss.source) + len(loss.path)


@dataclass(frozen=True, slots=True)
class Batch:
    """Losses that are told together until an output has them: each time it is the same chunk."""

    rows: tuple[Loss, ...]
    time_ns: int  # wall clock, of the records

    def id(self, *whose: str) -> bytes:
        """The same after a restart, so that a receiver knows what it has."""
        return chunk_id(LOSS_TAG, *whose, _packed(self.rows))


NOTHING = Batch((), 0)


@dataclass(frozen=True, slots=True)
class Untold:
    """What an output has not acknowledged: a batch that it may have all the same, and what was never sent."""

    batch: Batch = NOTHING
    waiting: tuple[Loss, ...] = ()

    @property
    def rows(self) -> tuple[Loss, ...]:
        return self.batch.rows + self.waiting

    def plus(self, losses: Iterable[Loss]) -> Untold:
        return replace(self, waiting=Losses((*self.waiting, *losses)).rows())

    def packed(self) -> bytes:
        """As they are kept."""
        return bytes(msgpack.packb((self.batch.time_ns, _packed(self.batch.rows), _packed(self.waiting))))


def _packed(rows: Iterable[Loss]) -> bytes:
    return bytes(msgpack.packb([astuple(row) for row in rows], unicode_errors="surrogateescape"))


def unpacked(kept: bytes) -> Untold:
    """Nothing for what `packed` did not make."""
    try:
        time_ns, batch, waiting = msgpack.unpackb(kept)
        return Untold(Batch(_unpacked(batch), time_ns), _unpacked(waiting))
    except (ValueError, TypeError):
        return Untold()


def _unpacked(rows: bytes) -> tuple[Loss, ...]:
    return tuple(Loss(*row) for row in msgpack.unpackb(rows, unicode_errors="surrogateescape"))


def entry(loss: Loss, node: str, now_ns: int) -> bytes:
    """The loss as `[EventTime, record]` in msgpack."""
    return pack_entry(now_ns, list(_record(loss, node).items()))


def _record(loss: Loss, node: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "cause": loss.cause,
        "records": loss.records,
        "bytes": loss.size_bytes,
        "stream": loss.stream,
        "output": loss.output,
        "source": loss.source,
    }
    if loss.path:
        row |= {"path": loss.path, "from": loss.from_offset, "to": loss.to_offset}
    return {
        "event": {
            "kind": "pipeline_error",
            "action": "loss",
            "start": _timestamp(loss.since_ns),
            "end": _timestamp(loss.until_ns),
        },
        "host": {"name": node},
        "podwitness": {"loss": row},
    }


def _timestamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")

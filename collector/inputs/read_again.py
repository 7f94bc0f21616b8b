"""Reads a file in the stretches that were under way when the run before ended: they keep their ids."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from collector.delivery.chunk import Stretch
from collector.inputs.portion import Portion
from collector.native.files import read
from collector.native.logs import LogBatch, LogStream, joined


class Following(Protocol):
    """What of a FollowedFile is used here."""

    log: LogStream
    offset: int
    again: list[Stretch]

    @property
    def fd(self) -> int: ...

    def move_behind(self, batch: LogBatch) -> None: ...

    def portion(
        self, batch: LogBatch, start: int, now_ns: int, *, at_end: bool, is_last: bool = False
    ) -> Portion: ...

    def close_records_begun(self, began: tuple[int, ...]) -> Portion: ...

    def drop_stretches(self) -> None: ...


def read_again(file: Following, now_ns: int) -> Portion | None:
    """The next of the file's stretches, or a portion of what is before it, which made no chunk then.

    None: there is nothing of the kind. Where the file does not give what it gave, its stretches are dropped.
    """
    stretch = file.again[0]
    if file.offset < stretch.start:
        return _before(file, stretch, now_ns)
    if file.offset > stretch.start:
        file.drop_stretches()
        return None
    portion = _portion(file, stretch)
    if file.offset != stretch.end:
        file.drop_stretches()
        return portion
    del file.again[0]
    return portion._replace(again=stretch, began=stretch.began)


def _before(file: Following, stretch: Stretch, now_ns: int) -> Portion | None:
    """Lines of open records, or what filters left nothing of."""
    start = file.offset
    batch = read(file.log, file.fd, start, now_ns, until=stretch.start).batch
    file.move_behind(batch)
    if not batch.consumed:
        file.drop_stretches()
        return None
    return file.portion(batch, start, now_ns, at_end=False)


def _portion(file: Following, stretch: Stretch) -> Portion:
    if stretch.began:
        return file.close_records_begun(stretch.began)._replace(at_end=False)
    batches = list(_batches(file, stretch))
    batch = batches[0] if len(batches) == 1 else joined(batches)
    return file.portion(batch, stretch.start, stretch.now_ns, at_end=False, is_last=stretch.ended)


def _batches(file: Following, stretch: Stretch) -> Iterator[LogBatch]:
    """At least one. More where filters let an entry become longer than it was, or a line has no end."""
    now_ns, end = stretch.now_ns, stretch.end
    while file.offset < end:
        batch = read(file.log, file.fd, file.offset, now_ns, until=end).batch
        file.move_behind(batch)
        yield batch
        if not batch.consumed:
            break
    if stretch.ended:
        rest = os.pread(file.fd, end - file.offset, file.offset)
        batch = file.log.encode(rest, file.offset, now_ns, end=True)
        file.move_behind(batch)
        yield batch

"""Portions of files on their way to the outputs: filtered, counted, and each log's in their order.

Room is asked for before a file is read, but what its bytes become is only known
then: a portion may be larger than the room there was, and filters may have made
records of a tag that goes to another output. What finds no room waits in the queue
of its log, which is not read meanwhile; all others go on. At WAITING_BYTES those
wait too whose filters could add to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from collector.delivery.admission import size_of
from collector.delivery.chunk import PORTION_BYTES, Chunk, FileKey, Position
from collector.filters.chain import Tagged
from collector.inputs.follow import FollowedFile
from collector.inputs.gone import is_gone
from collector.inputs.made_chunks import chunks
from collector.inputs.portion import Portion
from collector.inputs.succession import Succession
from collector.inputs.tail_parser import Step

if TYPE_CHECKING:
    from collector.context import InputContext


# Of all logs together: what is beyond the room of the outputs, as long as one takes nothing of what filters
# send to it.
WAITING_BYTES = 4 * PORTION_BYTES


class Portions:
    """Hands portions over. `free` is told the place of a log whose portions have all found room, `lose` what
    is read of files that are given up.

    Who waits does so in one of `tasks`.
    """

    def __init__(
        self,
        context: InputContext,
        step: Step | None,
        free: Callable[[str], None],
        lose: Callable[[FollowedFile, str, Portion], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._context = context
        self._step = step
        self._free, self._lose = free, lose
        self._group = tasks
        # By place: a log that is forgotten meanwhile and comes again goes behind what waits.
        self._waiting: dict[str, deque[Chunk]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.waiting_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing is to be read that may go elsewhere than its log's tag."""
        return self.waiting_bytes >= WAITING_BYTES

    def submit(self, succession: Succession, file: FollowedFile, portion: Portion, key: FileKey) -> None:
        """Hands a portion over, or lets it wait behind what waits of its log."""
        if file.is_given_up:
            self._lose(file, succession.tag, portion)
            return
        portion.count_into(self._context.metrics, self._context.name)
        parts = self._filtered(succession, portion)
        if not parts:
            return
        before = file.handed_over or file.resumed or Position(key, succession.path, portion.from_offset)
        file.handed_over = Position(key, succession.path, portion.to_offset, file.take_partials())
        source = self._context.name
        stretch = file.stretch_of(portion, source, key, before.offset, is_divided=len(parts) > 1)
        place = (portion.from_offset, portion.to_offset, *portion.began)
        whence = (source, *file.inode, key.fingerprint, file.truncations)
        for chunk in chunks(
            source,
            parts,
            *([(stretch.id,)] if stretch else [whence, place]),
            before=before,
            after=file.handed_over,
            raw_bytes=portion.to_offset - portion.from_offset,
            vanishing=file.vanishing,
            gone=partial(is_gone, file.vanishing, key),
            stretch=stretch,
        ):
            if succession.place in self._waiting or not self._context.intake.offer(chunk):
                self._wait(succession.place, chunk)

    def is_waiting(self, succession: Succession) -> bool:
        """Whether something of the log has not found room: then none of its files is to be read."""
        return succession.place in self._waiting

    async def until_room(self, succession: Succession) -> None:
        """Until all that was read of a log has found room."""
        if succession.place in self._tasks:
            await asyncio.shield(self._tasks[succession.place])

    async def finish(self) -> None:
        """Until all has found room, or the router takes nothing any more."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values())

    def close(self) -> None:
        """What waits is given up: it can be read again, or it is lost with its file."""
        for task in self._tasks.values():
            task.cancel()

    def _wait(self, place: str, chunk: Chunk) -> None:
        self.waiting_bytes += size_of(chunk)
        self._waiting.setdefault(place, deque()).append(chunk)
        if place not in self._tasks:
            name = f"{place} waits for room"
            self._tasks[place] = self._group.create_task(self._hand_over(place), name=name)

    async def _hand_over(self, place: str) -> None:
        waiting = self._waiting[place]
        try:
            while waiting:
                await self._context.intake.submit(waiting[0])
                self.waiting_bytes -= size_of(waiting.popleft())
        finally:
            self.waiting_bytes -= sum(map(size_of, waiting))
            del self._waiting[place], self._tasks[place]
        self._free(place)

    def _filtered(self, succession: Succession, portion: Portion) -> list[Tagged]:
        entries = portion.entries
        if self._step is not None and portion.records:
            entries, unparsed = self._step.apply(bytes(entries))
            self._context.metrics.add("podwitness_tail_unparsed_lines_total", self._context.name, by=unparsed)
        parts = [Tagged(succession.tag, entries, portion.records)]
        if portion.records and succession.rest:
            parts = self._context.chain.apply(succession.rest, succession.tag, entries, succession.identity)
        return [part for part in parts if part.records]

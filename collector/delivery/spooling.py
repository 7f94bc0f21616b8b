"""The spool at work: what is staged is written, what an output has room for is read back.

One coroutine does both in turns, in a thread of its own, so that nothing of what
the outputs do waits for the disk. Where the disk refuses (full, read-only), what
is staged stays in memory within its bound and is tried again; what finds no room
then is held back or shed by those who bring it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from collector.delivery.chunk import Chunk
from collector.delivery.lanes import Parcel, Ticket
from collector.delivery.losses import row_loss
from collector.delivery.order import PositionOrder
from collector.delivery.outlet import Outlet
from collector.delivery.roster import Roster
from collector.delivery.salvage import lost_rows, lost_unseen, salvage
from collector.delivery.spool import Spool, SpoolDamaged
from collector.delivery.spool_gauges import set_gauges
from collector.delivery.spool_rows import ROW_BYTES, Addition, Dropped, Found, Kept, Place, Stored, Written
from collector.delivery.spool_thread import SpoolThread
from collector.delivery.staging import Row, Staging, Unit
from collector.delivery.telling import Telling
from collector.service.metrics import Metrics

# Rows are fewer and larger when what comes within this time is written together; it is also how much of
# the events that find no room a crash can take.
LINGER_S = 0.2
LINGER_BYTES = 256 << 10
DONE_ROWS = 64

# An output that works and is just catching up has what is in memory before it comes to disk.
PATIENCE_S = 1.0

# A disk that is full stays so for a while.
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what was read back and is not delivered, of all outputs together."""

    backlog_bytes: int = 5_000_000
    chunks_up: int = 128


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the router does.

    `held`: a ticket's row is lost, it is in memory only. `settled`: so many outputs of
    a ticket have it, or a row of it. `returned`: goes to an output again. `released`: an
    output is through with it. `freed`: who waits for room may have it now.
    """

    held: Callable[[Ticket], None]
    settled: Callable[[Ticket, int], None]
    returned: Callable[[Outlet, Ticket], None]
    released: Callable[[Outlet, Parcel], None]
    freed: Callable[[], None]


class Spooling:
    """`run` has to be running for anything to be written. `mark` stands for all that was written so far."""

    def __init__(
        self,
        spool: Spool,
        roster: Roster,
        order: PositionOrder,
        callbacks: Callbacks,
        telling: Telling,
        *,
        bounds: Bounds,
        metrics: Metrics,
        log: logging.Logger,
    ) -> None:
        self._spool = spool
        self._roster = roster
        self._order = order
        self._callbacks = callbacks
        self._telling = telling
        self._bounds = bounds
        self._metrics = metrics
        self._log = log
        self._thread = SpoolThread(spool.path, self._lose_all, metrics=metrics, log=log)
        self._staging = Staging()
        self._done: list[tuple[str, int]] = []
        self._work = asyncio.Event()
        self._is_much = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._chunks_up = 0
        self._is_failing = False
        self._is_ending = False
        self._may_shrink = True
        self._spools = 1  # each that was damaged is followed by another
        self.mark = spool.last_seq
        if spool.damaged is not None:
            telling.report(lost_unseen(str(spool.damaged)))
        try:
            self._take_over(spool, telling)
        except SpoolDamaged as reason:
            log.error("%s: chunks that waited there are not sent", reason)
            telling.report(lost_unseen(str(reason.aside)))
            self._take_over(spool, telling)

    def _take_over(self, spool: Spool, telling: Telling) -> None:
        """What the process before this one left. Raises SpoolDamaged; then there is an empty one."""
        telling.restore(spool.losses())
        matches = {name: outlet.route.matches for name, outlet in self._outlets.items()}
        for loss in spool.adopt(matches, telling.untold()):
            telling.report(loss)
        # A bound may have been larger, and an heir gets what others had. On a full disk it is done later.
        with contextlib.suppress(sqlite3.OperationalError):
            while dropped := spool.write((), places=self._places(), untold=telling.untold()).dropped:
                for row in dropped:
                    telling.report(row_loss(row, "storage_limit"))
        self._kept_version = telling.version
        for found in spool.contents():
            self._outlets[found.output].shelf.put(*found[1:])

    @property
    def _outlets(self) -> dict[str, Outlet]:
        """Rows of one that was removed are delivered by one that has its name."""
        return {outlet.name: outlet for outlet in self._roster.all}

    # What the router asks

    def has_room(self, size_bytes: int) -> bool:
        return not self._is_ending and self._staging.has_room(size_bytes)

    def stage(self, ticket: Ticket, outlets: Sequence[Outlet]) -> None:
        """The chunk goes to the spool for these outputs, behind all of its tag that they have in memory."""
        for outlet in outlets:
            self.secure(outlet, ticket.chunk.tag)
        self._staging.add(ticket, outlets)
        self._wake()

    def secure(self, outlet: Outlet, tag: str) -> None:
        """What an output has of a tag in memory gets rows; what it has not tried yet leaves memory."""
        parcel = outlet.lanes.current(tag)
        if parcel is not None:
            self._staging.add_parcel(outlet, parcel)
        for ticket in outlet.lanes.withdraw_unspooled(tag):
            outlet.size_bytes -= ticket.size_bytes
            self._staging.add(ticket, (outlet,))
        self._wake()

    def secure_failing(self, outlets: Sequence[Outlet], tag: str, before_s: float) -> None:
        """What outputs that fail have of a tag, where it holds up others of these, which don't.

        A receiver that takes all and says nothing fails only after net.io_timeout: where another output
        works, what it has had since `before_s` counts as failed.
        """
        late = [outlet for outlet in outlets if outlet.fails_since(before_s)]
        failing = late if len(late) < len(outlets) else [outlet for outlet in outlets if outlet.complaint]
        if len(failing) < len(outlets) and self.has_room(0):
            for outlet in failing:
                self.secure(outlet, tag)

    def staged(self) -> tuple[Unit, ...]:
        """What is on its way to disk."""
        return self._staging.units()

    def overdue_tags(self, before_s: float) -> set[str]:
        """Tags of what has been waiting to be written since then, for an output that delivers nothing."""
        return {unit.chunk.tag for unit in self._staging.units() if unit.since_s <= before_s}

    def finished(self, outlet: Outlet, parcel: Parcel) -> bool:
        """An output is through with a parcel. False: its tickets are settled by its row, now or soon."""
        seq = parcel.spooled_seq
        if outlet.shelf.behind:
            self._has_room.set()
        if not seq:
            return not self._staging.void(parcel)
        was_read_back = bool(parcel.tickets[0].seq)
        if was_read_back:
            self._leaves_memory(outlet, parcel.chunk)
        self._forget_row(outlet, seq)
        return was_read_back

    def _leaves_memory(self, outlet: Outlet, chunk: Chunk) -> None:
        outlet.shelf.up_bytes -= len(chunk.entries)
        self._chunks_up -= 1

    def unstage(self, outlet: Outlet, tag: str) -> list[Ticket]:
        """What need not go to disk any more: the output works, and has all that was there before it."""
        shelf = outlet.shelf
        is_next = shelf.staged[tag] and tag not in shelf.behind and not outlet.lanes.has(tag)
        if outlet.complaint or not is_next:
            return []
        return self._staging.take_back(outlet, tag, outlet.usable_bytes(True) - outlet.size_bytes)

    def shed(self, chunk: Chunk, size_bytes: int) -> list[tuple[Ticket, tuple[Outlet, ...]]]:
        """Makes room for a chunk; gives what was given up for it, and for which outputs."""
        units = self._staging.shed(chunk.worth, size_bytes)
        for unit in units:
            unit.withdraw()
        return [(unit.tickets[0], unit.outlets) for unit in units]

    def _forget_row(self, outlet: Outlet, seq: int) -> None:
        self._done.append((outlet.route.name, seq))
        self._wake()

    def _wake(self) -> None:
        self._work.set()
        if self._staging.size_bytes >= LINGER_BYTES or len(self._done) >= DONE_ROWS:
            self._is_much.set()

    # The work

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_regularly(), name="write to the spool")
            tasks.create_task(self._read_regularly(), name="read the spool")

    def look(self) -> None:
        """Keeps losses that were not told; drops what is beyond a bound that is smaller or was passed."""
        if self._full(()) or self._has_news():
            self._wake()

    def room_bytes(self, outlet: Outlet) -> int:
        """How much more rows may have before some are dropped."""
        return outlet.route.spool_limit_bytes - self._spool.used_bytes[outlet.route.name]

    async def finish(self) -> None:
        """Writes what is staged, then takes nothing any more."""
        await self.flush()
        self._is_ending = True

    async def flush(self) -> None:
        """Writes what is staged: what waits for something else of its file goes after that."""
        while await self._write(0.0):
            pass

    async def forget_positions(self, mark: int) -> None:
        """The positions of what was written up to `mark` are in their own databases."""
        if not self._is_ending:
            async with self._thread.using:
                await self._thread.call(lambda: self._spool.forget_positions(mark))

    async def keep_losses(self) -> None:
        """Returns when all losses so far are on disk, or told, as far as the disk takes them."""
        if self._has_news() and not self._is_ending:
            await self._write()

    def _has_news(self) -> bool:
        if self._kept_version == self._telling.version:
            return False
        if self._spool.has_losses(self._telling.untold()):
            self._kept_version = self._telling.version
            return False
        return True

    async def close(self) -> None:
        """Notes what was delivered last, and what is still to be told."""
        async with self._thread.using:
            untold = self._telling.untold()
            await self._thread.call(lambda: self._spool.write((), done=self._done, places={}, untold=untold))
            await self._thread.end(self._spool.close)

    async def _write_regularly(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._is_much.wait()
            await self._write()
            self._is_much.clear()
            if self._is_failing:
                await asyncio.sleep(RETRY_S)
            elif self._may_shrink and not any(self._spool.used_bytes.values()):
                await self._shrink()
            if self._staging.units() or self._done:
                self._work.set()

    async def _shrink(self) -> None:
        """Gives the room of an empty spool back, as long as it is."""
        async with self._thread.using:
            self._may_shrink = bool(await self._thread.call(self._spool.shrink))
        if self._may_shrink:
            self._work.set()

    async def _write(self, patience_s: float = PATIENCE_S) -> bool:
        """Whether chunks were written, or there is a new spool for them."""
        async with self._thread.using:
            spools = self._spools
            rows = self._staging.writable(self._order, time.monotonic() - patience_s)
            done, self._done = self._done, []
            added = [row.addition() for row in rows]
            full = self._full(added)
            if not rows and not done and not full and not self._has_news():
                return False
            places, untold, version = self._places(), self._telling.untold(), self._telling.version
            with contextlib.ExitStack() as paused:
                for outlet in full:
                    paused.enter_context(outlet.pausing())
                written = await self._thread.call(
                    lambda: self._spool.write(added, done=done, places=places, untold=untold)
                )
                if written is not None:
                    self._kept_version = version
                    self._removed(done)
                    self._take_note(rows, written)
                    return bool(rows)
            for unit in self._staging.failed(rows):
                self._settle(unit)
            self._is_failing = True
            # Removing takes hardly any room, and makes some.
            first, self._done = done[:DONE_ROWS], done[DONE_ROWS:] + self._done
            removed = await self._thread.call(
                lambda: self._spool.write((), done=first, places={}, untold=untold)
            )
            if removed is None:
                self._done = first + self._done
            else:
                self._removed(first)
            return self._spools != spools

    def _places(self) -> dict[str, Place]:
        return {
            name: Place(outlet.route.spool_limit_bytes, frozenset(outlet.lanes.sending_rows()))
            for name, outlet in self._outlets.items()
        }

    def _full(self, added: Sequence[Addition]) -> list[Outlet]:
        """Outputs that something may have to be dropped for."""
        used = Counter(self._spool.used_bytes)
        for addition in added:
            used.update(dict.fromkeys(addition.outputs, len(addition.chunk.entries) + ROW_BYTES))
        return [
            outlet for name, outlet in self._outlets.items() if used[name] > outlet.route.spool_limit_bytes
        ]

    def _removed(self, rows: Iterable[tuple[str, int]]) -> None:
        """Until now they would have been read back like any other."""
        outlets = self._outlets
        for name, seq in rows:
            if name in outlets:  # one that a reload removed leaves with its last row
                outlets[name].shelf.up.discard(seq)

    def _take_note(self, rows: Sequence[Row], written: Written) -> None:
        self._staging.written(rows)
        for row, kept in zip(rows, written.kept, strict=True):
            self._shelve(row, kept)
        for dropped in written.dropped:
            self._telling.report(row_loss(dropped, "storage_limit"))
            if dropped.seq:
                self._give_up(self._outlets[dropped.output], dropped)
        self.mark = self._spool.last_seq
        self._is_failing = False
        self._may_shrink = True
        for row in rows:
            for unit in row.units:
                if unit.parcel and not unit.parcel.seq:
                    unit.withdraw()
                    self._withdraw(unit.outlets[0], unit.parcel)
                else:
                    self._settle(unit)
        self._note_changes()
        self._has_room.set()
        self._callbacks.freed()

    def _note_changes(self) -> None:
        """One that a reload removed may have nothing any more."""
        for outlet in self._roster.all:
            outlet.note_change()

    def _give_up(self, outlet: Outlet, dropped: Dropped) -> None:
        """A row was dropped: what it stands for leaves memory, too, if it is there."""
        seq, tag, shelf = dropped.seq, dropped.tag, outlet.shelf
        current, waiting = outlet.lanes.current(tag), outlet.lanes.waiting_row(tag, seq)
        if waiting is not None:
            outlet.lanes.withdraw({waiting})
            self._leaves_memory(outlet, waiting.chunk)
            self._callbacks.settled(waiting, 1)
        elif current is not None and current.spooled_seq == seq:
            self._withdraw(outlet, current)
        else:
            shelf.take(tag, dropped.source, dropped.records, dropped.size_bytes)

    def _withdraw(self, outlet: Outlet, parcel: Parcel) -> None:
        outlet.withdraw(parcel)
        self._callbacks.released(outlet, parcel)

    def _shelve(self, row: Row, kept: Kept) -> None:
        """What was written is behind; what an output is trying to send is with it."""
        parcel, chunk = row.units[0].parcel, row.chunk
        for name in kept.outputs:
            outlet = self._outlets[name]
            if parcel is None:
                size_bytes = len(chunk.entries) + ROW_BYTES
                outlet.shelf.put(chunk.tag, chunk.source, 1, chunk.records, size_bytes)
            else:
                parcel.seq = kept.seq
                outlet.shelf.up.add(kept.seq)
                if row.units[0].is_void:
                    self._forget_row(outlet, kept.seq)
        self._metrics.add("podwitness_spool_written_bytes_total", by=len(chunk.entries))

    def _settle(self, unit: Unit) -> None:
        unit.withdraw()
        for ticket in unit.tickets:
            self._callbacks.settled(ticket, len(unit.outlets))

    async def _read_regularly(self) -> None:
        while True:
            await self._has_room.wait()
            self._has_room.clear()
            for outlet in self._roster.all:
                while await self._read_back(outlet):
                    pass

    async def _read_back(self, outlet: Outlet) -> bool:
        """Whether there may be more that an output has room for."""
        shelf = outlet.shelf
        if not shelf.behind or self._is_ending:
            return False
        room_bytes = self._bounds.backlog_bytes // len(self._roster.all) - shelf.up_bytes
        room_chunks = self._bounds.chunks_up - self._chunks_up
        # Once some of it is delivered, so that rows are not read one by one.
        is_worth_it = room_bytes > shelf.up_bytes and room_chunks > 0
        # One that fails has enough with what it tries.
        is_busy = (shelf.up_bytes and not is_worth_it) or (outlet.complaint and outlet.lanes.has_any)
        if is_busy:
            return False
        async with self._thread.using:
            found = await self._thread.call(
                lambda: self._spool.read(
                    outlet.route.name,
                    after=shelf.after,
                    skip=shelf.up,
                    max_bytes=room_bytes,
                    max_chunks=max(1, room_chunks),
                )
            )
            if found is not None:
                self._take_back(outlet, found)
        if found is None:
            await asyncio.sleep(RETRY_S)
        return bool(shelf.behind)

    def _take_back(self, outlet: Outlet, found: Found) -> None:
        for stored in found.stored:
            self._return(outlet, stored)
        for row in found.damaged:
            outlet.shelf.take(row.tag, row.source, row.records, row.size_bytes)
            self._telling.report(row_loss(row, "spool_damaged"))
            self._forget_row(outlet, row.seq)
        outlet.shelf.after = found.after
        outlet.note_change()

    def _return(self, outlet: Outlet, stored: Stored) -> None:
        chunk = stored.chunk
        outlet.shelf.take(chunk.tag, chunk.source, chunk.records, stored.size_bytes)
        outlet.shelf.up_bytes += len(chunk.entries)
        self._chunks_up += 1
        self._metrics.add("podwitness_spool_read_bytes_total", by=len(chunk.entries))
        self._callbacks.returned(outlet, Ticket(chunk, len(chunk.entries), 1, seq=stored.seq))

    def _lose_all(self, reason: SpoolDamaged) -> None:
        self._log.error("%s: chunks that waited there are not sent", reason)
        self._spools += 1
        self._kept_version = -1  # what was kept of losses went with it
        self._staging.unwritten()
        for outlet in self._roster.all:
            for loss in lost_rows(outlet):
                self._telling.report(loss)
            outlet.shelf.after = self._spool.last_seq
            salvage(outlet, self._staging, self._leaves_memory, self._callbacks.held)
        self._note_changes()
        self._wake()

    # What can be seen

    async def set_gauges(self) -> None:
        """Brings its gauges up to date; one of them costs a question to the database."""
        for outlet in self._roster.all:
            is_empty = not (outlet.shelf.behind or outlet.shelf.up_bytes)
            oldest_ns = 0 if is_empty else await self._oldest_ns(outlet.name)
            set_gauges(self._metrics, outlet, self._spool.used_bytes[outlet.name], oldest_ns)
        self._metrics.set("podwitness_spool_chunks_up", to=self._chunks_up)
        self._metrics.set("podwitness_spool_staged_bytes", to=self._staging.size_bytes)
        self._metrics.set("podwitness_spool_file_bytes", to=self._spool.file_bytes)

    async def _oldest_ns(self, name: str) -> int:
        async with self._thread.using:
            return await self._thread.call(lambda: self._spool.oldest_ns(name)) or 0

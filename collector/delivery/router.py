"""Where chunks go: to every output whose Match covers their tag, each at its own pace.

**Bounds.** The total (32 MiB unless configured) is shared out evenly among the
outputs. A chunk is accepted when each of its outputs has room in its share (a
chunk larger than a share: when that output has nothing else), so a dead output
fills its own share and then holds back only the streams that go to it. Chunks
with a position (files) may use three quarters of a share, because they can be
read again and wait on disk at no cost; the last quarter is for chunks without
one (kernel events). What finds no room goes to the spool or waits (admission.py).
Worst case in memory: the total, plus for every delivery under way one joined
copy of at most lanes.JOIN_BYTES, plus what is on its way to the spool
(staging.STAGE_BYTES) and back (storage.backlog.mem_limit).

**Order.** An output gets the chunks of one tag in the order they were submitted
(lanes.py). A file's position moves when a chunk is finished for all its outputs
(or in the spool for them) and all earlier chunks of the file are, too (order.py).

**The spool.** What could not be read again is not left in memory for longer than
securing.AT_RISK_S while an output does not take it: it gets rows in the spool, and so do
all chunks of its tag before it and, until those are read back, after it. Without a
spool, or where that is full too, `offer` drops what is worth less for what is
worth more (flows first, execs last), and then says no.

**Giving up** follows Fluent Bit: after Retry_Limit retries the chunk is dropped
for that output and its file's position moves on; a chunk that no output matches
is discarded. Every drop is counted by cause and told in-band (losses.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from collector.delivery import securing
from collector.delivery.admission import (
    CHUNK_OVERHEAD_BYTES,
    Admission,
    Outlets,
    Request,
    Waiter,
    size_of,
)
from collector.delivery.census import Census, census_of
from collector.delivery.chunk import Chunk, Position
from collector.delivery.courier import Courier
from collector.delivery.held_up import HeldUp
from collector.delivery.lanes import Parcel, Ticket
from collector.delivery.leftover import lacking, left_over
from collector.delivery.losses import LOSS_TAG, Loss, chunk_loss
from collector.delivery.order import PositionOrder
from collector.delivery.outlet import Outlet, Route
from collector.delivery.rejected import RejectedFolder
from collector.delivery.retry import Backoff
from collector.delivery.roster import Roster
from collector.delivery.securing import Securing
from collector.delivery.shedding import victims
from collector.delivery.spool import Spool
from collector.delivery.spooling import Bounds, Callbacks, Spooling
from collector.delivery.telling import Telling
from collector.service.metrics import Metrics
from collector.service.stalls import Stall

__all__ = ["CHUNK_OVERHEAD_BYTES", "Route", "Router", "Statistics"]

TOTAL_BYTES = 32 << 20

# A node has some hundred log streams; beyond this the match of a tag is worked out again.
TAGS_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is under way in memory. `waiting` chunks are held by their inputs."""

    chunks: int
    size_bytes: int
    waiting: int


class Router:
    """Implements Intake. `run` has to be running for anything to be delivered.

    `record(source, position)` is called when the position of a file has moved.
    `source_limits` are inputs' own bounds (Mem_Buf_Limit) in bytes, `memory_only`
    the inputs whose storage.type is memory.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        metrics: Metrics,
        log: logging.Logger,
        record: Callable[[str, Position], None],
        node: str = "",
        backoff: Backoff | None = None,
        total_bytes: int = TOTAL_BYTES,
        source_limits: Mapping[str, int] | None = None,
        memory_only: Collection[str] = (),
        flush_s: float = 1.0,
        spool: Spool | None = None,
        bounds: Bounds | None = None,
        rejected: RejectedFolder | None = None,
        accepted: Callable[[Chunk], None] = lambda _: None,
        report: Callable[[str, bool, str], None] = lambda *_: None,
    ) -> None:
        self._roster = Roster(routes, total_bytes, log)
        self._metrics = metrics
        self._log = log
        self._record, self._accepted = record, accepted
        self._flush_s = flush_s
        self._outlets_of = functools.lru_cache(TAGS_REMEMBERED)(self._match)
        self._open: dict[Ticket, None] = {}  # in the order of acceptance
        self._order = PositionOrder()
        self._admission = Admission(source_limits or {}, memory_only)
        self._held_up = HeldUp(log, report)
        self._telling = Telling(node, metrics=metrics, log=log)
        self._courier = Courier(self._release, self._telling, backoff or Backoff(), rejected, metrics=metrics)
        self._empty = asyncio.Event()
        self._empty.set()
        self._ended = asyncio.Event()
        self.room_listeners: list[Callable[[], None]] = []
        self._listen()
        self._securing: Securing | None = None
        self.spooling = self._begin_spooling(spool, bounds or Bounds()) if spool else None

    def _begin_spooling(self, spool: Spool, bounds: Bounds) -> Spooling:
        callbacks = Callbacks(self._held, self._settled, self._returned, self._release, self._admit_waiters)
        self._admission.spooling = spooling = Spooling(
            spool,
            self._roster,
            self._order,
            callbacks,
            self._telling,
            bounds=bounds,
            metrics=self._metrics,
            log=self._log,
        )
        self._securing = Securing(self._open, self._admission, self._telling, spooling, self._outlets_of)
        return spooling

    # Intake

    async def submit(self, chunk: Chunk) -> None:
        """Accepts the chunk; waits while there is no room for it in memory or in the spool.

        After the end of `drain` nothing is accepted: the chunk is only counted.
        """
        await self._submit(chunk)

    async def submit_safely(self, chunk: Chunk) -> bool:
        """The same; returns when all outputs have the chunk, or the spool. False: they never will."""
        ticket = await self._submit(chunk)
        if ticket is None:
            return False
        if ticket not in self._open:
            return True
        ticket.safe = ticket.safe or asyncio.get_running_loop().create_future()
        return await asyncio.shield(ticket.safe)

    async def _submit(self, chunk: Chunk) -> Ticket | None:
        outlets = self._outlets_of(chunk.tag)
        if self._ended.is_set():
            self._left_over(chunk)
            return None
        decided = self._admission.decide(Request.of(chunk), outlets)
        if decided is not None:
            return self._accept(chunk, outlets, decided)
        return await self._wait_for_room(Waiter(chunk, outlets, asyncio.get_running_loop().create_future()))

    def offer(self, chunk: Chunk) -> bool:
        """Accepts the chunk if there is room now or can be made; False: the caller keeps it, or drops it."""
        outlets = self._outlets_of(chunk.tag)
        if self._ended.is_set():
            return False
        request = Request.of(chunk)
        decided = self._admission.decide(request, outlets)
        if decided is None and not request.has_position and self._shed_for(chunk, outlets):
            decided = self._admission.decide(request, outlets)
        if decided is None:
            return False
        self._accept(chunk, outlets, decided)
        return True

    def takes(self, source: str, tag: str, vanishing: Callable[[], bool]) -> bool:
        """Whether a portion of a file may be read now; `room_listeners` are told when to ask again."""
        outlets = self._outlets_of(tag)
        size_bytes = self._admission.portion_bytes(source, outlets)
        request = Request(tag, source, size_bytes, True, vanishing)
        if self._ended.is_set() or self._admission.decide(request, outlets) is not None:
            return True
        self._held_up.note(source, tag, time.monotonic())
        return False

    def report_loss(self, loss: Loss) -> None:
        """Counts a loss and tells it in-band within `flush_s`."""
        self._telling.report(loss)

    def _match(self, tag: str) -> Outlets:
        found = self._roster.matching(tag)
        if not found:
            self._log.warning("no output matches the tag %s: its records are discarded", tag)
        return found

    async def _wait_for_room(self, waiter: Waiter) -> Ticket | None:
        self._admission.waiters[waiter] = None
        self._held_up.note(waiter.chunk.source, waiter.chunk.tag, time.monotonic())
        self._empty.clear()
        try:
            return await waiter.admitted
        finally:
            self._admission.waiters.pop(waiter, None)
            self._note_empty()

    def _admit_waiters(self) -> None:
        """Accepts those that now have room, in order, but none past another that waits for the same."""
        for waiter, decided in self._admission.admissible():
            del self._admission.waiters[waiter]
            if not waiter.admitted.done():
                waiter.admitted.set_result(self._accept(waiter.chunk, waiter.outlets, decided))
        for listener in self.room_listeners:
            listener()

    def _accept(self, chunk: Chunk, outlets: Outlets, spooled: Outlets = ()) -> Ticket:
        """Under way to these outputs, to `spooled` of them by way of the spool."""
        self._metrics.add("fluentbit_input_records_total", chunk.source, by=chunk.records)
        self._metrics.add("fluentbit_input_bytes_total", chunk.source, by=len(chunk.entries))
        self._accepted(chunk)
        step = self._order.begin(chunk.source, chunk.position) if chunk.position else None
        ticket = Ticket(chunk, size_of(chunk), len(outlets), step)
        self._open[ticket] = None
        self._empty.clear()
        self._admission.holds(chunk.source, ticket.size_bytes)
        for outlet in outlets:
            if outlet not in spooled:
                outlet.size_bytes += ticket.size_bytes
                outlet.lanes.push(ticket)
                outlet.wake()
        if spooled and self.spooling:
            self.spooling.stage(ticket, spooled)
        if not outlets:
            self._metrics.add("podwitness_unrouted_records_total", by=chunk.records)
            self._finish(ticket)
        return ticket

    # Delivery

    async def run(self) -> None:
        """Delivers until `drain` has ended. An exception of an output other than its own two ends it."""
        async with asyncio.TaskGroup() as group:
            self._roster.begin(group, self._courier.work)
            tasks = [group.create_task(self._look_regularly(), name="tell losses")]
            if self.spooling:
                tasks.append(group.create_task(self.spooling.run(), name="spool"))
            await self._ended.wait()
            self._roster.end()
            for task in tasks:
                task.cancel()

    def _release(self, outlet: Outlet, parcel: Parcel) -> None:
        """The parcel is finished for this output."""
        outlet.lanes.done(parcel)
        outlet.size_bytes -= sum(ticket.size_bytes for ticket in parcel.tickets if not ticket.seq)
        if self.spooling is None or self.spooling.finished(outlet, parcel):
            for ticket in parcel.tickets:
                self._settle(ticket, 1)
        if self.spooling:
            for ticket in self.spooling.unstage(outlet, parcel.tag):
                outlet.size_bytes += ticket.size_bytes
                outlet.lanes.push(ticket)
        if outlet.lanes.ready:
            outlet.wake()
        outlet.note_change()
        self._admit_waiters()

    def _settle(self, ticket: Ticket, outputs: int) -> None:
        ticket.waiting_for -= outputs
        if not ticket.waiting_for:
            self._finish(ticket)

    def _finish(self, ticket: Ticket) -> None:
        """The chunk is finished for all its outputs, or in the spool for them."""
        source = ticket.chunk.source
        del self._open[ticket]
        if not ticket.seq:
            self._admission.holds(source, -ticket.size_bytes)
        if ticket.step and (reached := self._order.finish(ticket.step)):
            self._record(source, reached)
        if ticket.safe and not ticket.safe.done():
            ticket.safe.set_result(True)
        self._telling.finished(ticket)
        self._note_empty()

    def _note_empty(self) -> None:
        if not self._open and not self._admission.waiters:
            self._empty.set()

    # To the spool and back

    def _held(self, ticket: Ticket) -> None:
        """A chunk had a row, and is in memory only now."""
        self._open[ticket] = None
        self._empty.clear()
        self._admission.holds(ticket.chunk.source, ticket.size_bytes)

    def _settled(self, ticket: Ticket, outputs: int) -> None:
        """So many of its outputs have the chunk in the spool."""
        ticket.delivered += outputs
        self._settle(ticket, outputs)

    def _returned(self, outlet: Outlet, ticket: Ticket) -> None:
        """A chunk was read back for an output."""
        self._open[ticket] = None
        self._empty.clear()
        outlet.lanes.push(ticket)
        outlet.wake()

    def _shed_for(self, chunk: Chunk, outlets: Outlets) -> bool:
        """Whether what is worth less could be dropped so that the chunk may have room."""
        if self.spooling and not self.spooling.has_room(size_of(chunk)):
            for ticket, given_up in self.spooling.shed(chunk, size_of(chunk)):
                self._drop(ticket, given_up)
        found = [(outlet, victims(outlet, chunk, size_of(chunk))) for outlet in outlets]
        if any(tickets is None for _, tickets in found):
            return False
        for outlet, tickets in found:
            outlet.lanes.withdraw(set(tickets or ()))
            for ticket in tickets or ():
                outlet.size_bytes -= ticket.size_bytes
                self._drop(ticket, (outlet,))
        return True

    def _drop(self, ticket: Ticket, outlets: Outlets) -> None:
        for outlet in outlets:
            self.report_loss(chunk_loss(ticket.chunk, "shed", outlet.name))
        self._settle(ticket, len(outlets))

    # Now and then

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(min(self._flush_s, securing.AT_RISK_S))
            self._telling.say(time.monotonic())
            await self._tell_losses()
            if self.spooling and self._securing:
                self._securing.look()
                self.spooling.look()
                await self.spooling.set_gauges()
            self._held_up.look(
                lambda source, tag: self._admission.stuck_of(source, tag, self._outlets_of(tag)),
                time.monotonic(),
            )
            if self._admission.waiters:
                self._admit_waiters()  # a file may be about to vanish by now

    async def _tell_losses(self) -> None:
        """Sends the losses so far, past all bounds, in chunks that are the same after a crash."""
        self._telling.gather()
        if self.spooling:
            await self.spooling.keep_losses()
        outlets = {outlet.route.name: outlet for outlet in self._roster.taking}
        for name, chunk in self._telling.chunks():
            self._telling.sent(name, self._accept(chunk, (outlets[name],)))

    def _listen(self) -> None:
        self._telling.listen([outlet.route.name for outlet in self._roster.matching(LOSS_TAG)])

    # The end

    async def drain(self, grace_s: float) -> Statistics:
        """Delivers what is under way for at most `grace_s`, then ends `run` and closes the outputs.

        Chunks are tried again quickly and none is given up meanwhile. What is left
        is returned: files are read again from their last position at the next
        start; what could not be read again goes to the spool, or is counted as
        lost (`shutdown`). May be called while inputs still submit; their `submit`
        returns at the end at last.
        """
        if self._ended.is_set():
            return self.statistics()
        self._courier.hurry(self._roster.all)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._until_empty()
        if self.spooling:
            await self._spool_the_rest(self.spooling)
        self._ended.set()
        left = self.statistics()
        self._abandon()
        await self._roster.close()
        if self.spooling:
            await self.spooling.close()
        return left

    async def _until_empty(self) -> None:
        while True:
            await self._empty.wait()
            await self._tell_losses()
            if self._empty.is_set():
                return

    async def _spool_the_rest(self, spooling: Spooling) -> None:
        """What could not be read again and the outputs did not take; then what only some of them took."""
        for waiter in list(self._admission.waiters):
            kept = waiter.chunk.source in self._admission.memory_only
            if not kept and not waiter.chunk.is_durable and not waiter.admitted.done():
                del self._admission.waiters[waiter]
                waiter.admitted.set_result(self._accept(waiter.chunk, waiter.outlets, waiter.outlets))
        if self._securing:
            self._securing.rest()
            await spooling.flush()
            self._securing.half_done()
        await spooling.finish()

    def _abandon(self) -> None:
        for outlet in self._roster.all:
            for handle in outlet.held.values():
                handle.cancel()
        names = lacking(self._roster.all, self.spooling.staged() if self.spooling else ())
        for ticket in self._open:
            if not self._telling.is_telling(ticket):
                self._left_over(ticket.chunk, names.get(ticket, set()))
            if ticket.safe and not ticket.safe.done():
                ticket.safe.set_result(False)
        for waiter in self._admission.waiters:
            self._left_over(waiter.chunk)
            if not waiter.admitted.done():
                waiter.admitted.set_result(None)
        self._telling.say_all()

    def _left_over(self, chunk: Chunk, names: Set[str] | None = None) -> None:
        every = {outlet.name for outlet in self._outlets_of(chunk.tag)}
        for loss in left_over(chunk, every if names is None else names, every):
            self.report_loss(loss)

    # Another configuration

    def begun(self, source: str) -> list[Position]:
        """Where an input stands with all that it has handed over."""
        return self._order.begun(source)

    def configure(
        self,
        backoff: Backoff,
        source_limits: Mapping[str, int],
        memory_only: Collection[str],
        flush_s: float,
    ) -> None:
        """Other waits and bounds of inputs from now on."""
        self._courier.back_off(backoff)
        self._admission.limit(source_limits, memory_only)
        self._flush_s = flush_s

    def reroute(self, names: Collection[str], routes: Sequence[Route], grace_s: float) -> None:
        """From now on the outputs of these names, of which `routes` are other ones or new (roster.py)."""
        self._roster.replace(names, routes, grace_s)
        self._outlets_of.cache_clear()
        self._listen()
        for waiter in self._admission.waiters:
            waiter.outlets = self._outlets_of(waiter.chunk.tag)
        self._admit_waiters()

    # What can be seen

    def statistics(self) -> Statistics:
        size_bytes = sum(ticket.size_bytes for ticket in self._open)
        return Statistics(len(self._open), size_bytes, len(self._admission.waiters))

    def census(self, sources: Collection[str]) -> Census:
        """How many chunks there are, where, and of which inputs; of these also where there are none."""
        return census_of(sources, self._open, self._roster.all, self._admission)

    def stalls(self, now_s: float) -> Iterator[Stall]:
        """Outputs that have something to deliver, and for how long; inputs that one of them holds up."""
        yield from self._held_up.stalls(now_s)
        for outlet in self._roster.all:
            yield from outlet.stalls(now_s)
            spooled_s = self._metrics.value("podwitness_spool_oldest_seconds", outlet.route.name)
            yield Stall(outlet.route.name, "its oldest chunk in the spool waits", spooled_s, False)

    def holds_up(self, source: str) -> bool:
        """Whether an input waits for room."""
        return source in self._held_up.sources() or any(
            waiter.chunk.source == source for waiter in self._admission.waiters
        )

    def set_gauges(self) -> None:
        """Brings the gauges of the metrics table up to date; called before they are shown."""
        for outlet in self._roster.all:
            outlet.set_gauges(self._metrics)
        self._metrics.set("podwitness_delivery_waiting", to=len(self._admission.waiters))
        oldest = next(iter(self._open), None)
        age_s = (time.monotonic_ns() - oldest.chunk.created_ns) / 1e9 if oldest else 0.0
        self._metrics.set("podwitness_oldest_undelivered_seconds", to=max(0.0, age_s))

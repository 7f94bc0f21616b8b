"""Where chunks go: to every output whose Match covers their tag, each at its own pace.

**Bounds.** The total (32 MiB unless configured) is shared out evenly among the
outputs. A chunk is accepted when each of its outputs has room in its share (a
chunk larger than a share: when that output has nothing else), so a dead output
fills its own share and then holds back only the streams that go to it. Chunks
with a position (files) may use three quarters of a share, because they can be
read again and wait on disk at no cost; the last quarter is for chunks without
one (kernel events). A chunk that finds no room waits in `submit`, in order;
`offer` says no instead, and the caller sheds and counts. That refusal is the one
place where a chunk without a durable source would go to a spool on disk.
Worst case in memory: the total, plus for every delivery under way one joined
copy of at most lanes.JOIN_BYTES.

**Order.** An output gets the chunks of one tag in the order they were submitted
(lanes.py). A file's position moves when a chunk is finished for all its outputs
and all earlier chunks of the file are, too (order.py).

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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from collector.delivery.chunk import Chunk, Position, chunk_id
from collector.delivery.lanes import Parcel, Ticket
from collector.delivery.losses import LOSS_TAG, Loss, Losses, entry
from collector.delivery.order import PositionOrder
from collector.delivery.outlet import Outlet, Route
from collector.delivery.retry import Backoff, may_retry
from collector.plugin import DeliveryError, Rejected
from collector.service.metrics import Metrics

__all__ = ["Route", "Router", "Statistics"]

TOTAL_BYTES = 32 << 20

# What a chunk costs beside its entries: Chunk, Ticket, Position, path and their places in the queues.
CHUNK_OVERHEAD_BYTES = 1024

# A node has some hundred log streams; beyond this the match of a tag is worked out again.
TAGS_REMEMBERED = 4096

# How soon a failed delivery is tried again once the daemon is ending.
DRAIN_RETRY_S = 0.5

# How long outputs may take to end their connections in good order.
CLOSE_S = 3.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is under way. `waiting` chunks are held by their inputs."""

    chunks: int
    size_bytes: int
    waiting: int


@dataclass(slots=True, eq=False)
class _Waiter:
    chunk: Chunk
    outlets: tuple[Outlet, ...]
    admitted: asyncio.Future[None]


class Router:
    """Implements Intake. `run` has to be running for anything to be delivered.

    `record(source, position)` is called when the position of a file has moved.
    `source_limits` are inputs' own bounds (Mem_Buf_Limit) in bytes.
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
        flush_s: float = 1.0,
    ) -> None:
        share = total_bytes // max(1, len(routes))
        self._outlets = tuple(Outlet(route, share, log) for route in routes)
        self._metrics = metrics
        self._log = log
        self._record = record
        self._node = node
        self._backoff = backoff or Backoff()
        self._source_limits = source_limits or {}
        self._flush_s = flush_s
        self._outlets_of = functools.lru_cache(TAGS_REMEMBERED)(self._match)
        self._source_bytes: dict[str, int] = {}
        self._open: dict[Ticket, None] = {}  # in the order of acceptance
        self._order = PositionOrder()
        self._waiters: dict[_Waiter, None] = {}
        self._losses = Losses()
        self._unsaid: Counter[tuple[str, str]] = Counter()  # by output and cause, since last logged
        self._telling: dict[Ticket, tuple[Loss, ...]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._ended = asyncio.Event()
        self._draining = False

    # Intake

    async def submit(self, chunk: Chunk) -> None:
        """Accepts the chunk; waits while the bytes in flight are at their bound.

        After the end of `drain` nothing is accepted: the chunk is only counted.
        """
        outlets = self._outlets_of(chunk.tag)
        if self._ended.is_set():
            self._left_over(chunk)
        elif self._has_room(chunk, outlets):
            self._accept(chunk, outlets)
        else:
            await self._wait_for_room(_Waiter(chunk, outlets, asyncio.get_running_loop().create_future()))

    def offer(self, chunk: Chunk) -> bool:
        """Accepts the chunk if there is room now; False: the caller keeps or sheds it, counted."""
        outlets = self._outlets_of(chunk.tag)
        if self._ended.is_set() or not self._has_room(chunk, outlets):
            return False
        self._accept(chunk, outlets)
        return True

    def report_loss(self, loss: Loss) -> None:
        """Counts a loss and tells it in-band within `flush_s`."""
        self._metrics.add("podwitness_lost_records_total", loss.cause, by=loss.records)
        self._metrics.add("podwitness_lost_bytes_total", loss.cause, by=loss.size_bytes)
        self._losses.add(loss)
        self._unsaid[loss.output, loss.cause] += loss.records

    # Admission

    def _match(self, tag: str) -> tuple[Outlet, ...]:
        found = tuple(outlet for outlet in self._outlets if outlet.route.matches(tag))
        if not found:
            self._log.warning("no output matches the tag %s: its records are discarded", tag)
        return found

    def _obstacles(self, chunk: Chunk, outlets: tuple[Outlet, ...]) -> set[object]:
        """What has no room for the chunk: outputs (for chunks of its kind) or its source's own limit."""
        size_bytes = _size_bytes(chunk)
        durable = chunk.position is not None
        full: set[object] = {
            (outlet, durable) for outlet in outlets if not outlet.has_room(size_bytes, durable)
        }
        held = self._source_bytes.get(chunk.source, 0)
        limit = self._source_limits.get(chunk.source)
        if held and limit is not None and held + size_bytes > limit:
            full.add(("source", chunk.source))
        return full

    def _has_room(self, chunk: Chunk, outlets: tuple[Outlet, ...]) -> bool:
        """Whether the chunk may be accepted now without overtaking one that waits for the same."""
        if self._obstacles(chunk, outlets):
            return False
        if not self._waiters:
            return True
        blocked: set[object] = set()
        for waiter in self._waiters:
            blocked |= self._obstacles(waiter.chunk, waiter.outlets) | {("tag", waiter.chunk.tag)}
        return not blocked & _needs(chunk, outlets)

    async def _wait_for_room(self, waiter: _Waiter) -> None:
        self._waiters[waiter] = None
        self._empty.clear()
        try:
            await waiter.admitted
        finally:
            self._waiters.pop(waiter, None)
            self._note_empty()

    def _admit_waiters(self) -> None:
        """Accepts those that now have room, in order, but none past another that waits for the same."""
        blocked: set[object] = set()
        for waiter in list(self._waiters):
            obstacles = self._obstacles(waiter.chunk, waiter.outlets)
            if obstacles or blocked & _needs(waiter.chunk, waiter.outlets):
                blocked |= obstacles | {("tag", waiter.chunk.tag)}
                continue
            del self._waiters[waiter]
            if not waiter.admitted.done():
                self._accept(waiter.chunk, waiter.outlets)
                waiter.admitted.set_result(None)

    def _accept(self, chunk: Chunk, outlets: tuple[Outlet, ...]) -> Ticket:
        self._metrics.add("fluentbit_input_records_total", chunk.source, by=chunk.records)
        self._metrics.add("fluentbit_input_bytes_total", chunk.source, by=len(chunk.entries))
        step = self._order.begin(chunk.source, chunk.position) if chunk.position else None
        ticket = Ticket(chunk, _size_bytes(chunk), len(outlets), step)
        self._open[ticket] = None
        self._empty.clear()
        self._source_bytes[chunk.source] = self._source_bytes.get(chunk.source, 0) + ticket.size_bytes
        for outlet in outlets:
            outlet.size_bytes += ticket.size_bytes
            outlet.lanes.push(ticket)
            outlet.wake()
        if not outlets:
            self._metrics.add("podwitness_unrouted_records_total", by=chunk.records)
            self._finish(ticket)
        return ticket

    # Delivery

    async def run(self) -> None:
        """Delivers until `drain` has ended. An exception of an output other than its own two ends it."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._work(outlet), name=f"deliver to {outlet.route.name}")
                for outlet in self._outlets
                for _ in range(outlet.route.deliveries)
            ]
            tasks.append(group.create_task(self._tell_losses_regularly(), name="tell losses"))
            await self._ended.wait()
            for task in tasks:
                task.cancel()

    async def _work(self, outlet: Outlet) -> None:
        while True:
            parcel = await outlet.next()
            try:
                await outlet.route.output.deliver(parcel.chunk)
            except Rejected as reason:
                self._rejected(outlet, parcel, reason)
            except DeliveryError as reason:
                self._failed(outlet, parcel, str(reason))
            else:
                self._delivered(outlet, parcel)
            # A receiver that is never slower than we are would otherwise keep the loop to itself.
            await asyncio.sleep(0)

    def _rejected(self, outlet: Outlet, parcel: Parcel, reason: Rejected) -> None:
        name = outlet.route.name
        self._metrics.add("fluentbit_output_errors_total", name)
        outlet.fails(str(reason))
        if not reason.records:
            self._give_up(outlet, parcel, "rejected")
            return
        self._metrics.add("fluentbit_output_dropped_records_total", name, by=reason.records)
        if not any(ticket in self._telling for ticket in parcel.tickets):
            self.report_loss(part_of(_loss(parcel.chunk, "rejected", name), reason))
        self._taken(outlet, parcel, parcel.chunk.records - reason.records, len(reason.entries))

    def _delivered(self, outlet: Outlet, parcel: Parcel) -> None:
        outlet.works()
        self._taken(outlet, parcel, parcel.chunk.records)

    def _taken(self, outlet: Outlet, parcel: Parcel, records: int, bytes_refused: int = 0) -> None:
        name = outlet.route.name
        self._metrics.add("fluentbit_output_proc_records_total", name, by=records)
        self._metrics.add(
            "fluentbit_output_proc_bytes_total", name, by=len(parcel.chunk.entries) - bytes_refused
        )
        for ticket in parcel.tickets:
            ticket.delivered += 1
        self._release(outlet, parcel)

    def _failed(self, outlet: Outlet, parcel: Parcel, reason: str) -> None:
        name = outlet.route.name
        outlet.fails(reason)
        if not self._draining:
            parcel.failures += 1
            if not may_retry(parcel.failures, outlet.route.retry_limit):
                self._metrics.add("fluentbit_output_retries_failed_total", name)
                self._give_up(outlet, parcel, "retry_limit")
                return
        self._metrics.add("fluentbit_output_retries_total", name)
        self._metrics.add("fluentbit_output_retried_records_total", name, by=parcel.chunk.records)
        wait_s = DRAIN_RETRY_S if self._draining else self._backoff.wait_s(parcel.failures)
        loop = asyncio.get_running_loop()
        outlet.held[parcel] = loop.call_later(wait_s, self._try_again, outlet, parcel)

    def _try_again(self, outlet: Outlet, parcel: Parcel) -> None:
        outlet.held.pop(parcel).cancel()
        outlet.lanes.again(parcel)
        outlet.wake()

    def _give_up(self, outlet: Outlet, parcel: Parcel, cause: str) -> None:
        name = outlet.route.name
        self._metrics.add("fluentbit_output_dropped_records_total", name, by=parcel.chunk.records)
        for ticket in parcel.tickets:
            if ticket not in self._telling:
                self.report_loss(_loss(ticket.chunk, cause, name))
        self._release(outlet, parcel)

    def _release(self, outlet: Outlet, parcel: Parcel) -> None:
        """The parcel is finished for this output."""
        outlet.lanes.done(parcel)
        outlet.size_bytes -= sum(ticket.size_bytes for ticket in parcel.tickets)
        for ticket in parcel.tickets:
            ticket.waiting_for -= 1
            if not ticket.waiting_for:
                self._finish(ticket)
        if outlet.lanes.ready:
            outlet.wake()
        self._admit_waiters()

    def _finish(self, ticket: Ticket) -> None:
        """The chunk is finished for all its outputs."""
        source = ticket.chunk.source
        del self._open[ticket]
        left = self._source_bytes[source] - ticket.size_bytes
        if left:
            self._source_bytes[source] = left
        else:
            del self._source_bytes[source]
        if ticket.step and (reached := self._order.finish(ticket.step)):
            self._record(source, reached)
        told = self._telling.pop(ticket, ())
        if not ticket.delivered:
            for loss in told:
                self._losses.add(loss)
        self._note_empty()

    def _note_empty(self) -> None:
        if not self._open and not self._waiters:
            self._empty.set()

    # Losses

    async def _tell_losses_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            self._log_losses()
            self._tell_losses()

    def _tell_losses(self) -> None:
        """Sends the losses gathered so far, past all bounds: one small chunk, at most one under way."""
        if not self._losses or self._telling:
            return
        outlets = self._outlets_of(LOSS_TAG)
        losses = self._losses.take()
        if not outlets:
            return
        now_ns = time.time_ns()
        chunk = Chunk(
            id=chunk_id(LOSS_TAG, self._node, now_ns),
            tag=LOSS_TAG,
            entries=b"".join(entry(loss, self._node, now_ns) for loss in losses),
            records=len(losses),
            source="podwitness",
            created_ns=time.monotonic_ns(),
        )
        self._telling[self._accept(chunk, outlets)] = losses

    def _log_losses(self) -> None:
        for (output, cause), records in self._unsaid.items():
            self._log.error("%s lost %d records (%s)", output or "every output", records, cause)
        self._unsaid.clear()

    # The end

    async def drain(self, grace_s: float) -> Statistics:
        """Delivers what is under way for at most `grace_s`, then ends `run` and closes the outputs.

        Chunks are tried again quickly and none is given up meanwhile. What is left
        is returned: files are read again from their last position at the next
        start; records without a position are counted as lost (`shutdown`). May be
        called while inputs still submit; their `submit` returns at the end at last.
        """
        if self._ended.is_set():
            return self.statistics()
        self._draining = True
        for outlet in self._outlets:
            for parcel in list(outlet.held):
                self._try_again(outlet, parcel)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._until_empty()
        self._ended.set()
        left = self.statistics()
        self._abandon()
        await asyncio.gather(*(self._close(outlet.route) for outlet in self._outlets))
        return left

    async def _until_empty(self) -> None:
        while True:
            await self._empty.wait()
            self._tell_losses()
            if self._empty.is_set():
                return

    def _abandon(self) -> None:
        for outlet in self._outlets:
            for handle in outlet.held.values():
                handle.cancel()
        for ticket in self._open:
            if ticket not in self._telling:
                self._left_over(ticket.chunk)
        for waiter in self._waiters:
            self._left_over(waiter.chunk)
            if not waiter.admitted.done():
                waiter.admitted.set_result(None)
        self._log_losses()

    def _left_over(self, chunk: Chunk) -> None:
        if chunk.position is None:
            self.report_loss(_loss(chunk, "shutdown", ""))

    async def _close(self, route: Route) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await route.output.close()
        except (TimeoutError, OSError, DeliveryError) as reason:
            self._log.warning("%s did not close in good order: %r", route.name, reason)

    # What can be seen

    def statistics(self) -> Statistics:
        size_bytes = sum(ticket.size_bytes for ticket in self._open)
        return Statistics(len(self._open), size_bytes, len(self._waiters))

    def set_gauges(self) -> None:
        """Brings the gauges of the metrics table up to date; called before they are shown."""
        for outlet in self._outlets:
            name = outlet.route.name
            self._metrics.set("podwitness_delivery_bytes", name, to=outlet.size_bytes)
            self._metrics.set("podwitness_delivery_share_bytes", name, to=outlet.share_bytes)
        self._metrics.set("podwitness_delivery_waiting", to=len(self._waiters))
        oldest = next(iter(self._open), None)
        age_s = (time.monotonic_ns() - oldest.chunk.created_ns) / 1e9 if oldest else 0.0
        self._metrics.set("podwitness_oldest_undelivered_seconds", to=max(0.0, age_s))


def _size_bytes(chunk: Chunk) -> int:
    return len(chunk.entries) + CHUNK_OVERHEAD_BYTES


def _needs(chunk: Chunk, outlets: tuple[Outlet, ...]) -> set[object]:
    """All that may hold the chunk back, as in `Router._obstacles`, and its place behind others of its tag."""
    durable = chunk.position is not None
    return {("source", chunk.source), ("tag", chunk.tag), *((outlet, durable) for outlet in outlets)}


def part_of(loss: Loss, rejected: Rejected) -> Loss:
    """The loss of some records of a chunk; which bytes of a file they were is not known."""
    return replace(
        loss,
        records=rejected.records,
        size_bytes=len(rejected.entries),
        path="",
        from_offset=-1,
        to_offset=-1,
    )


def _loss(chunk: Chunk, cause: str, output: str) -> Loss:
    created_ns = time.time_ns() - (time.monotonic_ns() - chunk.created_ns)
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

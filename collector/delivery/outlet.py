"""One output as the router sees it: what it takes, its share of memory, its lanes and its mood."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from collector.delivery.lanes import Lanes, Parcel
from collector.plugin import Connections, Output
from collector.service.metrics import Metrics
from collector.service.stalls import Stall

# A receiver that fails in turns for this reason and for that is not news each time.
COMPLAIN_EVERY_S = 10.0


# Outputs have timeouts for all that a receiver may do to them: what takes longer hangs by our own fault. The
# longest are kafka's 5 minutes and, for each step, net.io_timeout, which is 190 s unless configured.
PATIENT_S = 1800.0

# Without storage.total_limit_size: an hour of a busy node's kernel events, and a disk's reserve at most.
SPOOL_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Route:
    """An output with what it takes.

    An output that has an attribute `deliveries` is given up to so many chunks, of
    different tags, at the same time; any other one after the other.
    """

    name: str
    output: Output
    matches: Callable[[str], bool]
    retry_limit: int | None = 1
    spool_limit_bytes: int = SPOOL_LIMIT_BYTES

    @property
    def deliveries(self) -> int:
        return int(getattr(self.output, "deliveries", 1))


@dataclass(slots=True)
class Amount:
    chunks: int = 0
    records: int = 0
    size_bytes: int = 0

    def add(self, chunks: int, records: int, size_bytes: int) -> None:
        self.chunks += chunks
        self.records += records
        self.size_bytes += size_bytes


@dataclass(slots=True)
class Shelf:
    """An output's place in the spool.

    Rows up to `after` were read back; of those beyond, `up` are in memory all the
    same. `behind`, by tag, is what was not read back, `staged` how many chunks are
    on their way to it: while there is any of a tag, newer chunks go behind it.
    `sources` counts the chunks that are behind by their input.
    """

    after: int = 0
    up: set[int] = field(default_factory=set)
    up_bytes: int = 0  # read back and not delivered
    behind: dict[str, Amount] = field(default_factory=dict)
    staged: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)

    def is_behind(self, tag: str) -> bool:
        return tag in self.behind or self.staged[tag] > 0

    def put(self, tag: str, source: str, chunks: int, records: int, size_bytes: int) -> None:
        self.behind.setdefault(tag, Amount()).add(chunks, records, size_bytes)
        self.sources[source] += chunks

    def take(self, tag: str, source: str, records: int, size_bytes: int) -> None:
        """One row is not behind any more."""
        self.sources[source] -= 1
        amount = self.behind[tag]
        amount.add(-1, -records, -size_bytes)
        if not amount.chunks:
            del self.behind[tag]

    def clear(self) -> None:
        """Nothing is behind: the spool was lost."""
        self.behind.clear()
        self.sources.clear()


@dataclass(slots=True, eq=False)
class Outlet:
    """A route with what is under way on it."""

    route: Route
    share_bytes: int
    log: logging.Logger
    lanes: Lanes = field(default_factory=Lanes)
    size_bytes: int = 0
    shelf: Shelf = field(default_factory=Shelf)
    held: dict[Parcel, asyncio.TimerHandle] = field(default_factory=dict)  # to be tried again later
    complaint: str = ""  # why deliveries fail; "" since one did not
    is_paused: bool = False  # no delivery begins
    _complained_s: float = float("-inf")
    _resting: deque[asyncio.Future[None]] = field(default_factory=deque)  # of workers without a parcel

    @property
    def name(self) -> str:
        return self.route.name

    def usable_bytes(self, durable: bool) -> int:
        """What chunks that can be read again (or not) may fill of the share."""
        return self.share_bytes * 3 // 4 if durable else self.share_bytes

    def has_room(self, size_bytes: int, durable: bool) -> bool:
        """Whether a chunk fits; one larger than the share does when there is nothing else."""
        return not self.size_bytes or self.size_bytes + size_bytes <= self.usable_bytes(durable)

    sending: dict[int, int] = field(default_factory=dict)  # deliveries under way, by id of the output
    _began_s: dict[object, float] = field(default_factory=dict)  # when each of them began
    _quieter: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.contextmanager
    def delivering(self, output: Output) -> Iterator[None]:
        """While one of its chunks is being delivered by this output."""
        self.sending[id(output)] = self.sending.get(id(output), 0) + 1
        delivery = object()
        self._began_s[delivery] = time.monotonic()
        try:
            yield
        finally:
            del self._began_s[delivery]
            self.sending[id(output)] -= 1
            if not self.sending[id(output)]:
                del self.sending[id(output)]
            self._quieter.set()

    def fails_since(self, before_s: float) -> bool:
        """Whether deliveries fail, or one has had no answer since then (CLOCK_MONOTONIC)."""
        return bool(self.complaint) or any(began_s <= before_s for began_s in self._began_s.values())

    async def until_quiet(self, output: Output) -> None:
        """Until an output that it had before delivers nothing any more."""
        while id(output) in self.sending:
            self._quieter.clear()
            await self._quieter.wait()

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to deliver, in memory or in the spool."""
        return not (self.lanes.tags or self.shelf.behind or self.shelf.staged or self.sending)

    async def until_idle(self) -> None:
        while not self.is_idle:
            self._quieter.clear()
            await self._quieter.wait()

    def note_change(self) -> None:
        """Something of what it had is finished."""
        self._quieter.set()

    def give_back(self, parcel: Parcel) -> None:
        """It was not delivered and has not failed: it is the next of its lane again."""
        self.lanes.again(parcel)
        self.wake()

    def try_all_again(self) -> None:
        """What waits to be tried again is tried now."""
        for parcel in list(self.held):
            self.try_again(parcel)

    def try_again(self, parcel: Parcel) -> None:
        self.held.pop(parcel).cancel()
        self.give_back(parcel)

    def wake(self) -> None:
        """To be called when the lanes have something to send: one that rests takes it, and wakes the next."""
        while self._resting:
            rest = self._resting.popleft()
            if not rest.done():
                rest.set_result(None)
                return

    async def next(self) -> Parcel:
        """The next parcel to send."""
        while (parcel := None if self.is_paused else self.lanes.take()) is None:
            await self._rest()
        if self.lanes.ready:
            self.wake()
        return parcel

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """While it is looked for what may be given up: what is not being sent stays so."""
        self.is_paused = True
        try:
            yield
        finally:
            self.is_paused = False
            if self.lanes.ready:
                self.wake()

    def withdraw(self, parcel: Parcel) -> None:
        """It is not tried again."""
        timer = self.held.pop(parcel, None)
        if timer is not None:
            timer.cancel()

    async def _rest(self) -> None:
        rest = asyncio.get_running_loop().create_future()
        self._resting.append(rest)
        try:
            await rest
        except asyncio.CancelledError:
            if not rest.cancelled():
                self.wake()  # it was this one's turn, and is another's now
            raise

    def set_gauges(self, metrics: Metrics) -> None:
        name = self.route.name
        connections = getattr(self.route.output, "connections", Connections())
        metrics.set("fluentbit_output_upstream_total_connections", name, to=connections.total)
        metrics.set("fluentbit_output_upstream_busy_connections", name, to=connections.busy)
        metrics.set("podwitness_delivery_bytes", name, to=self.size_bytes)
        metrics.set("podwitness_delivery_share_bytes", name, to=self.share_bytes)

    def stalls(self, now_s: float) -> Iterator[Stall]:
        """How long its oldest chunk waits, and its longest delivery takes."""
        name, oldest_ns = self.route.name, self.lanes.oldest_ns()
        if oldest_ns is not None:
            reason = self.complaint or "no delivery has succeeded"
            yield Stall(name, f"its oldest chunk waits: {reason}", now_s - oldest_ns / 1e9, False)
        if self._began_s:
            age_s = max(0.0, now_s - min(self._began_s.values()) - PATIENT_S)
            yield Stall(name, f"a delivery has not ended in {PATIENT_S / 60:.0f} min", age_s, True)

    def fails(self, reason: str) -> None:
        """Says why deliveries fail, when that is news."""
        now_s = time.monotonic()
        quiet = now_s - self._complained_s < COMPLAIN_EVERY_S
        if reason == self.complaint or (self.complaint and quiet):
            return
        self.log.warning("%s can't deliver: %s", self.route.name, reason)
        self.complaint, self._complained_s = reason, now_s

    def works(self) -> None:
        """Says that deliveries succeed, when that is news."""
        if self.complaint:
            self.log.info("%s delivers again", self.route.name)
            self.complaint = ""

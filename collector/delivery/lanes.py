"""What one output has to deliver: a lane for each tag, in order, joined into larger chunks.

A lane has at most one parcel under way, whether it is being sent or waits to be
tried again, so that records of one tag arrive in the order in which they were
read, retries included. Lanes take turns. What gathers in a lane meanwhile is
joined: an idle output sends every chunk at once, a busy one sends few large ones.
What has a row in the spool is sent alone, under the id that it has there, so that
it keeps its id over a restart.

What was read of a stretch that is kept (stretches.py) is joined with what was read
of the same file behind it as far as the next start can read that in one go. Where
chunks of several files have one tag, speed goes first: joined they are not kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from collector.delivery.chunk import PORTION_BYTES, Chunk, join
from collector.delivery.order import Step

# Large enough that the cost of a message and its ack vanishes (a 2 MiB write to loopback takes about 1 ms),
# small enough for Fluentd's usual chunk_limit_size of 8 MB and for a bounded copy.
JOIN_BYTES = 2 << 20

# Joining is a copy, and pays only for chunks whose message costs more than their bytes: beyond half a MiB
# it doubled the CPU of sending (tests/bench/forward_send.py).
ALONE_BYTES = JOIN_BYTES // 4


@dataclass(slots=True, eq=False)
class Ticket:
    """One chunk under way and how many outputs it still waits for.

    `staged` of those wait for it to be written to the spool; `seq` is its row there,
    when it came from there. `safe` is told whether nothing can lose it any more.
    """

    chunk: Chunk
    size_bytes: int
    waiting_for: int
    step: Step | None = None
    delivered: int = 0
    staged: int = 0
    seq: int = 0
    safe: asyncio.Future[bool] | None = None


@dataclass(slots=True, eq=False)
class Parcel:
    """What is handed to an output in one go, always the same when it is tried again.

    `seq` is its row in the spool, if it was written there while it was under way.
    """

    tag: str
    tickets: tuple[Ticket, ...]
    chunk: Chunk
    failures: int = 0
    seq: int = 0
    is_sending: bool = False  # from `take` until it is done or has failed

    @property
    def spooled_seq(self) -> int:
        """The row that stands for all of it; 0 while there is none."""
        return self.seq or self.tickets[0].seq


@dataclass(slots=True, eq=False)
class _Lane:
    waiting: deque[Ticket] = field(default_factory=deque)
    current: Parcel | None = None  # being sent, or waiting to be tried again
    is_held: bool = False  # it is to be sent next, before `waiting`


class Lanes:
    """The queue of one output. The owner says when a parcel is done or may be tried again."""

    def __init__(self, join_bytes: int = JOIN_BYTES, alone_bytes: int = ALONE_BYTES) -> None:
        self._join_bytes = join_bytes
        self._alone_bytes = alone_bytes
        self._lanes: dict[str, _Lane] = {}
        # Tags whose turn it may be; one whose chunks were withdrawn meanwhile is passed over.
        self._ready: deque[str] = deque()

    def push(self, ticket: Ticket) -> None:
        """Adds a chunk at the end of its tag's lane."""
        tag = ticket.chunk.tag
        lane = self._lanes.setdefault(tag, _Lane())
        lane.waiting.append(ticket)
        if lane.current is None and len(lane.waiting) == 1:
            self._ready.append(tag)

    def take(self) -> Parcel | None:
        """The next parcel to send; its lane stands still until `done` or `again`."""
        while self._ready:
            tag = self._ready.popleft()
            lane = self._lanes.get(tag)
            if lane is None:
                continue
            if lane.current is None and lane.waiting:
                lane.current, lane.is_held = self._join(tag, lane.waiting), True
            if lane.current is not None and lane.is_held:
                lane.is_held, lane.current.is_sending = False, True
                return lane.current
        return None

    def _join(self, tag: str, waiting: deque[Ticket]) -> Parcel:
        tickets = [waiting.popleft()]
        total = first = len(tickets[0].chunk.entries)
        while waiting and first < self._alone_bytes and not tickets[0].seq:
            more = len(waiting[0].chunk.entries)
            if waiting[0].seq or more >= self._alone_bytes or total + more > self._join_bytes:
                break
            if not _may_follow(tickets, waiting[0]):
                break
            total += more
            tickets.append(waiting.popleft())
        chunk = join([ticket.chunk for ticket in tickets])
        if chunk.stretch is not None:
            chunk.stretch.keep()
        return Parcel(tag, tuple(tickets), chunk)

    def done(self, parcel: Parcel) -> None:
        """The parcel was delivered or given up: its lane goes on."""
        lane = self._lanes[parcel.tag]
        lane.current, lane.is_held = None, False
        if lane.waiting:
            self._ready.append(parcel.tag)
        else:
            del self._lanes[parcel.tag]

    def again(self, parcel: Parcel) -> None:
        """The parcel's waiting time is over: it is taken as the next of its lane."""
        parcel.is_sending = False
        self._lanes[parcel.tag].is_held = True
        self._ready.append(parcel.tag)

    @property
    def tags(self) -> int:
        """Of how many tags there is anything, under way or waiting."""
        return len(self._lanes)

    def current(self, tag: str) -> Parcel | None:
        """The parcel of a tag that is under way."""
        lane = self._lanes.get(tag)
        return lane.current if lane else None

    def has(self, tag: str) -> bool:
        """Whether there is anything of a tag, under way or waiting."""
        return tag in self._lanes

    @property
    def has_any(self) -> bool:
        return bool(self._lanes)

    def waiting(self) -> Iterator[Ticket]:
        """What is not under way, lane by lane."""
        for lane in self._lanes.values():
            yield from lane.waiting

    def oldest_ns(self) -> int | None:
        """Monotonic clock at which the oldest chunk was read; a lane begins with its oldest."""
        first = [
            lane.current.tickets[0] if lane.current else lane.waiting[0]
            for lane in self._lanes.values()
            if lane.current or lane.waiting
        ]
        return min((ticket.chunk.created_ns for ticket in first), default=None)

    def withdraw(self, tickets: set[Ticket]) -> None:
        """Takes out what is not under way."""
        for tag in {ticket.chunk.tag for ticket in tickets}:
            lane = self._lanes[tag]
            lane.waiting = deque(ticket for ticket in lane.waiting if ticket not in tickets)
            if lane.current is None and not lane.waiting:
                del self._lanes[tag]

    def withdraw_unspooled(self, tag: str) -> list[Ticket]:
        """Takes out what waits in a lane and has no row in the spool, which is its end."""
        lane = self._lanes.get(tag)
        found = [ticket for ticket in lane.waiting if not ticket.seq] if lane else []
        if found:
            self.withdraw(set(found))
        return found

    def withdraw_rows(self) -> list[Ticket]:
        """Takes out what waits and has a row in the spool, in order."""
        found = [ticket for ticket in self.waiting() if ticket.seq]
        self.withdraw(set(found))
        return found

    def unspooled(self) -> Iterator[Ticket]:
        """What is in memory and has no row in the spool."""
        for lane in self._lanes.values():
            if lane.current and not lane.current.spooled_seq:
                yield from lane.current.tickets
            yield from (ticket for ticket in lane.waiting if not ticket.seq)

    def parcels(self) -> list[Parcel]:
        """What is being sent, or waits to be tried again."""
        return [lane.current for lane in self._lanes.values() if lane.current]

    def waiting_row(self, tag: str, seq: int) -> Ticket | None:
        """What waits in a lane and has this row in the spool."""
        lane = self._lanes.get(tag)
        return next((ticket for ticket in lane.waiting if ticket.seq == seq), None) if lane else None

    def sending_rows(self) -> Iterator[int]:
        """Rows in the spool of what is being sent just now."""
        for lane in self._lanes.values():
            if lane.current and lane.current.is_sending and lane.current.spooled_seq:
                yield lane.current.spooled_seq

    def under_way(self) -> Iterator[Ticket]:
        """What is being sent, or waits to be tried again."""
        for lane in self._lanes.values():
            if lane.current:
                yield from lane.current.tickets

    @property
    def ready(self) -> bool:
        """Whether `take` may return a parcel."""
        return bool(self._ready)


def _may_follow(tickets: Sequence[Ticket], ticket: Ticket) -> bool:
    """Whether a chunk may be joined to these, where one of them is of a stretch that is kept."""
    first, last, more = tickets[0].chunk.stretch, tickets[-1].chunk.stretch, ticket.chunk.stretch
    if first is None or last is None or more is None:
        return True
    if first.was_sent or more.was_sent:
        return False
    if last.is_divided or more.is_divided:
        return True
    if not last.is_of_same_file(more):
        return not _are_of_one_log(tickets[-1].chunk, ticket.chunk)
    return last.goes_on_in(more) and more.end - min(first.start, more.start) <= PORTION_BYTES


def _are_of_one_log(one: Chunk, other: Chunk) -> bool:
    """As files of a log that was rotated, or truncated: a border is rare, so speed does not ask for it."""
    if one.position is None or other.position is None:
        return False
    return (one.source, one.position.path) == (other.source, other.position.path)

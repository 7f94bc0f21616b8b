"""What one output has to deliver: a lane for each tag, in order, joined into larger chunks.

A lane has at most one parcel under way, whether it is being sent or waits to be
tried again, so that records of one tag arrive in the order in which they were
read, retries included. Lanes take turns. What gathers in a lane meanwhile is
joined: an idle output sends every chunk at once, a busy one sends few large ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from collector.delivery.chunk import Chunk, join
from collector.delivery.order import Step

# Large enough that the cost of a message and its ack vanishes (a 2 MiB write to loopback takes about 1 ms),
# small enough for Fluentd's usual chunk_limit_size of 8 MB and for a bounded copy.
JOIN_BYTES = 2 << 20

# Joining is a copy, and pays only for chunks whose message costs more than their bytes: beyond half a MiB
# it doubled the CPU of sending (tests/bench/forward_send.py).
ALONE_BYTES = JOIN_BYTES // 4


@dataclass(slots=True, eq=False)
class Ticket:
    """One chunk under way and how many outputs it still waits for."""

    chunk: Chunk
    size_bytes: int
    waiting_for: int
    step: Step | None = None
    delivered: int = 0


@dataclass(slots=True, eq=False)
class Parcel:
    """What is handed to an output in one go, always the same when it is tried again."""

    tag: str
    tickets: tuple[Ticket, ...]
    chunk: Chunk
    failures: int = 0


@dataclass(slots=True, eq=False)
class _Lane:
    waiting: deque[Ticket] = field(default_factory=deque)
    held: Parcel | None = None  # to be sent next, before `waiting`
    busy: bool = False


class Lanes:
    """The queue of one output. The owner says when a parcel is done or may be tried again."""

    def __init__(self, join_bytes: int = JOIN_BYTES, alone_bytes: int = ALONE_BYTES) -> None:
        self._join_bytes = join_bytes
        self._alone_bytes = alone_bytes
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[str] = deque()

    def push(self, ticket: Ticket) -> None:
        """Adds a chunk at the end of its tag's lane."""
        tag = ticket.chunk.tag
        lane = self._lanes.setdefault(tag, _Lane())
        lane.waiting.append(ticket)
        if not lane.busy and len(lane.waiting) == 1:
            self._ready.append(tag)

    def take(self) -> Parcel | None:
        """The next parcel to send; its lane stands still until `done` or `again`."""
        if not self._ready:
            return None
        tag = self._ready.popleft()
        lane = self._lanes[tag]
        lane.busy = True
        parcel, lane.held = lane.held, None
        return parcel or self._join(tag, lane.waiting)

    def _join(self, tag: str, waiting: deque[Ticket]) -> Parcel:
        tickets = [waiting.popleft()]
        total = first = len(tickets[0].chunk.entries)
        while waiting and first < self._alone_bytes:
            more = len(waiting[0].chunk.entries)
            if more >= self._alone_bytes or total + more > self._join_bytes:
                break
            total += more
            tickets.append(waiting.popleft())
        return Parcel(tag, tuple(tickets), join([ticket.chunk for ticket in tickets]))

    def done(self, parcel: Parcel) -> None:
        """The parcel was delivered or given up: its lane goes on."""
        lane = self._lanes[parcel.tag]
        lane.busy = False
        if lane.waiting:
            self._ready.append(parcel.tag)
        else:
            del self._lanes[parcel.tag]

    def again(self, parcel: Parcel) -> None:
        """The parcel's waiting time is over: it is taken as the next of its lane."""
        self._lanes[parcel.tag].held = parcel
        self._ready.append(parcel.tag)

    @property
    def ready(self) -> bool:
        """Whether `take` would return a parcel."""
        return bool(self._ready)

"""What an input, a filter and an output are, as the rest of the collector sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from collector.delivery.chunk import Chunk
from collector.delivery.losses import Loss
from collector.entries import Pairs
from collector.identity.identity import Identity
from collector.plan import EventPlan, LogPlan
from collector.record import Record


class Intake(Protocol):
    """Where inputs hand chunks over."""

    async def submit(self, chunk: Chunk) -> None:
        """Accepts the chunk; waits while the bytes in flight are at their bound."""

    def offer(self, chunk: Chunk) -> bool:
        """Accepts the chunk if there is room now; False: the caller keeps or sheds it, counted."""

    room_listeners: list[Callable[[], None]]

    async def submit_safely(self, chunk: Chunk) -> bool:
        """As `submit`; returns when all outputs have the chunk, or the spool. False: they never will."""

    def takes(self, source: str, tag: str, vanishing: Callable[[], bool]) -> bool:
        """Whether a portion of a file would be accepted now; `room_listeners` are told when to ask again."""

    def report_loss(self, loss: Loss) -> None:
        """Counts records that will reach no output, and tells the receivers in-band."""


class Input(Protocol):
    """Something that produces chunks."""

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then submits all it holds and returns."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """One followed file, as filters see it when they are asked for a plan."""

    tag: str
    path: str
    identity: Identity | None  # None: the path names no container


class Folding(Protocol):
    """What all filters have. Constant for a stream: it is folded into the plan; else it sees records."""

    def matches(self, tag: str) -> bool: ...

    def fold_log(self, plan: LogPlan, source: LogSource) -> LogPlan | None:
        """The plan with this filter's steps; None: it has to see this stream's records."""

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        """The same for the kernel events of one container (or of the host)."""


class Filter(Folding, Protocol):
    """Changes records one by one."""

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        """The record after the filter, or None to drop it."""


Emit = Callable[[str, Record], None]
"""A record under another tag: it begins at the first filter again, and is not given to its emitter again."""


class BatchFilter(Folding, Protocol):
    """Changes times or tags too, or makes more or fewer records than it is given."""

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        """The records of this tag that go on to the next filter."""


AnyFilter = Filter | BatchFilter


class DeliveryError(Exception):
    """The output could not take the chunk now; it will be tried again."""


class Rejected(Exception):
    """The receiver will never take this chunk; trying again is useless.

    With `records`, it has the chunk but for these (`entries`, `[EventTime, record]`
    one after the other as in a chunk).
    """

    def __init__(self, reason: str, entries: bytes = b"", records: int = 0) -> None:
        super().__init__(reason)
        self.entries = entries
        self.records = records


class Output(Protocol):
    """Something that chunks are delivered to."""

    async def deliver(self, chunk: Chunk) -> None:
        """Returns when the receiver has the chunk. Raises DeliveryError or Rejected."""

    async def close(self) -> None:
        """Ends connections and writes what is buffered."""


class Connections(NamedTuple):
    """How many an output has open now, and how many of them it uses."""

    total: int = 0
    busy: int = 0

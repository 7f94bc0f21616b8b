"""Losses on their way to the receivers: gathered, said in the log, sent as chunks of their own."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from collector.delivery.chunk import Chunk, Worth
from collector.delivery.lanes import Ticket
from collector.delivery.losses import LOSS_TAG, NOTHING, Batch, Loss, Losses, Untold, entry
from collector.service.metrics import Metrics

# Where losses go on, a line in the log for each second would be read by ourselves, and be lost in turn.
SAY_EVERY_S = 10.0


@dataclass(slots=True)
class Listener:
    """An output that takes losses: what it has not been told, what it is told, and the chunk under way."""

    waiting: Losses = field(default_factory=Losses)
    batch: Batch = NOTHING
    ticket: Ticket | None = None

    def untold(self) -> Untold:
        return Untold(self.batch, self.waiting.rows())


class Telling:
    """Each listener hears of every loss at its own pace, in one chunk at a time.

    `gather` says what belongs to the next chunk, `chunks` makes it: what is kept between them is told
    in the same chunk after a crash. So is what was not delivered. `version` changes with what is untold.
    """

    def __init__(self, node: str, *, metrics: Metrics, log: logging.Logger) -> None:
        self._node = node
        self._metrics = metrics
        self._log = log
        self._listeners: dict[str, Listener] = {}
        self._unsaid: Counter[tuple[str, str]] = Counter()  # by output and cause, since last logged
        self._said_s: dict[tuple[str, str], float] = {}
        self.version = 0

    def listen(self, names: Iterable[str]) -> None:
        """From now on these outputs take losses. Those that are new get what others had not heard."""
        before, self._listeners = self._listeners, {}
        for name in names:
            self._listeners[name] = before.get(name) or Listener()
        gone = {name: one.untold().rows for name, one in before.items() if name not in self._listeners}
        self._inherit(gone, [name for name in self._listeners if name not in before])

    def restore(self, untold: Mapping[str, Untold]) -> None:
        """What a process before this one had not told."""
        for name, one in untold.items():
            if name in self._listeners:
                self._listeners[name].batch = one.batch
                self._inherit({name: one.waiting}, [name])
        gone = {name: one.rows for name, one in untold.items() if name not in self._listeners}
        self._inherit(gone, [name for name in self._listeners if name not in untold])

    def _inherit(self, untold: Mapping[str, Iterable[Loss]], heirs: Iterable[str]) -> None:
        """The same loss is told to all: what several had not heard is told once."""
        losses = list(dict.fromkeys(loss for rows in untold.values() for loss in rows))
        for name in heirs:
            for loss in losses:
                self._listeners[name].waiting.add(loss)
        self.version += 1

    def report(self, loss: Loss) -> None:
        self._metrics.add("podwitness_lost_records_total", loss.cause, by=loss.records)
        self._metrics.add("podwitness_lost_bytes_total", loss.cause, by=loss.size_bytes)
        if loss.output:
            self._metrics.add("fluentbit_output_dropped_records_total", loss.output, by=loss.records)
        for listener in self._listeners.values():
            listener.waiting.add(loss)
        if loss.records:  # who does not know how many has said what it knows
            self._unsaid[loss.output, loss.cause] += loss.records
        self.version += 1

    def untold(self) -> dict[str, Untold]:
        """By listener, what would have to be told if all memory were lost."""
        return {name: listener.untold() for name, listener in self._listeners.items()}

    def say(self, now_s: float) -> None:
        """A line in the log for each output and cause, with the sum since the last one SAY_EVERY_S before."""
        for one in list(self._unsaid):
            if now_s >= self._said_s.get(one, float("-inf")) + SAY_EVERY_S:
                self._said_s[one] = now_s
                self._say(*one, self._unsaid.pop(one))

    def say_all(self) -> None:
        """At the end."""
        for one in list(self._unsaid):
            self._say(*one, self._unsaid.pop(one))

    def _say(self, output: str, cause: str, records: int) -> None:
        self._log.error("%s lost %d records (%s)", output or "every output", records, cause)

    def gather(self) -> None:
        """What is waiting is told with the next chunk, and what comes from now on with the one after it."""
        for listener in self._listeners.values():
            if listener.waiting and not listener.batch.rows:
                listener.batch = Batch(listener.waiting.take(), time.time_ns())
                self.version += 1

    def chunks(self) -> Iterator[tuple[str, Chunk]]:
        """By listener, the losses to be told now."""
        for name, listener in self._listeners.items():
            if listener.batch.rows and listener.ticket is None:
                yield name, self._chunk(name, listener.batch)

    def _chunk(self, name: str, batch: Batch) -> Chunk:
        return Chunk(
            id=batch.id(self._node, name),
            tag=LOSS_TAG,
            entries=b"".join(entry(loss, self._node, batch.time_ns) for loss in batch.rows),
            records=len(batch.rows),
            source="podwitness",
            created_ns=time.monotonic_ns(),
            worth=Worth.WITNESS,
        )

    def sent(self, name: str, ticket: Ticket) -> None:
        """The chunk is under way under this ticket."""
        self._listeners[name].ticket = ticket

    def is_telling(self, ticket: Ticket) -> bool:
        return any(listener.ticket is ticket for listener in self._listeners.values())

    def finished(self, ticket: Ticket) -> None:
        """What the listener did not take is to be told again."""
        for listener in self._listeners.values():
            if listener.ticket is ticket:
                listener.ticket = None
                if ticket.delivered:
                    listener.batch = NOTHING
                    self.version += 1

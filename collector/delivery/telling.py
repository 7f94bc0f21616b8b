"""Losses on their way to the receivers: gathered, said in the log, sent as chunks of their own."""

from __future__ import annotations

import logging
import time
from collections import Counter

from collector.delivery.chunk import Chunk, Worth, chunk_id
from collector.delivery.lanes import Ticket
from collector.delivery.losses import LOSS_TAG, Loss, Losses, entry
from collector.service.metrics import Metrics


class Telling:
    """At most one chunk of losses is under way; what was not delivered is told with the next."""

    def __init__(self, node: str, *, metrics: Metrics, log: logging.Logger) -> None:
        self._node = node
        self._metrics = metrics
        self._log = log
        self._losses = Losses()
        self._unsaid: Counter[tuple[str, str]] = Counter()  # by output and cause, since last logged
        self._ticket: Ticket | None = None
        self._told: tuple[Loss, ...] = ()

    def report(self, loss: Loss) -> None:
        self._metrics.add("podwitness_lost_records_total", loss.cause, by=loss.records)
        self._metrics.add("podwitness_lost_bytes_total", loss.cause, by=loss.size_bytes)
        self._losses.add(loss)
        self._unsaid[loss.output, loss.cause] += loss.records

    def say(self) -> None:
        """One line in the log for each output and cause."""
        for (output, cause), records in self._unsaid.items():
            self._log.error("%s lost %d records (%s)", output or "every output", records, cause)
        self._unsaid.clear()

    @property
    def has_news(self) -> bool:
        """Whether there is something to be told now."""
        return bool(self._losses) and self._ticket is None

    def chunk(self) -> Chunk | None:
        """The losses to be told now. Not `sent`, they are not told again."""
        if not self.has_news:
            return None
        self._told = self._losses.take()
        now_ns = time.time_ns()
        return Chunk(
            id=chunk_id(LOSS_TAG, self._node, now_ns),
            tag=LOSS_TAG,
            entries=b"".join(entry(loss, self._node, now_ns) for loss in self._told),
            records=len(self._told),
            source="podwitness",
            created_ns=time.monotonic_ns(),
            worth=Worth.WITNESS,
        )

    def sent(self, ticket: Ticket) -> None:
        """The chunk is under way under this ticket."""
        self._ticket = ticket

    def is_telling(self, ticket: Ticket) -> bool:
        return ticket is self._ticket

    def finished(self, ticket: Ticket) -> None:
        """What no output took is to be told again."""
        if ticket is self._ticket:
            self._ticket = None
            if not ticket.delivered:
                for loss in self._told:
                    self._losses.add(loss)
            self._told = ()

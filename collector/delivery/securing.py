"""What is in memory only and could not be read again goes to the spool when outputs do not take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from collector.delivery.admission import Admission, Outlets
from collector.delivery.lanes import Ticket
from collector.delivery.spooling import Spooling
from collector.delivery.telling import Telling

# Outputs that work take a chunk within milliseconds; a crash may take the events that came in this time.
AT_RISK_S = 1.0


class Securing:
    """`tickets` are those under way, in the order of acceptance."""

    def __init__(
        self,
        tickets: Iterable[Ticket],
        admission: Admission,
        telling: Telling,
        spooling: Spooling,
        outlets_of: Callable[[str], Outlets],
    ) -> None:
        self._tickets = tickets
        self._admission = admission
        self._telling = telling
        self._spooling = spooling
        self._outlets_of = outlets_of

    def look(self) -> None:
        """Rows for what has been in memory for AT_RISK_S and could not be read again."""
        now_s = time.monotonic()
        before_ns = int((now_s - AT_RISK_S) * 1e9)
        tags = [
            ticket.chunk.tag
            for ticket in self._tickets
            if ticket.chunk.created_ns <= before_ns and self._is_at_risk(ticket)
        ]
        # In order: what is written first is given up first.
        for tag in dict.fromkeys([*tags, *self._spooling.overdue_tags(now_s - AT_RISK_S)]):
            for outlet in self._outlets_of(tag):
                if self._spooling.has_room(0):
                    self._spooling.secure(outlet, tag)
        for tag in {ticket.chunk.tag for ticket in self._tickets if self._admission.is_filling(ticket)}:
            self._spooling.secure_failing(self._outlets_of(tag), tag, now_s - AT_RISK_S)

    def rest(self) -> None:
        """At the end: rows for all that could not be read again."""
        tags = [ticket.chunk.tag for ticket in self._tickets if self._is_left_at_risk(ticket)]
        for tag in dict.fromkeys(tags):
            for outlet in self._outlets_of(tag):
                self._spooling.secure(outlet, tag)

    def _is_at_risk(self, ticket: Ticket) -> bool:
        chunk = ticket.chunk
        if ticket.seq or chunk.source in self._admission.memory_only or self._telling.is_telling(ticket):
            return False
        return ticket.staged < ticket.waiting_for and not chunk.is_durable

    def _is_left_at_risk(self, ticket: Ticket) -> bool:
        return self._is_at_risk(ticket) or bool(ticket.staged)

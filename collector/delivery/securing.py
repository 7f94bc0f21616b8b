"""What is in memory only and could not be read again goes to the spool when outputs do not take it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from collector.delivery.admission import Admission, Outlets
from collector.delivery.lanes import Ticket
from collector.delivery.order import File
from collector.delivery.outlet import Outlet
from collector.delivery.spool_rows import ROW_BYTES
from collector.delivery.spooling import Spooling
from collector.delivery.telling import Telling

# Outputs that work take a chunk within milliseconds; a crash may take the events that came in this time.
AT_RISK_S = 1.0


class Ties:
    """Which files and tags have something under way in common. `tickets` are those of a tag."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        self.tickets: dict[str, list[Ticket]] = {}
        self._tags: dict[File, set[str]] = {}
        for ticket in tickets:
            self.tickets.setdefault(ticket.chunk.tag, []).append(ticket)
            if ticket.step:
                self._tags.setdefault(ticket.step.file, set()).add(ticket.chunk.tag)

    def of(self, file: File) -> tuple[set[File], list[str]]:
        """Files and tags that have something in common with a file, directly or not."""
        files, ahead = {file}, [file]
        tags: dict[str, None] = {}
        while ahead:
            for tag in self._tags[ahead.pop()] - tags.keys():
                tags[tag] = None
                found = {one.step.file for one in self.tickets[tag] if one.step} - files
                files |= found
                ahead += found
        return files, list(tags)


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
        for tag in self._tags_of(filter(self._admission.is_filling, self._sources())):
            self._spooling.secure_failing(self._outlets_of(tag), tag, now_s - AT_RISK_S)

    def _sources(self) -> set[str]:
        """Inputs that have something in memory and not in the spool."""
        return {ticket.chunk.source for ticket in self._tickets if not ticket.seq}

    def _tags_of(self, sources: Iterable[str]) -> set[str]:
        found = frozenset(sources)
        return {one.chunk.tag for one in self._tickets if not one.seq and one.chunk.source in found}

    def half_done(self) -> None:
        """At the end: what some outputs are through with, and others not: a restart would read it for all.

        As far as there is room, for nothing is lost without. What has tags or files in common goes
        together, or not at all: a row must not wait for what stays behind.
        """
        taken: Counter[Outlet] = Counter()
        looked_at: set[File] = set()
        ties = Ties(self._tickets)
        for ticket in list(self._tickets):
            if not ticket.step or ticket.step.file in looked_at or not self._is_half_done(ticket):
                continue
            files, tags = ties.of(ticket.step.file)
            looked_at |= files
            needed = self._needed(one for tag in tags for one in ties.tickets[tag])
            if needed is not None and all(
                taken[outlet] + needed[outlet] <= self._spooling.room_bytes(outlet) for outlet in needed
            ):
                taken.update(needed)
                self._secure_all(tags)

    def _is_half_done(self, ticket: Ticket) -> bool:
        return not ticket.seq and ticket.waiting_for < len(self._outlets_of(ticket.chunk.tag))

    def _needed(self, tickets: Iterable[Ticket]) -> Counter[Outlet] | None:
        """Bytes of rows by output, at most; None where an input keeps out of the spool."""
        needed: Counter[Outlet] = Counter()
        for ticket in tickets:
            if ticket.seq:
                continue
            if ticket.chunk.source in self._admission.memory_only:
                return None
            for outlet in self._outlets_of(ticket.chunk.tag):
                needed[outlet] += len(ticket.chunk.entries) + ROW_BYTES
        return needed

    def _secure_all(self, tags: Iterable[str]) -> None:
        for tag in tags:
            for outlet in self._outlets_of(tag):
                self._spooling.secure(outlet, tag)

    def rest(self) -> None:
        """At the end: rows for all that could not be read again."""
        tags = [ticket.chunk.tag for ticket in self._tickets if self._is_left_at_risk(ticket)]
        self._secure_all(dict.fromkeys(tags))

    def _is_at_risk(self, ticket: Ticket) -> bool:
        chunk = ticket.chunk
        if ticket.seq or chunk.source in self._admission.memory_only or self._telling.is_telling(ticket):
            return False
        return ticket.staged < ticket.waiting_for and not chunk.is_durable

    def _is_left_at_risk(self, ticket: Ticket) -> bool:
        return self._is_at_risk(ticket) or bool(ticket.staged)

"""Chunks on their way to the spool: what may be written now, with which positions, in which rows.

Chunks of one tag are written in the order in which they were read. One that comes
from a file is written when nothing else than being written is missing for its
position to move, so that chunk and position are one transaction; until then it
waits, and those of its tag behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from collector.delivery.chunk import Chunk, Position, Worth, join
from collector.delivery.lanes import ALONE_BYTES, Parcel, Ticket
from collector.delivery.order import Grants, PositionOrder, Step
from collector.delivery.outlet import Outlet
from collector.delivery.spool_rows import Addition

# Memory for what the disk does not take at once, beside what is in flight to the outputs.
STAGE_BYTES = 8 << 20


@dataclass(slots=True, eq=False)
class Unit:
    """A chunk for some outputs; with a `parcel` what one of them is trying to send, which stays in memory."""

    chunk: Chunk
    outlets: tuple[Outlet, ...]
    tickets: tuple[Ticket, ...]
    parcel: Parcel | None = None
    is_writing: bool = False
    is_void: bool = False  # delivered, or given up, while it was being written

    @property
    def since_s(self) -> float:
        """CLOCK_MONOTONIC at which it was read."""
        return self.chunk.created_ns / 1e9

    @property
    def size_bytes(self) -> int:
        return 0 if self.parcel else sum(ticket.size_bytes for ticket in self.tickets)

    def withdraw(self) -> None:
        """Its tickets are not on their way to the spool any more."""
        for ticket in self.tickets:
            ticket.staged -= len(self.outlets)


@dataclass(slots=True)
class Row:
    """Units that become one row, and the positions that they complete."""

    units: list[Unit]
    positions: list[tuple[str, Position]]

    @property
    def chunk(self) -> Chunk:
        return join([unit.chunk for unit in self.units])

    def addition(self) -> Addition:
        """As the spool is given it."""
        first = self.units[0]
        outputs = tuple(outlet.name for outlet in first.outlets)
        must = first.parcel is not None and first.parcel.is_sending
        return Addition(self.chunk, outputs, tuple(self.positions), must)


class Staging:
    """In order. `size_bytes` may be beyond STAGE_BYTES by what had to go before something that fitted."""

    def __init__(self, stage_bytes: int = STAGE_BYTES) -> None:
        self._stage_bytes = stage_bytes
        self._units: list[Unit] = []
        self._of_tag: dict[str, list[Unit]] = {}
        self._of_ticket: dict[Ticket, Unit] = {}
        self._of_parcel: dict[Parcel, Unit] = {}
        self.size_bytes = 0

    def has_room(self, size_bytes: int) -> bool:
        return not self.size_bytes or self.size_bytes + size_bytes <= self._stage_bytes

    def units(self) -> tuple[Unit, ...]:
        return tuple(self._units)

    def add(self, ticket: Ticket, outlets: Sequence[Outlet]) -> None:
        """A chunk that these outputs have never been given."""
        present = self._of_ticket.get(ticket)
        if present is not None and not present.is_writing and self._is_in_order(present, outlets):
            present.outlets += tuple(outlets)
        else:
            unit = Unit(ticket.chunk, tuple(outlets), (ticket,))
            self._units.append(unit)
            self._of_tag.setdefault(unit.chunk.tag, []).append(unit)
            self._of_ticket[ticket] = unit
            self.size_bytes += unit.size_bytes
        ticket.staged += len(outlets)
        for outlet in outlets:
            outlet.shelf.staged[ticket.chunk.tag] += 1

    def add_first(self, ticket: Ticket, outlet: Outlet) -> None:
        """One that had a row: it is older than all that waits there with its tag."""
        unit = Unit(ticket.chunk, (outlet,), (ticket,))
        self._put_first(unit)
        self._of_ticket[ticket] = unit
        self.size_bytes += unit.size_bytes
        ticket.staged += 1
        outlet.shelf.staged[ticket.chunk.tag] += 1

    def _put_first(self, unit: Unit) -> None:
        """Before all of its tag that are not just being written."""
        of_tag = self._of_tag.setdefault(unit.chunk.tag, [])
        at = next((at for at, one in enumerate(of_tag) if not one.is_writing), len(of_tag))
        place = self._units.index(of_tag[at]) if at < len(of_tag) else len(self._units)
        of_tag.insert(at, unit)
        self._units.insert(place, unit)

    def _is_in_order(self, unit: Unit, outlets: Sequence[Outlet]) -> bool:
        """Whether nothing behind it, and so newer, is older for one of these outputs."""
        for other in reversed(self._of_tag[unit.chunk.tag]):
            if other is unit:
                return True
            if any(outlet in other.outlets for outlet in outlets):
                return False
        return False

    def add_parcel(self, outlet: Outlet, parcel: Parcel) -> None:
        """What an output is trying to send: it is older than all that waits there with its tag."""
        if parcel in self._of_parcel or parcel.spooled_seq:
            return
        unit = Unit(parcel.chunk, (outlet,), parcel.tickets, parcel)
        self._put_first(unit)
        self._of_parcel[parcel] = unit
        for ticket in parcel.tickets:
            ticket.staged += 1
        outlet.shelf.staged[parcel.tag] += 1

    def void(self, parcel: Parcel) -> bool:
        """The parcel is finished. True: it is just being written, and will have a row."""
        unit = self._of_parcel.pop(parcel, None)
        if unit is None:
            return False
        if unit.is_writing:
            unit.is_void = True
            return True
        self._forget(unit)
        unit.withdraw()
        return False

    def take_back(self, outlet: Outlet, tag: str, room_bytes: int) -> list[Ticket]:
        """All chunks of a tag for an output, if it has room for them.

        All or none: behind one that is in memory only, none may come back from disk.
        """
        units = [unit for unit in self._of_tag.get(tag, ()) if outlet in unit.outlets]
        has_room = sum(unit.tickets[0].size_bytes for unit in units) <= room_bytes
        if not has_room or any(unit.is_writing or unit.parcel for unit in units):
            return []
        taken: list[Ticket] = []
        for unit in units:
            ticket = unit.tickets[0]
            ticket.staged -= 1
            taken.append(ticket)
            _count(outlet, tag, -1)
            unit.outlets = tuple(other for other in unit.outlets if other is not outlet)
            if not unit.outlets:
                self._forget(unit)
        return taken

    def writable(self, order: PositionOrder, after_s: float) -> list[Row]:
        """All that may be written now, in one transaction; it is marked as being written.

        What was read after `after_s` and an output is about to come to waits: it
        probably need not go to disk at all.
        """
        patient = self.size_bytes < self._stage_bytes // 2
        rows: list[Row] = []
        left: Counter[Ticket] = Counter()
        grants = order.grants()
        stopped: set[str] = set()
        for unit in self._units:
            if unit.chunk.tag in stopped:
                continue
            is_awaited = patient and unit.since_s > after_s and _is_awaited(unit)
            positions = None if is_awaited else _completed(unit, grants, left)
            if positions is None:
                stopped.add(unit.chunk.tag)
                continue
            unit.is_writing = True
            if rows and not positions and _may_join(rows[-1], unit):
                rows[-1].units.append(unit)
            else:
                rows.append(Row([unit], positions))
        return rows

    def written(self, rows: Sequence[Row]) -> None:
        """They have their rows, or were refused for good."""
        for row in rows:
            for unit in row.units:
                self._forget(unit)

    def unwritten(self) -> None:
        """Nothing of what is being written is going to have a row."""
        for unit in self._units:
            unit.is_writing = False

    def failed(self, rows: Sequence[Row]) -> list[Unit]:
        """They could not be written, and are kept; gives those that were finished meanwhile."""
        units = [unit for row in rows for unit in row.units]
        for unit in units:
            unit.is_writing = False
        void = [unit for unit in units if unit.is_void]
        for unit in void:
            self._forget(unit)
        return void

    def shed(self, worth: Worth, size_bytes: int) -> list[Unit]:
        """Takes out what is worth less to make room for a chunk, least and oldest first; [] if not enough."""
        able = [
            unit
            for unit in self._units
            if not (unit.parcel or unit.is_writing or unit.chunk.position) and sheds(unit.chunk.worth, worth)
        ]
        taken: list[Unit] = []
        excess = self.size_bytes + size_bytes - self._stage_bytes
        for unit in sorted(able, key=lambda one: one.chunk.worth):
            if excess <= 0:
                break
            taken.append(unit)
            excess -= unit.size_bytes
        if excess > 0:
            return []
        for unit in taken:
            self._forget(unit)
        return taken

    def _forget(self, unit: Unit) -> None:
        self._units.remove(unit)
        self._of_tag[unit.chunk.tag].remove(unit)
        if not self._of_tag[unit.chunk.tag]:
            del self._of_tag[unit.chunk.tag]
        self.size_bytes -= unit.size_bytes
        if unit.parcel:
            self._of_parcel.pop(unit.parcel, None)
        elif self._of_ticket.get(unit.tickets[0]) is unit:
            del self._of_ticket[unit.tickets[0]]
        for outlet in unit.outlets:
            _count(outlet, unit.chunk.tag, -1)


def _count(outlet: Outlet, tag: str, change: int) -> None:
    staged = outlet.shelf.staged
    staged[tag] += change
    if not staged[tag]:
        del staged[tag]


def sheds(worth: Worth, newer: Worth) -> bool:
    """Whether something may be dropped for something newer: what is worth less, and flows for flows."""
    return worth < newer or worth == Worth.FLOW


def _is_awaited(unit: Unit) -> bool:
    """Whether its outputs work, and have all before it in memory."""
    tag = unit.chunk.tag
    return unit.parcel is None and all(
        not outlet.complaint and tag not in outlet.shelf.behind and outlet.lanes.has(tag)
        for outlet in unit.outlets
    )


def _completed(unit: Unit, grants: Grants, left: Counter[Ticket]) -> list[tuple[str, Position]] | None:
    """The positions that move once the unit is written, after all before it; None: it has to wait."""
    steps: list[Step] = []
    for ticket in unit.tickets:
        if ticket.step is None:
            continue
        if ticket.staged < ticket.waiting_for:
            return None
        left.setdefault(ticket, ticket.waiting_for)
        if left[ticket] == len(unit.outlets):
            steps.append(ticket.step)
    if not grants.grant(steps):
        return None
    for ticket in unit.tickets:
        left[ticket] -= len(unit.outlets)
    return list({step.file: (step.source, step.position) for step in steps}.values())


def _may_join(row: Row, unit: Unit) -> bool:
    """Small chunks of events that nobody was ever sent are kept together."""
    last = row.units[-1]
    if row.positions or last.parcel or unit.parcel or last.tickets[0].step or unit.tickets[0].step:
        return False
    one, other = last.chunk, unit.chunk
    alike = (one.tag, one.source, one.worth) == (other.tag, other.source, other.worth)
    size_bytes = sum(len(each.chunk.entries) for each in row.units) + len(other.entries)
    return alike and last.outlets == unit.outlets and size_bytes <= ALONE_BYTES

"""How many chunks there are in memory and in the spool, by the input that they came from.

In Fluent Bit's terms: a chunk is up when it is in memory, down when it is in the spool alone, busy when an
output is sending it. In the spool a chunk counts once for each output that it waits there for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.delivery.admission import Admission
    from collector.delivery.lanes import Ticket
    from collector.delivery.outlet import Outlet


@dataclass(slots=True)
class Count:
    """Of one input."""

    up: int = 0
    down: int = 0
    busy: int = 0
    busy_bytes: int = 0
    memory_bytes: int = 0
    limit_bytes: int = 0  # Mem_Buf_Limit; 0: none
    is_over_limit: bool = False

    @property
    def total(self) -> int:
        return self.up + self.down


@dataclass(slots=True)
class Census:
    """`spooled_up`: chunks in memory that are in the spool too."""

    up: int = 0
    spooled_up: int = 0
    sources: defaultdict[str, Count] = field(default_factory=lambda: defaultdict(Count))

    @property
    def down(self) -> int:
        return sum(count.down for count in self.sources.values())

    @property
    def total(self) -> int:
        return self.up + self.down

    @property
    def spooled(self) -> int:
        return self.spooled_up + self.down


def census_of(
    sources: Iterable[str], tickets: Iterable[Ticket], outlets: Sequence[Outlet], admission: Admission
) -> Census:
    """Of what is under way in memory and of what is behind in the spool."""
    busy = {ticket for outlet in outlets for ticket in outlet.lanes.under_way()}
    # What an output is sending may be settled already, by its row in the spool.
    tickets = {*tickets, *busy}
    census = Census()
    census.sources.update((source, Count()) for source in sources)
    for ticket in tickets:
        count = census.sources[ticket.chunk.source]
        census.up += 1
        count.up += 1
        count.memory_bytes += ticket.size_bytes
        census.spooled_up += bool(ticket.seq)
        if ticket in busy:
            count.busy += 1
            count.busy_bytes += ticket.size_bytes
    for outlet in outlets:
        census.spooled_up += len(outlet.shelf.up)
        for source, chunks in outlet.shelf.sources.items():
            census.sources[source].down += chunks
    for source, count in census.sources.items():
        count.limit_bytes = admission.limit_bytes(source)
        count.is_over_limit = admission.is_at_limit(source)
    return census

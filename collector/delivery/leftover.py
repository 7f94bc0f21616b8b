"""What is in memory only at the end: which outputs lack it, and what of it is lost with the process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set

from collector.delivery.chunk import Chunk
from collector.delivery.lanes import Ticket
from collector.delivery.losses import Loss, chunk_loss
from collector.delivery.outlet import Outlet
from collector.delivery.staging import Unit

CAUSE = "shutdown"


def lacking(outlets: Iterable[Outlet], staged: Iterable[Unit]) -> dict[Ticket, set[str]]:
    """Outputs that have neither a chunk nor a row of it; `staged` is what could not be written."""
    found: defaultdict[Ticket, set[str]] = defaultdict(set)
    for outlet in outlets:
        for ticket in outlet.lanes.unspooled():
            found[ticket].add(outlet.name)
    for unit in staged:
        for ticket in unit.tickets:
            found[ticket].update(outlet.name for outlet in unit.outlets)
    return found


def left_over(chunk: Chunk, names: Set[str], every: Set[str]) -> Iterator[Loss]:
    """What these outputs will never get of a chunk that goes to `every` one of those."""
    if not chunk.is_gone:
        return
    for name in [""] if names >= every else sorted(names):
        yield chunk_loss(chunk, CAUSE, name)

"""What is dropped from memory when there is neither room nor a spool: flows first, execs last."""

from __future__ import annotations

from collector.delivery.chunk import Chunk
from collector.delivery.lanes import Ticket
from collector.delivery.losses import LOSS_TAG
from collector.delivery.outlet import Outlet
from collector.delivery.staging import sheds

# Choosing looks at all that waits, so somewhat more than one chunk's room is made at a time.
MADE_AT_ONCE = 32


def victims(outlet: Outlet, chunk: Chunk, size_bytes: int) -> list[Ticket] | None:
    """What has to go from an output's memory for a chunk, [] where there is room; None: there is not enough.

    Files are never dropped, nor what is being sent, nor what tells losses.
    """
    if outlet.has_room(size_bytes, durable=False):
        return []
    able = [ticket for ticket in outlet.lanes.waiting() if _is_able(ticket, chunk)]
    excess = outlet.size_bytes + size_bytes - outlet.share_bytes
    if sum(ticket.size_bytes for ticket in able) < excess:
        return None
    excess = max(excess, outlet.share_bytes // MADE_AT_ONCE)
    found = []
    for ticket in sorted(able, key=lambda one: (one.chunk.worth, one.chunk.created_ns)):
        if excess <= 0:
            break
        found.append(ticket)
        excess -= ticket.size_bytes
    return found


def _is_able(ticket: Ticket, chunk: Chunk) -> bool:
    kept = ticket.seq or ticket.chunk.position is not None or ticket.chunk.tag == LOSS_TAG
    return not kept and sheds(ticket.chunk.worth, chunk.worth)

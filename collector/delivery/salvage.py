"""What is left when the spool was damaged: chunks in memory that a row stood for have none any more.

Their rows were what the positions of their files, and the acks of clients, relied on. So they
are on their way to the new spool at once, before all that is newer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from collector.delivery.chunk import Chunk
from collector.delivery.lanes import Parcel, Ticket
from collector.delivery.losses import OTHER_STREAMS, Loss
from collector.delivery.outlet import Outlet
from collector.delivery.spool_rows import ROW_BYTES
from collector.delivery.staging import Staging

CAUSE = "spool_damaged"


def lost_rows(outlet: Outlet) -> Iterator[Loss]:
    """What an output had in the spool and not in memory, by tag; its shelf is empty then."""
    now_ns = time.time_ns()
    for tag, amount in outlet.shelf.behind.items():
        size_bytes = amount.size_bytes - amount.chunks * ROW_BYTES
        loss = Loss(CAUSE, amount.records, size_bytes, tag, outlet.name)
        yield replace(loss, since_ns=now_ns, until_ns=now_ns)
    outlet.shelf.clear()


def lost_unseen(path: str) -> Loss:
    """What was in a spool that nobody could read; it is kept at `path`."""
    now_ns = time.time_ns()
    return Loss(CAUSE, 0, 0, OTHER_STREAMS, path=path, since_ns=now_ns, until_ns=now_ns)


def salvage(
    outlet: Outlet, staging: Staging, leaves: Callable[[Outlet, Chunk], None], held: Callable[[Ticket], None]
) -> None:
    """What an output has in memory, and had a row, gets another before all of its tag that is staged.

    `leaves(outlet, chunk)` is told of what had been read back, `held` of all.
    """
    for ticket in reversed(outlet.lanes.withdraw_rows()):
        leaves(outlet, ticket.chunk)
        held(_without_row(ticket))
        staging.add_first(ticket, outlet)
    for parcel in [one for one in outlet.lanes.parcels() if one.spooled_seq]:
        if parcel.tickets[0].seq:
            leaves(outlet, parcel.chunk)
            outlet.size_bytes += parcel.tickets[0].size_bytes
        held(_parcel_without_row(parcel))
        staging.add_parcel(outlet, parcel)


def _without_row(ticket: Ticket) -> Ticket:
    """What was read back. Its position, if any, has long been committed: it is there to tell a loss."""
    ticket.seq, ticket.chunk = 0, _only_here(ticket.chunk)
    return ticket


def _parcel_without_row(parcel: Parcel) -> Ticket:
    """What is being tried: the tickets of a chunk that got its row meanwhile are settled by the row."""
    parcel.chunk = _only_here(parcel.chunk)
    if parcel.tickets[0].seq:
        return _without_row(parcel.tickets[0])
    size_bytes = sum(ticket.size_bytes for ticket in parcel.tickets)
    parcel.seq, parcel.tickets = 0, (Ticket(parcel.chunk, size_bytes, 1),)
    return parcel.tickets[0]


def _only_here(chunk: Chunk) -> Chunk:
    return replace(chunk, vanishing=lambda: True)

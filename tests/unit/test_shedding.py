"""What is dropped from memory for what is worth more."""

from __future__ import annotations

import logging

from collector.delivery.chunk import Chunk, Worth
from collector.delivery.lanes import Ticket
from collector.delivery.losses import LOSS_TAG
from collector.delivery.outlet import Outlet, Route
from collector.delivery.shedding import victims
from tests.unit.routing import Recorder, chunk, everything
from tests.unit.spooled import event

FLOW, LOG, WITNESS = Worth.FLOW, Worth.LOG, Worth.WITNESS


def filled(*chunks: Chunk, share_bytes: int = 4000) -> Outlet:
    outlet = Outlet(Route("out", Recorder(), everything), share_bytes, logging.getLogger("test"))
    outlet.lanes.push(Ticket(event(0, "sent", FLOW), 1000, 1))
    outlet.lanes.take()
    for one in chunks:
        outlet.lanes.push(Ticket(one, 1000, 1))
    outlet.size_bytes = 1000 * (1 + len(chunks))
    return outlet


def shed(outlet: Outlet, worth: Worth) -> list[bytes] | None:
    found = victims(outlet, event(99, worth=worth), 1000)
    return None if found is None else [one.chunk.id for one in found]


def test_the_least_and_oldest_goes_and_no_more_than_is_needed() -> None:
    flows = [event(number, f"t{number}", FLOW) for number in range(2)]
    log = event(3, "log", LOG)
    outlet = filled(log, *flows)
    assert shed(outlet, WITNESS) == [flows[0].id]
    assert shed(outlet, FLOW) == [flows[0].id]
    assert shed(filled(log, event(4, "x", WITNESS), event(5, "y", WITNESS)), WITNESS) == [log.id]


def test_what_is_worth_as_much_stays() -> None:
    assert shed(filled(*(event(number, worth=WITNESS) for number in range(3))), WITNESS) is None
    assert shed(filled(*(event(number, worth=LOG) for number in range(3))), FLOW) is None


def test_files_and_what_tells_losses_stay() -> None:
    assert shed(filled(*(chunk(b"x", offset=number) for number in range(3))), WITNESS) is None
    assert shed(filled(*(event(number, LOSS_TAG, LOG) for number in range(3))), WITNESS) is None


def test_where_there_is_room_nothing_goes() -> None:
    assert shed(filled(event(1, worth=FLOW)), WITNESS) == []


def test_large_shares_make_more_room_at_a_time() -> None:
    outlet = filled(*(event(number, f"t{number}", FLOW) for number in range(99)), share_bytes=100_000)
    found = shed(outlet, WITNESS)
    assert found is not None
    assert len(found) == 4  # a 32nd of the share

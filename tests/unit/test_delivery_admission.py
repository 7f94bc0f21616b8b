"""Who has room, who goes to the spool, who waits, and in which order."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import cast

from collector.delivery.admission import CHUNK_OVERHEAD_BYTES, Admission, Request, Waiter, size_of
from collector.delivery.chunk import PORTION_BYTES
from collector.delivery.outlet import Outlet, Route
from collector.delivery.spooling import Spooling
from tests.unit.routing import Recorder, chunk, everything

REQUEST = Request("kube.a", "tail.0", 1000, has_position=True)
EVENT = replace(REQUEST, tag="kernel", source="ebpf.0", has_position=False)
GOING = replace(REQUEST, vanishing=lambda: True)


def outlet(share_bytes: int = 4000, used_bytes: int = 0) -> Outlet:
    made = Outlet(Route("out", Recorder(), everything), share_bytes, logging.getLogger("test"))
    made.size_bytes = used_bytes
    return made


@dataclass
class Staged:
    """As much of Spooling as is asked for."""

    room: bool = True

    def has_room(self, size_bytes: int) -> bool:
        return self.room


def admission(*, spool: Staged | None = None, limits: dict[str, int] | None = None) -> Admission:
    made = Admission(limits or {}, ["memory.0"])
    made.spooling = cast(Spooling, spool) if spool else None
    return made


def test_room_in_memory() -> None:
    assert admission().decide(REQUEST, (outlet(),)) == ()
    assert admission().decide(REQUEST, (outlet(used_bytes=2500),)) is None
    assert admission().decide(EVENT, (outlet(used_bytes=2500),)) == ()
    assert admission().decide(REQUEST, ()) == ()


def test_without_room_events_and_vanishing_files_go_to_the_spool_and_other_files_wait() -> None:
    full = outlet(used_bytes=3900)
    with_spool = admission(spool=Staged())
    assert with_spool.decide(EVENT, (full,)) == (full,)
    assert with_spool.decide(GOING, (full,)) == (full,)
    assert with_spool.decide(REQUEST, (full,)) is None
    assert with_spool.decide(replace(EVENT, source="memory.0"), (full,)) is None
    assert admission().decide(EVENT, (full,)) is None
    assert admission(spool=Staged(room=False)).decide(EVENT, (full,)) is None


def test_an_output_with_room_does_not_wait_for_one_without() -> None:
    full, free = outlet(used_bytes=3900), outlet()
    assert admission(spool=Staged()).decide(REQUEST, (full, free)) == (full,)
    assert admission().decide(REQUEST, (full, free)) is None


def test_what_is_behind_in_the_spool_goes_first() -> None:
    behind = outlet()
    behind.shelf.put("kernel", "ebpf.0", 1, 1, 1)
    assert admission(spool=Staged()).decide(EVENT, (behind,)) == (behind,)
    assert admission(spool=Staged()).decide(replace(EVENT, tag="other"), (behind,)) == ()
    behind.shelf.put("kube.a", "tail.0", 1, 1, 1)
    assert admission(spool=Staged()).decide(REQUEST, (behind,)) is None


def test_an_input_has_its_own_bound() -> None:
    bounded = admission(spool=Staged(), limits={"tail.0": 1500, "ebpf.0": 1500})
    free = outlet()
    bounded.holds("tail.0", 1000)
    bounded.holds("ebpf.0", 1000)
    assert bounded.decide(REQUEST, (free,)) is None
    assert bounded.decide(EVENT, (free,)) == (free,)
    bounded.holds("tail.0", -1000)
    assert bounded.decide(REQUEST, (free,)) == ()


def test_nobody_overtakes_one_that_waits_for_the_same() -> None:
    async def scenario() -> None:
        here = admission()
        busy = outlet(used_bytes=2500)
        large = chunk(b"x" * 1000, "kube.a", offset=1)
        waiter = Waiter(large, (busy,), asyncio.get_running_loop().create_future())
        here.waiters[waiter] = None
        small = replace(REQUEST, size_bytes=100)
        assert here.decide(small, (busy,)) is None
        assert here.decide(replace(small, tag="b"), (busy,)) is None
        assert here.decide(replace(small, tag="b"), (outlet(),)) == ()
        assert list(here.admissible()) == []
        busy.size_bytes = 0
        assert list(here.admissible()) == [(waiter, ())]

    asyncio.run(scenario())


def test_what_a_chunk_takes_and_whether_it_can_be_read_again() -> None:
    made = chunk(b"12345", offset=1)
    assert size_of(made) == 5 + CHUNK_OVERHEAD_BYTES
    assert Request.of(made).is_durable
    assert not Request.of(replace(made, vanishing=lambda: True)).is_durable
    assert not Request.of(replace(made, position=None)).is_durable


def test_less_than_a_portion_is_asked_for_where_a_bound_is_small() -> None:
    bounded = admission(limits={"tail.0": 2 << 20})
    assert bounded.portion_bytes("tail.0") == 512 << 10
    assert bounded.portion_bytes("tail.1") == PORTION_BYTES
    assert bounded.portion_bytes("tail.1", (outlet(32 << 20),)) == PORTION_BYTES
    assert bounded.portion_bytes("tail.1", (outlet(32 << 20), outlet(4 << 20))) == 1 << 20
    assert bounded.portion_bytes("tail.0", (outlet(32 << 20),)) == 512 << 10


def test_files_do_not_wait_for_a_small_bound_as_soon_as_anything_is_in_flight() -> None:
    bounded = admission(limits={"tail.0": 2 << 20})
    bounded.holds("tail.0", 1000)
    assert not bounded.is_at_limit("tail.0")
    bounded.holds("tail.0", 3 << 19)
    assert bounded.is_at_limit("tail.0")

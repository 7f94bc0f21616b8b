"""On the way to the spool: order, positions, joining, what is taken back or given up."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from collector.delivery.chunk import Worth, join
from collector.delivery.lanes import Parcel, Ticket
from collector.delivery.order import PositionOrder
from collector.delivery.outlet import Outlet, Route
from collector.delivery.staging import Row, Staging
from tests.unit.routing import Recorder, everything
from tests.unit.spooled import event, position_of

ALWAYS = float("inf")


def outlet(name: str = "a") -> Outlet:
    return Outlet(Route(name, Recorder(), everything), 1 << 20, logging.getLogger("test"))


def ticket(
    number: int, outputs: int = 1, order: PositionOrder | None = None, tag: str = "t", inode: int = 2
) -> Ticket:
    """With an order, of a file."""
    chunk = event(number, tag)
    step = None
    if order is not None:
        chunk = replace(chunk, position=position_of(number, inode), raw_bytes=1000, source="tail.0")
        step = order.begin("tail.0", position_of(number, inode))
    return Ticket(chunk, 1000, outputs, step)


def numbers(rows: list[Row]) -> list[list[int]]:
    return [[int.from_bytes(unit.chunk.entries[:4], "big") for unit in row.units] for row in rows]


def test_events_are_joined_and_files_are_not() -> None:
    staging, order, a = Staging(), PositionOrder(), outlet()
    for number in range(3):
        staging.add(ticket(number), [a])
    for number in (3, 4):
        staging.add(ticket(number, order=order, tag="f"), [a])
    rows = staging.writable(order, ALWAYS)
    assert numbers(rows) == [[0, 1, 2], [3], [4]]
    assert rows[0].chunk.records == 3
    assert [row.positions for row in rows[1:]] == [[("tail.0", position_of(n))] for n in (3, 4)]
    staging.written(rows)
    assert (staging.size_bytes, staging.units()) == (0, ())
    assert not a.shelf.is_behind("t")


def test_a_file_waits_until_its_position_may_move() -> None:
    """Its other output is about to take it; what follows of its tag waits with it."""
    staging, order, a = Staging(), PositionOrder(), outlet()
    earlier = ticket(1, 1, order)  # not staged: under way elsewhere
    both = ticket(2, 2, order)
    staging.add(both, [a])
    staging.add(ticket(3, 1, order), [a])
    staging.add(ticket(9, tag="other"), [a])
    assert numbers(staging.writable(order, ALWAYS)) == [[9]]
    both.waiting_for -= 1
    assert numbers(staging.writable(order, ALWAYS)) == [[9]]
    assert earlier.step
    order.finish(earlier.step)
    rows = staging.writable(order, ALWAYS)
    assert numbers(rows) == [[2], [3], [9]]


def test_a_chunk_behind_one_that_waits_with_another_file_waits_too() -> None:
    """Its position would pass the first chunk, which has no row: a kill would take that."""
    staging, order, a = Staging(), PositionOrder(), outlet()
    first, of_other_file = ticket(1, 1, order), ticket(2, 2, order, inode=3)  # a second output sends this one
    staging.add_parcel(a, Parcel("t", (first, of_other_file), join([first.chunk, of_other_file.chunk])))
    staging.add(ticket(3, 1, order, tag="rewritten"), [a])
    assert staging.writable(order, ALWAYS) == []
    of_other_file.waiting_for -= 1
    assert numbers(staging.writable(order, ALWAYS)) == [[1], [3]]


def test_what_is_being_sent_goes_before_what_waits_and_its_position_with_the_last() -> None:
    staging, order, a, b = Staging(), PositionOrder(), outlet(), outlet("b")
    first, second = ticket(1, 2, order), ticket(2, 2, order)
    parcel = Parcel("t", (first,), first.chunk)
    staging.add(first, [b])
    staging.add(second, [b])
    staging.add_parcel(a, parcel)
    staging.add_parcel(a, parcel)
    staging.add(second, [a])
    rows = staging.writable(order, ALWAYS)
    names = [[one.route.name for one in row.units[0].outlets] for row in rows]
    assert numbers(rows) == [[1], [1], [2]]
    assert names == [["a"], ["b"], ["b", "a"]]
    # The position of the first is complete with its second row.
    assert [[position.offset for _, position in row.positions] for row in rows] == [[], [1000], [2000]]


def test_a_chunk_that_is_just_being_written_for_another_output_keeps_its_place() -> None:
    staging, order, a, b = Staging(), PositionOrder(), outlet(), outlet("b")
    first, second = ticket(1, 2), ticket(2, 2)
    staging.add(first, [b])
    rows = staging.writable(order, ALWAYS)
    staging.add(second, [b])
    staging.add(first, [a])
    staging.add(second, [a])
    staging.written(rows)
    rows = staging.writable(order, ALWAYS)
    assert [number for row in numbers(rows) for number in row] == [2, 1, 2]
    assert [row.units[0].outlets for row in rows] == [(b,), (a,)]


class Compared(str):
    """Counts what it is compared with."""

    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)


def test_units_of_other_tags_are_not_looked_at() -> None:
    """What a dead output has in memory may be of ten thousand logs."""
    staging, a, b = Staging(1 << 30), outlet(), outlet("b")
    tickets = [ticket(number, tag=Compared(f"t{number}")) for number in range(300)]
    Compared.times = 0
    for one in tickets:
        staging.add_parcel(a, Parcel(one.chunk.tag, (one,), one.chunk))
        staging.add(one, [b])
        staging.add(one, [a])
        assert staging.take_back(a, one.chunk.tag, 0) == []
    assert Compared.times <= 10 * len(tickets)
    assert [unit.outlets for unit in staging.units()] == [(a,), (b, a)] * len(tickets)
    staging.written(staging.writable(PositionOrder(), ALWAYS))
    assert (staging.units(), staging._of_tag) == ((), {})


def test_a_parcel_that_is_finished_first_needs_no_row() -> None:
    staging, order, a = Staging(), PositionOrder(), outlet()
    sent = ticket(1)
    parcel = Parcel("t", (sent,), sent.chunk)
    staging.add_parcel(a, parcel)
    assert (sent.staged, staging.size_bytes) == (1, 0)
    assert not staging.void(parcel)
    assert (sent.staged, staging.units()) == (0, ())
    staging.add_parcel(a, parcel)
    rows = staging.writable(order, ALWAYS)
    assert staging.void(parcel)
    (void,) = staging.failed(rows)
    assert void.parcel is parcel
    assert staging.units() == ()


def test_chunks_that_could_not_be_written_are_tried_again() -> None:
    staging, order, a = Staging(), PositionOrder(), outlet()
    staging.add(ticket(1), [a])
    assert staging.failed(staging.writable(order, ALWAYS)) == []
    assert numbers(staging.writable(order, ALWAYS)) == [[1]]


def test_an_output_that_is_about_to_come_to_it_is_waited_for() -> None:
    staging, order, a = Staging(), PositionOrder(), outlet()
    a.lanes.push(ticket(0))
    staging.add(ticket(1), [a])
    assert staging.writable(order, 0.0) == []
    a.complaint = "refuses"
    assert numbers(staging.writable(order, 0.0)) == [[1]]


def test_taken_back_in_order_all_or_none() -> None:
    staging, a, b = Staging(), outlet(), outlet("b")
    for number in range(3):
        staging.add(ticket(number, 2), [a, b])
    assert staging.take_back(a, "t", 2500) == []
    taken = staging.take_back(a, "t", 3000)
    assert [one.chunk.entries[3] for one in taken] == [0, 1, 2]
    assert [one.staged for one in taken] == [1, 1, 1]
    assert (a.shelf.staged["t"], b.shelf.staged["t"]) == (0, 3)
    staging.writable(PositionOrder(), ALWAYS)
    assert staging.take_back(b, "t", 9000) == []


@pytest.mark.parametrize(("worth", "gone"), [(Worth.WITNESS, [1]), (Worth.LOG, [1]), (Worth.FLOW, [1])])
def test_a_full_stage_gives_up_the_least(worth: Worth, gone: list[int]) -> None:
    staging, a = Staging(3000), outlet()
    for number, of in enumerate((Worth.LOG, Worth.FLOW, Worth.WITNESS)):
        staging.add(Ticket(event(number, worth=of), 1000, 1), [a])
    assert not staging.has_room(1)
    assert [unit.chunk.entries[3] for unit in staging.shed(worth, 1000)] == gone
    assert staging.has_room(1000)
    assert staging.shed(Worth.FLOW, 2000) == []

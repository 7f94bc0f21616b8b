"""Lanes: order within a tag, joining, turns between tags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collector.delivery.chunk import PORTION_BYTES, Chunk, FileKey, Packed, Position, Stretch, chunk_id, join
from collector.delivery.lanes import Lanes, Parcel, Ticket


def ticket(tag: str, entries: bytes) -> Ticket:
    return Ticket(Chunk(chunk_id(tag, entries), tag, memoryview(entries), 1, "tail.0", 0), len(entries), 1)


def take(lanes: Lanes) -> Parcel:
    parcel = lanes.take()
    assert parcel is not None
    return parcel


def test_an_idle_lane_gives_each_chunk_at_once() -> None:
    lanes = Lanes()
    lanes.push(ticket("a", b"1"))
    parcel = take(lanes)
    assert parcel.chunk is parcel.tickets[0].chunk
    lanes.done(parcel)
    assert not lanes.ready


def test_a_busy_lane_gathers_and_keeps_order() -> None:
    lanes = Lanes()
    lanes.push(ticket("a", b"1"))
    first = take(lanes)
    for entries in (b"2", b"3", b"4"):
        lanes.push(ticket("a", entries))
    assert lanes.take() is None
    lanes.done(first)
    joined = take(lanes).chunk
    assert (joined.entries, joined.records, joined.tag) == (b"234", 3, "a")
    assert joined.id == chunk_id(*(chunk_id("a", part) for part in (b"2", b"3", b"4")))


def sent(lanes: Lanes) -> list[Packed]:
    """Chunk by chunk, all that is ready."""
    found = []
    while lanes.ready:
        parcel = take(lanes)
        found.append(parcel.chunk.entries)
        lanes.done(parcel)
    return found


def test_joining_ends_at_its_bound_but_a_larger_chunk_goes_alone() -> None:
    lanes = Lanes(join_bytes=4)
    lanes.push(ticket("a", b"0"))
    first = take(lanes)
    for entries in (b"123456", b"12", b"34", b"5"):
        lanes.push(ticket("a", entries))
    lanes.done(first)
    assert sent(lanes) == [b"123456", b"1234", b"5"]


def test_large_chunks_are_not_copied_into_one() -> None:
    lanes = Lanes(join_bytes=100, alone_bytes=3)
    lanes.push(ticket("a", b"0"))
    first = take(lanes)
    for entries in (b"123", b"4", b"5", b"678", b"9"):
        lanes.push(ticket("a", entries))
    lanes.done(first)
    assert sent(lanes) == [b"123", b"45", b"678", b"9"]


def test_a_parcel_to_be_tried_again_is_the_same_and_the_next_of_its_lane() -> None:
    lanes = Lanes()
    lanes.push(ticket("a", b"1"))
    failed = take(lanes)
    lanes.push(ticket("a", b"2"))
    lanes.push(ticket("b", b"3"))
    other = take(lanes)
    assert other.tag == "b"
    assert lanes.take() is None
    lanes.again(failed)
    assert take(lanes) is failed
    lanes.done(failed)
    assert take(lanes).chunk.entries == b"2"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("push", "fail", "done"))), max_size=80))
def test_every_chunk_is_sent_once_in_order_of_its_tag(steps: list[tuple[str, str]]) -> None:
    lanes = Lanes(join_bytes=8)
    pushed: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    sent: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    under_way: dict[str, Parcel] = {}
    for number, (tag, step) in enumerate(steps):
        if step == "push":
            pushed[tag].append(number)
            lanes.push(ticket(tag, number.to_bytes(2, "big")))
        while (parcel := lanes.take()) is not None:
            assert parcel.tag not in under_way
            under_way[parcel.tag] = parcel
        if step == "fail" and tag in under_way:
            lanes.again(under_way.pop(tag))
        if step == "done" and tag in under_way:
            parcel = under_way.pop(tag)
            entries = parcel.chunk.entries
            sent[tag] += [int.from_bytes(entries[at : at + 2], "big") for at in range(0, len(entries), 2)]
            lanes.done(parcel)
    for tag, numbers in sent.items():
        assert numbers == pushed[tag][: len(numbers)]


def of_file(start: int, end: int, *, inode: int = 7, **more: Any) -> Ticket:
    """A chunk of a file whose stretches are kept in `KEPT`."""
    name = chunk_id(inode, start, end)
    stretch = Stretch("tail.0", FileKey(1, inode), start, end, end, name, 0, behind=start)
    stretch = replace(stretch, keeping=KEPT.append, **more)
    chunk = Chunk(chunk_id(name), "a", str(end).encode(), 1, "tail.0", 0, stretch=stretch)
    return Ticket(chunk, 1, 2)


KEPT: list[Stretch] = []


def parcels(*tickets: Ticket) -> list[tuple[Packed, tuple[int, int] | None]]:
    """What waits behind a chunk that is being sent: entries and what is kept before they are."""
    lanes = Lanes()
    lanes.push(ticket("a", b"0"))
    first = take(lanes)
    for one in tickets:
        lanes.push(one)
    lanes.done(first)
    found = []
    while lanes.ready:
        KEPT.clear()
        chunk = (parcel := take(lanes)).chunk
        assert ([chunk.stretch] if chunk.stretch else []) == KEPT
        found.append((chunk.entries, (KEPT[0].start, KEPT[0].end) if KEPT else None))
        lanes.done(parcel)
    return found


def test_what_is_read_of_a_file_is_joined_as_far_as_it_can_be_read_again_in_one_go() -> None:
    far = 20 + PORTION_BYTES
    tickets = [
        of_file(0, 1), of_file(1, 2), of_file(5, 6, behind=2), of_file(8, 9, behind=7),
        of_file(9, 9, began=(5,)), of_file(9, 10), of_file(10, 11, ended=True),
        of_file(20, far), of_file(far, far + 1),
    ]  # fmt: skip
    assert [one for _, one in parcels(*tickets)] == [
        (0, 6), (8, 9), (9, 9), (9, 10), (10, 11), (20, far), (far, far + 1)
    ]  # fmt: skip


def test_the_id_of_joined_ones_says_which_bytes_they_are() -> None:
    def joined(*tickets: Ticket) -> bytes:
        return join([one.chunk for one in tickets]).id

    whole = joined(of_file(0, 1), of_file(1, 2), of_file(2, 3))
    assert whole == joined(of_file(0, 1), of_file(1, 3))
    assert whole not in (joined(of_file(0, 1), of_file(1, 2)), joined(of_file(0, 3)))


def test_what_was_sent_before_a_restart_goes_alone_again() -> None:
    tickets = [of_file(0, 1, was_sent=True), of_file(1, 2, was_sent=True), of_file(2, 3), of_file(3, 4)]
    assert [one for _, one in parcels(*tickets)] == [(0, 1), (1, 2), (2, 4)]
    other = of_file(0, 1, inode=8), of_file(4, 5, was_sent=True)
    assert [one for _, one in parcels(*other)] == [(0, 1), (4, 5)]


def test_of_several_files_or_tags_they_are_joined_but_not_kept() -> None:
    assert parcels(of_file(0, 1), of_file(1, 2, generation=1)) == [(b"12", None)]
    files = [of_file(0, 1), of_file(0, 2, inode=8), of_file(1, 3)]
    assert parcels(*files) == [(b"123", None)]
    divided = [of_file(0, 1, is_divided=True), of_file(1, 2, is_divided=True)]
    assert parcels(*divided) == [(b"12", None)]
    assert parcels(divided[0]) == [(b"1", (0, 1))]
    assert parcels(of_file(0, 1), ticket("a", b"x")) == [(b"1x", None)]


def at(one: Ticket, path: str) -> Ticket:
    assert one.chunk.stretch is not None
    return replace(one, chunk=replace(one.chunk, position=Position(one.chunk.stretch.file, path, 0)))


def test_files_of_one_log_are_not_joined_as_their_border_would_take_the_ids_away() -> None:
    rotated, truncated = of_file(0, 1, inode=8), of_file(0, 2, inode=8, generation=1)
    of_one = (at(one, "/a.log") for one in (of_file(0, 1), of_file(1, 3), rotated, truncated))
    assert [one for _, one in parcels(*of_one)] == [(0, 3), (0, 1), (0, 2)]
    assert parcels(at(of_file(0, 1), "/a.log"), at(rotated, "/b.log")) == [(b"11", None)]

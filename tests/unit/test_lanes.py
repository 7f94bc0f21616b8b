"""Lanes: order within a tag, joining, turns between tags."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.delivery.chunk import Chunk, Packed, chunk_id
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

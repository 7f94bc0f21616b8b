"""What is remembered of a chunk between attempts, and how a part of it is rejected."""

from __future__ import annotations

import asyncio

import pytest

from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from collector.outputs.parts import Parts, TooLarge, in_halves, rejection
from collector.plugin import Rejected
from tests.unit.chunks import chunk_of


def test_the_oldest_is_forgotten() -> None:
    parts: Parts[int] = Parts(2)
    for number in range(3):
        parts.keep(bytes([number]), number)
    assert [parts.take(bytes([number])) for number in range(3)] == [None, 1, 2]
    assert parts.take(b"\1") is None


def test_a_part_of_a_chunk_is_rejected_with_its_entries() -> None:
    chunk = chunk_of({"n": 0}, {"n": 1}, {"n": 2})
    some = rejection(chunk, [2, 0], "127.0.0.1:9200", "400 x")
    assert str(some) == "127.0.0.1:9200 refused 2 of 3 records: 400 x"
    assert (some.entries, some.records) == (chunk_of({"n": 0}, {"n": 2}).entries, 2)
    whole = rejection(chunk, [0, 1, 2], "x", "y")
    assert (whole.entries, whole.records) == (b"", 0)


def delivered(chunk: Chunk, most: int, poison: int = -1) -> tuple[list[int], Rejected | None]:
    """What a receiver gets that takes so many records at a time, and one number never."""
    taken: list[int] = []

    async def deliver(part: Chunk) -> None:
        numbers = [dict(pairs)["n"] for _, pairs in unpack_entries(part.entries)]
        assert len(numbers) == part.records
        if part.records > most or poison in numbers:
            raise TooLarge("413")
        taken.extend(numbers)

    try:
        asyncio.run(in_halves(deliver, chunk))
    except Rejected as reason:
        return taken, reason
    return taken, None


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_what_is_too_large_goes_in_halves(most: int) -> None:
    assert delivered(chunk_of(*({"n": number} for number in range(13))), most) == (list(range(13)), None)


def test_a_record_that_is_too_large_is_rejected_alone() -> None:
    taken, reason = delivered(chunk_of(*({"n": number} for number in range(13))), 100, poison=5)
    assert taken == [number for number in range(13) if number != 5]
    assert reason is not None
    assert (reason.records, reason.entries) == (1, chunk_of({"n": 5}).entries)
    taken, reason = delivered(chunk_of({"n": 5}), 100, poison=5)
    assert taken == []
    assert reason is not None
    assert reason.records == 0

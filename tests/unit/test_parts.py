"""What is remembered of a chunk between attempts, and how a part of it is rejected."""

from __future__ import annotations

from collector.outputs.parts import Parts, rejection
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

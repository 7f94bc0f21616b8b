"""Chunks of a portion: ids that say where records come from, positions that move in one step."""

from __future__ import annotations

from collector.delivery.chunk import FileKey, Position
from collector.filters.chain import Tagged
from collector.inputs.made_chunks import chunks

BEFORE, AFTER = Position(FileKey(1, 2), "/x", 10), Position(FileKey(1, 2), "/x", 20)
PARTS = [Tagged("a", b"1", 1), Tagged("b", b"22", 2), Tagged("c", b"333", 3)]


def test_the_last_carries_the_new_position_and_what_was_read() -> None:
    made = chunks("tail.0", PARTS, (7,), before=BEFORE, after=AFTER, raw_bytes=10)
    assert [(one.tag, one.records, one.position, one.raw_bytes) for one in made] == [
        ("a", 1, BEFORE, 0),
        ("b", 2, BEFORE, 0),
        ("c", 3, AFTER, 10),
    ]
    assert {one.source for one in made} == {"tail.0"}


def test_ids_are_the_same_for_the_same_place() -> None:
    ids = [one.id for one in chunks("tail.0", PARTS, (7, "x"), (8,))]
    assert ids == [one.id for one in chunks("tail.1", PARTS, (7,), ("x", 8))]
    assert len(set(ids)) == 3
    assert not set(ids) & {one.id for one in chunks("tail.0", PARTS, (9,))}


def test_nothing_makes_no_chunk() -> None:
    assert chunks("tail.0", [], (7,), after=AFTER) == []

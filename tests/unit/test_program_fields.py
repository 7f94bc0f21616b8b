"""collector.program_fields: the rows are what the encoder tells of a program."""

from __future__ import annotations

from collector.native.event_kinds import Kind
from collector.program_fields import parent_fields, program_fields
from collector.records import EVENT_FIELDS
from tests.native.test_programs import NAMES
from tests.reference.event_records import SHIPPED

LABELS = {Kind(kind).label for kind in SHIPPED}


def test_the_rows_are_those_of_the_encoder() -> None:
    rows = program_fields(("fork",))
    assert [row.name for row in rows] == [f"process.{name}" for name in NAMES]
    assert not any(row.always for row in rows)


def test_the_parents_rows_are_the_same() -> None:
    names = [f"process.parent.{name}" for name in NAMES]
    assert [row.name for row in parent_fields(("exec",))] == names
    assert [row.name for row in EVENT_FIELDS if row.name in names] == names


def test_each_kind_has_each_row_once() -> None:
    """A session's start has none: the exec that follows tells it."""
    for name in NAMES:
        told = [kind for row in EVENT_FIELDS if row.name == f"process.{name}" for kind in row.kinds]
        assert sorted(told) == sorted(LABELS - {"session-start"})

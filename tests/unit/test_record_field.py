"""collector.record_field: a row says when a record has the field."""

from __future__ import annotations

from collector.record_field import ECS, OWN, RecordField, always


def test_a_field_that_is_always_there_is_marked() -> None:
    assert always("a.b", "long", ("exec",), "Meaning.") == RecordField(
        "a.b", "long", ("exec",), "Meaning.", ECS, always=True
    )
    assert always("a.b", "long", ("exec",), "Meaning.", OWN).origin == OWN
    assert not RecordField("a.b", "long", ("exec",), "Meaning.").always

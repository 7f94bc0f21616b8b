"""collector.record_field: how a row is written."""

from __future__ import annotations

from collector.record_field import ECS, OWN, RecordField, always


def test_a_row_is_ecs_and_may_lack_unless_it_says_otherwise() -> None:
    row = RecordField("process.tty.char_device.major", "long", ("exec",), "The terminal.")
    assert (row.origin, row.always) == (ECS, False)


def test_what_is_always_there() -> None:
    row = always("podwitness.cgroup_id", "long", ("exec",), "The cgroup.", OWN)
    assert row == RecordField("podwitness.cgroup_id", "long", ("exec",), "The cgroup.", OWN, always=True)

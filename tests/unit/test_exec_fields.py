"""collector.exec_fields: rows of execs and sessions. That the encoder writes them is in test_records.py."""

from __future__ import annotations

from collector.exec_fields import EXEC_FIELDS, SESSION
from collector.record_field import ECS, OWN


def test_rows_are_of_programs_and_sessions_only() -> None:
    assert {kind for row in EXEC_FIELDS for kind in row.kinds} == {"exec", "running", *SESSION}


def test_what_ecs_has_no_name_for_is_below_podwitness() -> None:
    for row in EXEC_FIELDS:
        assert row.origin == (OWN if row.name.startswith("podwitness.") else ECS), row.name

"""collector.privilege_fields: its kinds are those of the kernel's records."""

from __future__ import annotations

from collector.native.event_kinds import Kind
from collector.privilege_fields import CALLED, HAPPENED, PRIVILEGE, PRIVILEGE_FIELDS
from probes.syscalls import CALLS


def test_kinds_are_those_of_the_calls_and_of_what_happens_without() -> None:
    assert set(CALLED) == {Kind(call.kind).label for call in CALLS}
    assert set(HAPPENED) == {"oom-kill", "cgroup-attach"}
    assert len(set(PRIVILEGE)) == len(PRIVILEGE)


def test_every_field_is_below_privilege_and_of_known_kinds() -> None:
    for field in PRIVILEGE_FIELDS:
        assert field.name.startswith("podwitness.privilege.")
        assert set(field.kinds) <= set(PRIVILEGE), field.name

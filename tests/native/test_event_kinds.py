"""collector.native.event_kinds beside the enums of probes/events.h."""

from __future__ import annotations

import pytest
from collector._native import lib

from collector.native.event_kinds import WATCHED, Kind
from tests.kernel.event_layout import LAYOUT


def test_all_kinds_have_a_name() -> None:
    declared = {name: value for name, value in LAYOUT.enums["pw_kind"].items() if name != "PW_KINDS"}
    assert {int(kind) for kind in Kind} == set(declared.values())
    for name, value in declared.items():
        # The names are shorter where the subject goes without saying.
        assert name.endswith(Kind(value).name) or name.startswith(("PW_TCP_", "PW_STATE_"))


@pytest.mark.parametrize("kind", Kind)
def test_subject_is_that_of_the_ring_that_it_comes_by(kind: Kind) -> None:
    assert (kind.subject == "network") == bool(lib.pw_kind_is_flow(kind))
    assert (kind.subject == "cgroup") == (kind in (Kind.CGROUP_MKDIR, Kind.CGROUP_RMDIR))


def test_watched_are_all_kinds_of_files() -> None:
    assert set(WATCHED) == {kind for kind in Kind if kind.label.startswith("file-")}

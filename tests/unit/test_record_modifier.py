"""record_modifier: pairs appended, keys removed or kept; folded where it is constant."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.schema import InvalidConfiguration
from collector.entries import Pairs, unpack_entries
from collector.filters import record_modifier
from collector.filters.record_modifier import RecordModifier, Settings
from collector.identity.identity import Identity
from collector.plan import CRI_JOINED_LAYOUT, EventPlan, Framing, LogPlan
from collector.plugin import LogSource
from tests.reference.plan import encode
from tests.unit.filtering import SectionText, make, pairs_of

RECORD: Pairs = [("Host", "x"), ("hostname", "y"), ("log", "z"), (7, "number")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Record a b\nRecord host "two words"', [*RECORD, ("a", "b"), ("host", "two words")]),
        ("Remove_key host", [("hostname", "y"), ("log", "z"), (7, "number")]),
        ("Remove_key HOST*", [("log", "z"), (7, "number")]),
        ("Allowlist_key log\nWhitelist_key host", [("Host", "x"), ("log", "z")]),
        ("Allowlist_key log\nRecord a b", [("log", "z"), ("a", "b")]),
    ],
)
def test_keys(tmp_path: Path, text: str, expected: Pairs) -> None:
    assert pairs_of(make(record_modifier, SectionText(tmp_path, text)), RECORD) == [expected]


def test_a_record_that_nothing_is_left_of_is_dropped(tmp_path: Path) -> None:
    one = make(record_modifier, SectionText(tmp_path, "Remove_key *"))
    assert pairs_of(one, [("a", 1)], [(7, 1)], []) == [[(7, 1)], []]
    more = make(record_modifier, SectionText(tmp_path, "Allowlist_key b\nUuid_key id"))
    assert len(pairs_of(more, [("a", 1)])) == 1


def test_a_uuid_for_each_record(tmp_path: Path) -> None:
    found = pairs_of(make(record_modifier, SectionText(tmp_path, "Uuid_key id")), [("a", 1)], [("a", 2)])
    ids = {uuid.UUID(dict(record)["id"]) for record in found}
    assert len(ids) == 2


def test_removing_and_keeping_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="has both Remove_key and Allowlist_key"):
        SectionText(tmp_path, "Remove_key a\nAllowlist_key b").settings(record_modifier)


SOURCE = LogSource("t", "/log", None)


def test_what_removes_or_numbers_records_has_to_see_them() -> None:
    plan = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)
    for settings in (Settings(remove_key=("a",)), Settings(allowlist_key=("a",)), Settings(uuid_key="id")):
        assert RecordModifier(settings, lambda tag: True).fold_log(plan, SOURCE) is None
    one = RecordModifier(Settings(record=(("event", "x"),)), lambda tag: True)
    assert one.fold_event(EventPlan(), "t", Identity("node")) is None


NAMES = st.sampled_from(["log", "stream", "time", "a", "b"])


@given(st.lists(st.tuples(NAMES, st.text(max_size=3)), max_size=5))
def test_folded_is_applied(pairs: list[tuple[str, str]]) -> None:
    one = RecordModifier(Settings(record=tuple(pairs)), lambda tag: True)
    plan = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)
    folded = one.fold_log(plan, SOURCE)
    assert folded is not None
    line = b"2026-11-24T01:02:03Z stdout F hello\n"
    ((_, plain),) = unpack_entries(encode(line, plan, 0, 1 << 20).entries)
    ((_, made),) = unpack_entries(encode(line, folded, 0, 1 << 20).entries)
    assert made == one.apply("t", plain, None)

"""grep: each way to join rules, and values that are no texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.config.schema import InvalidConfiguration
from collector.entries import Pairs
from collector.filters import grep
from tests.unit.filtering import SectionText, make, pairs_of

RECORDS: list[Pairs] = [
    [("log", "error: disk"), ("n", 1)],
    [("log", "error: net"), ("n", 2)],
    [("log", "fine"), ("n", 3)],
    [("other", "error"), ("n", 4)],
    [("log", 5), ("n", 5)],
    [("log", {"inner": "error"}), ("n", 6)],
]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Regex log ^error", [1, 2]),
        ("Exclude log ^error", [3, 4, 5, 6]),
        ("Exclude log net$\nExclude log fine", [1, 4, 5, 6]),
        ("Exclude log net$\nRegex log error", [1]),
        # Rules behind a Regex are not looked at, as in Fluent Bit.
        ("Regex log error\nExclude log net$", [1, 2]),
        ("Regex log error\nRegex log net", [1, 2]),
        ("Logical_Op legacy\nRegex log net\nRegex log error", [2]),
        ("Logical_Op AND\nRegex log error\nRegex log net", [2]),
        ("Logical_Op or\nRegex log net\nRegex log fine", [2, 3]),
        ("Logical_Op AND\nExclude log error\nExclude log net", [1, 3, 4, 5, 6]),
        ("Logical_Op OR\nExclude log net\nExclude log fine", [1, 4, 5, 6]),
        ("Regex $log['inner'] error", [6]),
        ("Regex log /ERROR/i", [1, 2]),
        ("Regex log error: (disk|net)", [1, 2]),
    ],
)
def test_rules(tmp_path: Path, text: str, kept: list[int]) -> None:
    found = pairs_of(make(grep, SectionText(tmp_path, text)), *RECORDS)
    assert [dict(record)["n"] for record in found] == kept


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Logical_Op AND", "has neither Regex nor Exclude"),
        ("Logical_Op AND\nRegex a b\nExclude c d", "has Regex and Exclude, which Logical_Op AND can't join"),
        ("Regex log", "expected a key and a regular expression"),
        ("Regex log (?<=x)y", "looks behind, whose time has no bound"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        SectionText(tmp_path, text).settings(grep)


def test_a_pattern_that_could_run_away_does_not(tmp_path: Path) -> None:
    """(a+)+$ takes a backtracking engine 2^50 steps here; RE2 takes one for each byte."""
    one = make(grep, SectionText(tmp_path, "Exclude log ^(a+)+$"))
    assert pairs_of(one, [("log", "a" * 50_000 + "b")]) == [[("log", "a" * 50_000 + "b")]]

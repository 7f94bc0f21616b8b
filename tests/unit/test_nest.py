"""nest and lift, as Fluent Bit's documentation shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.config.schema import InvalidConfiguration
from collector.entries import Pairs
from collector.filters import nest
from tests.unit.filtering import SectionText, make, pairs_of

MEMORY: Pairs = [("Mem.total", 8), ("other", "x"), ("Mem.used", 3), (5, "n")]


@pytest.mark.parametrize(
    ("text", "record", "expected"),
    [
        (
            "Operation nest\nWildcard Mem.*\nNest_under Memstats",
            MEMORY,
            [("other", "x"), (5, "n"), ("Memstats", {"Mem.total": 8, "Mem.used": 3})],
        ),
        (
            "Operation nest\nWildcard Mem.*\nNest_under Memstats\nRemove_prefix Mem.",
            MEMORY,
            [("other", "x"), (5, "n"), ("Memstats", {"total": 8, "used": 3})],
        ),
        (
            "Operation nest\nWildcard other\nWildcard none\nNest_under under\nAdd_prefix p_",
            MEMORY,
            [("Mem.total", 8), ("Mem.used", 3), (5, "n"), ("under", {"p_other": "x"})],
        ),
        ("Operation nest\nWildcard none*\nNest_under under", MEMORY, MEMORY),
        (
            "Operation lift\nNested_under Stats\nAdd_prefix S.",
            [("Stats", {"a": 1, "b": {"c": 2}}), ("x", 1)],
            [("x", 1), ("S.a", 1), ("S.b", {"c": 2})],
        ),
        ("Operation lift\nNested_under Stats\nRemove_prefix s_", [("Stats", {"s_a": 1})], [("a", 1)]),
        (
            "Operation lift\nNested_under Stats",
            [("Stats", "no map"), ("x", 1)],
            [("Stats", "no map"), ("x", 1)],
        ),
        (
            "Operation lift\nNested_under S",
            [("S", {"a": 1}), ("S", 5), ("S", {"a": 2})],
            [("S", 5), ("a", 1), ("a", 2)],
        ),
    ],
)
def test_operations(tmp_path: Path, text: str, record: Pairs, expected: Pairs) -> None:
    assert pairs_of(make(nest, SectionText(tmp_path, text)), record) == [expected]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Operation nest\nWildcard a", "needs Wildcard and Nest_under"),
        ("Operation lift", "needs Nested_under"),
        (
            "Operation lift\nNested_under a\nAdd_prefix b\nRemove_prefix c",
            "has both Add_prefix and Remove_prefix",
        ),
        ("Nested_under a", "needs the key Operation"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        SectionText(tmp_path, text).settings(nest)

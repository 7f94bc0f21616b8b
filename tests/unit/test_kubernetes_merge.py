"""Merge_Log by a parser, and keys that meet (collector.filters.kubernetes_merge)."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.filters.kubernetes_merge import joined, trimmed
from collector.record import Record
from tests.kubernetes_filter import WEB_TAG, House

SAFE = ("Compat", "safe")


def test_parser_gives_the_time(tmp_path: Path) -> None:
    on = ("Merge_Log", "On"), ("Merge_Parser", "timed"), ("Keep_Log", "Off")
    house = House(tmp_path, *on)
    made = house.filter.apply_batch(
        WEB_TAG,
        [Record([("log", "1700000000 hello\\n\n")], 7), Record([("log", '{"a":1}')], 8)],
        None,
        lambda *_: None,
    )
    assert (made[0].time_ns, made[0].pairs[0]) == (1_700_000_000 * 10**9, ("rest", "hello"))
    # What the parser does not know stays: JSON is not tried then.
    assert (made[1].time_ns, made[1].pairs[0]) == (8, ("log", '{"a":1}'))


def test_safe_has_no_key_twice(tmp_path: Path) -> None:
    house = House(tmp_path, SAFE, ("Merge_Log", "On"))
    log = '{"stream":"x","log":1,"log_log":2,"kubernetes":3,"a":4}'
    made = house.apply(WEB_TAG, [("stream", "stdout"), ("log", log)])
    assert made is not None
    keys = [key for key, _ in made]
    assert keys == [
        "stream",
        "log",
        "log_stream",
        "log_log",
        "log_log_log",
        "kubernetes",
        "a",
        "log_kubernetes",
    ]
    assert house.misses("renamed") == 1
    assert house.fold(WEB_TAG) is None
    assert House(tmp_path, SAFE).fold(WEB_TAG) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x\n\n", "x"),
        ("x\\n\\r", "x"),
        ("x\\r\n", "x"),
        ("\n", "\n"),
        ("\\n", ""),
        ("x\r", "x\r"),
        ("", ""),
        ("x\\t", "x\\t"),
    ],
)
def test_trimmed(text: str, expected: str) -> None:
    assert trimmed(text) == expected


def test_joined() -> None:
    assert joined([("a", 1)], [("a", 2)], is_unique=False) == ([("a", 1), ("a", 2)], 0)
    assert joined([("a", 1)], [("a", 2), ("b", 3)], is_unique=True) == ([("a", 1), ("log_a", 2), ("b", 3)], 1)

"""Record accessors: which value of a record a configuration names."""

from __future__ import annotations

from typing import Any

import pytest

from collector.accessor import ABSENT, Accessor, Template, names, read

RECORD: list[tuple[Any, Any]] = [
    ("log", "first"),
    ("log", "last"),
    (b"raw", 1),
    ("kubernetes", {"labels": {"app.kubernetes.io/name": "web", "it's": 2}, "list": [{"a": 3}, None]}),
    ("a.b", 4),
    (7, 5),
]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("log", "last"),
        ("$log", "last"),
        ("raw", 1),
        ("a.b", 4),
        ("7", ABSENT),
        ("none", ABSENT),
        ("$kubernetes['labels']['app.kubernetes.io/name']", "web"),
        (r"$kubernetes['labels']['it\'s']", 2),
        ("$kubernetes['list'][0]['a']", 3),
        ("$kubernetes['list'][1]", None),
        ("$kubernetes['list'][2]", ABSENT),
        ("$kubernetes['list']['a']", ABSENT),
        ("$kubernetes[0]", ABSENT),
        ("$log['a']", ABSENT),
        ("kubernetes['labels']", ABSENT),
    ],
)
def test_values(written: str, value: Any) -> None:
    assert read(written).value(RECORD) is value or read(written).value(RECORD) == value


@pytest.mark.parametrize("written", ["$", "$a.b", "$a[b]", "$a['b'", "$a['b']c", "$a[-1]", "$a b", "$$a"])
def test_refused(written: str) -> None:
    with pytest.raises(ValueError, match="nested keys as in"):
        read(written)


def test_names_are_compared_as_text_or_bytes() -> None:
    assert names("é", "é")
    assert names("é".encode(), "é")
    assert names(b"\xff", "\udcff")
    assert not names(1, "1")
    assert not names(None, "None")


def test_it_is_a_value() -> None:
    assert read("$a['b'][1]") == Accessor("a", ("b", 1))


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("app", "app"),
        ("app.$log.$TAG[1]", "app.last.b"),
        ("$TAG", "a.b"),
        ("$kubernetes['labels']['app.kubernetes.io/name']-$log", "web-last"),
        ("$none", None),
        ("$TAG[2]", None),
        ("$kubernetes", None),
        ("100$", "100$"),
        ("$raw", "1"),
    ],
)
def test_a_template(written: str, filled: str | None) -> None:
    assert Template.read(written).fill("a.b", RECORD) == filled
    assert Template.read(written).is_constant == ("$" not in written.rstrip("$"))

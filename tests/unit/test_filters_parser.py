"""The filter parser: which keys stay, in which order, and whose time counts."""

from __future__ import annotations

import calendar
from pathlib import Path

import pytest

from collector.config.parsers import Parser
from collector.config.schema import InvalidConfiguration
from collector.entries import Pairs
from collector.errors import ConfigError
from collector.filters import parser
from tests.unit.filtering import TIME_NS, SectionText, make, pairs_of, through

LINE = '1.2.3.4 - bob [10/Oct/2000:13:55:36 -0700] "GET /a%20b HTTP/1.0" 200 2326'
FOUND: Pairs = [
    ("host", "1.2.3.4"),
    ("user", "bob"),
    ("method", "GET"),
    ("path", "/a%20b"),
    ("code", "200"),
    ("size", "2326"),
]
LINE_NS = calendar.timegm((2000, 10, 10, 20, 55, 36)) * 10**9
RECORD: Pairs = [("a", 1), ("log", LINE), ("z", 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", FOUND),
        ("Reserve_Data On", [*FOUND, ("a", 1), ("z", 2)]),
        ("Preserve_Key On", [*FOUND, ("log", LINE)]),
        ("Reserve_Data On\nPreserve_Key On", [*FOUND, ("a", 1), ("log", LINE), ("z", 2)]),
        ("Parser apache\nReserve_Data On", [*FOUND, ("a", 1), ("z", 2)]),
        ("Nest_Under web", [("web", dict(FOUND))]),
        ("Nest_Under web\nReserve_Data On", [("web", dict(FOUND)), ("a", 1), ("z", 2)]),
    ],
)
def test_what_stays(tmp_path: Path, text: str, expected: Pairs) -> None:
    one = make(parser, SectionText(tmp_path, f"Key_Name log\nParser json\nParser apache2\n{text}"))
    assert through(one, RECORD) == {"a.b": [(LINE_NS, expected)]}


def test_what_no_parser_knows_is_left_as_it_is(tmp_path: Path) -> None:
    one = make(parser, SectionText(tmp_path, "Key_Name log\nParser json"))
    records: list[Pairs] = [RECORD, [("log", 5)], [("other", "{}")]]
    assert through(one, *records) == {"a.b": [(TIME_NS, record) for record in records]}


def test_a_line_of_empty_groups_leaves_nothing(tmp_path: Path) -> None:
    """As in Fluent Bit: it is parsed, and its values are skipped."""
    empty = Parser("empty", "regex", "^(?<a>x*)")
    one = make(parser, SectionText(tmp_path, "Key_Name log\nParser e\nReserve_Data On"), parsers={"e": empty})
    found = through(one, [("log", "z"), ("n", 1)], [("log", "z")])
    assert found == {"a.b": [(TIME_NS, [("n", 1)]), (TIME_NS, [])]}


def test_a_nested_key(tmp_path: Path) -> None:
    one = make(parser, SectionText(tmp_path, "Key_Name $a['b']\nParser json\nReserve_Data On"))
    record: Pairs = [("a", {"b": '{"x": 1}'})]
    assert through(one, record) == {"a.b": [(TIME_NS, [("x", 1), *record])]}


def test_a_parser_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no parser called 'apach'\. Did you mean apache"):
        make(parser, SectionText(tmp_path, "Key_Name log\nParser apach"))
    with pytest.raises(InvalidConfiguration, match="needs the key Parser"):
        SectionText(tmp_path, "Key_Name log").settings(parser)


@pytest.mark.parametrize(
    ("key", "more", "kept"),
    [
        ("log", "", []),
        ("log", "Preserve_Key On", ["log"]),
        ("log", "Reserve_Data On", ["n"]),
        ("log", "Reserve_Data On\nPreserve_Key On", ["log", "n"]),
        # Fluent Bit takes a key away by its plain name only.
        ("$log", "", []),
        ("$log", "Preserve_Key On", []),
        ("$log", "Reserve_Data On", ["log", "n"]),
    ],
)
def test_what_is_kept_besides(tmp_path: Path, key: str, more: str, kept: list[str]) -> None:
    one = make(parser, SectionText(tmp_path, f"Key_Name {key}\nParser json\n{more}"))
    (found,) = pairs_of(one, [("log", '{"a":1}'), ("n", 2)])
    assert [name for name, _ in found] == ["a", *kept]

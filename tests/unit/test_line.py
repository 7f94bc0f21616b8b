"""Parsers at work: which field is the time, what is cast and decoded, what a text of another form gives."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.classic import read
from collector.config.parsers import Parser
from collector.config.schema import load
from collector.config.sections import Draft
from collector.parsers.line import Parsed, text_parser

NOW_NS = 1_700_000_000_000_000_000
TIMED = r"Regex ^(?<time>[^ ]*) (?<n>[^ ]*) (?<m>.*)$"


def parse(folder: Path, lines: str, text: bytes) -> Parsed | None:
    path = folder / "parsers.conf"
    body = "".join(f"    {line.strip()}\n" for line in lines.strip().splitlines())
    path.write_text(f"[PARSER]\n    Name mine\n{body}")
    draft = Draft()
    read(str(path), draft, "test")
    assert not draft.problems
    return text_parser(load(Parser, draft.sections[0])).parse(text, NOW_NS)


@pytest.mark.parametrize(
    ("lines", "text", "pairs", "time_ns"),
    [
        (f"Format regex\n{TIMED}", b"x 5 y", [("time", "x"), ("n", "5"), ("m", "y")], None),
        (f"Format regex\n{TIMED}\nTypes n:integer", b"x 5 y", [("time", "x"), ("n", 5), ("m", "y")], None),
        (f"Format regex\n{TIMED}\nTime_Format %s", b"7 5 y", [("n", "5"), ("m", "y")], 7 * 10**9),
        (
            f"Format regex\n{TIMED}\nTime_Format %s\nTime_Keep On",
            b"7 5 y",
            [("time", "7"), ("n", "5"), ("m", "y")],
            7 * 10**9,
        ),
        (f"Format regex\n{TIMED}\nTime_Format %s", b"x 5 y", [("n", "5"), ("m", "y")], None),
        (
            f"Format regex\n{TIMED}\nTime_Format %s\nTime_Key n",
            b"x 5 y",
            [("time", "x"), ("m", "y")],
            5 * 10**9,
        ),
        (f"Format regex\n{TIMED}", b"x 5 ", [("time", "x"), ("n", "5")], None),
        (
            f"Format regex\n{TIMED}\nSkip_Empty_Values Off",
            b"x 5 ",
            [("time", "x"), ("n", "5"), ("m", "")],
            None,
        ),
        ("Format regex\nRegex ^(?<a>x*)(?<b>y)?", b"z", [], None),
        ("Format regex\nRegex ^(?<a>x*)(?<b>y)?\nSkip_Empty_Values Off", b"z", [("a", ""), ("b", "")], None),
        ("Format json\nTime_Format %s\nTime_Key t", b'{"t": "5", "a": 1}', [("a", 1)], 5 * 10**9),
        ("Format json\nTime_Format %s\nTime_Key t", b'{"t": "x", "a": 1}', [("t", "x"), ("a", 1)], None),
        ("Format json\nTime_Format %s\nTime_Key t", b'{"t": 5}', [("t", 5)], None),
        (
            "Format json\nDecode_Field_As json log\nDecode_Field json more",
            b'{"log": "{\\"a\\":1}", "more": "{\\"b\\":2}"}',
            [("log", {"a": 1}), ("more", '{"b":2}'), ("b", 2)],
            None,
        ),
        (
            "Format json\nTime_Key t\nTime_Format %F %T\nTime_Offset +0200",
            b'{"t": "1970-01-01 02:00:05"}',
            [],
            5 * 10**9,
        ),
        (
            "Format json\nTime_Key t\nTime_Format %FT%T.%L",
            b'{"t": "1970-01-01T00:00:05Z"}',
            [("t", "1970-01-01T00:00:05Z")],
            None,
        ),
        (
            "Format json\nTime_Key t\nTime_Format %FT%T.%L\nTime_Strict Off",
            b'{"t": "1970-01-01T00:00:05Z"}',
            [],
            5 * 10**9,
        ),
        ("Format ltsv\nTime_Format %s", b"time:5\ta:1", [("a", "1")], 5 * 10**9),
        ("Format ltsv\nTypes a:float", b"time:5\ta:1", [("time", "5"), ("a", 1.0)], None),
        ("Format logfmt", b"a b=1", [("a", True), ("b", "1")], None),
        ("Format logfmt\nTypes a:bool b:bool", b"a b=false", [("a", ""), ("b", False)], None),
        ("Format logfmt\nTypes n:int", rb'n=5 s="a\tb" t', [("n", 5), ("s", r"a\tb"), ("t", "")], None),
    ],
)
def test_parsed(tmp_path: Path, lines: str, text: bytes, pairs: Any, time_ns: int | None) -> None:
    assert parse(tmp_path, lines, text) == Parsed(pairs, time_ns)


def test_times_of_the_zone_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-3")  # three hours before UTC, as POSIX writes it
    time.tzset()
    try:
        lines, text = "Format json\nTime_Key t\nTime_Format %F %T", b'{"t": "1970-01-01 03:00:05"}'
        found = [parse(tmp_path, lines + more, text) for more in ("", "\nTime_System_Timezone On")]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [one and one.time_ns for one in found] == [(3 * 3600 + 5) * 10**9, 5 * 10**9]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (f"Format regex\n{TIMED}", b"x"),
        ("Format regex\nRegex ^(?:(?<a>x)|(?<b>y)|z)", b"z"),  # no group took part
        ("Format regex\nRegex ^z", b"z"),
        ("Format json", b"[1]"),
        ("Format ltsv", b""),
        ("Format logfmt", b""),
        ("Format ltsv", b"none"),
        ("Format ltsv\nTime_Format %s", b"time:x\ta:1"),
        ("Format logfmt\nLogfmt_No_Bare_Keys On", b"a=1 b"),
    ],
)
def test_texts_of_another_form(tmp_path: Path, lines: str, text: bytes) -> None:
    assert parse(tmp_path, lines, text) is None


@given(st.binary(max_size=60))
def test_any_bytes_come_out_as_they_went_in(text: bytes) -> None:
    parser = text_parser(Parser("mine", "regex", r"/^(?<a>.*)$/m"))
    found = parser.parse(text, NOW_NS)
    if text:
        assert found is not None
        assert found.pairs[0][1].encode("utf-8", "surrogateescape") in text

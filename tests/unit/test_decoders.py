"""Decode_Field and Decode_Field_As: each decoder, and which rule comes after which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.entries import Pairs
from collector.parsers.decoders import decode, json_object, unescape, unescape_utf8
from collector.parsers.rules import Rule, read_rule


def rules(*written: str) -> list[Rule]:
    """`as json log`: Decode_Field_As json log; `json log`: Decode_Field json log."""
    return [read_rule(one.removeprefix("as "), as_value=one.startswith("as ")) for one in written]


@pytest.mark.parametrize(
    ("text", "plain", "utf8"),
    [
        (rb"a\nb\tc", b"a\nb\tc", b"a\nb\tc"),
        (rb"\"quoted\" \'\/\\n", rb""" "quoted" '/\n""".strip(), rb""" "quoted" '/\n""".strip()),
        (rb"\u00e9\x41\101", b"u00e9x41101", "éAA".encode()),
        (rb"\U0001F600", b"U0001F600", "😀".encode()),
        (b"end\\", b"end\\", b"end\\"),
        (b"\xff", b"\xff", b"\xff"),
    ],
)
def test_escapes(text: bytes, plain: bytes, utf8: bytes) -> None:
    assert unescape(text) == plain
    assert unescape_utf8(text) == utf8


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        (["as json log"], '{"a": 1}', [("log", {"a": 1}), ("z", 1)]),
        (["json log"], '{"a": 1}', [("log", '{"a": 1}'), ("z", 1), ("a", 1)]),
        (["as json log"], r"{\"a\": 1}", [("log", {"a": 1}), ("z", 1)]),
        (["as json log"], r'{"a": "x\"\n"}', [("log", {"a": 'x"\n'}), ("z", 1)]),
        (["as json log"], '[1, {"a": 2}]', [("log", [1, {"a": 2}]), ("z", 1)]),
        (["as json log"], '[1], "b": [2]', [("log", '[1], "b": [2]'), ("z", 1)]),
        (["json log"], "[1]", [("log", "[1]"), ("z", 1)]),
        (["escaped log"], r"a\nb", [("log", r"a\nb"), ("z", 1)]),
        (["as json log"], "no json", [("log", "no json"), ("z", 1)]),
        (["as escaped log"], r"a\nb", [("log", "a\nb"), ("z", 1)]),
        (["as json log try_next", "as escaped log"], r"a\nb", [("log", "a\nb"), ("z", 1)]),
        (["as json log try_next", "as escaped log"], '{"a": 1}', [("log", {"a": 1}), ("z", 1)]),
        (["as escaped_utf8 log do_next", "as json log"], '{"a": 1}', [("log", {"a": 1}), ("z", 1)]),
        (["as mysql_quoted log"], r"'it''s \0'", [("log", "it''s \0"), ("z", 1)]),
        (["as mysql_quoted log"], r"""'\' \" \\ \b'""", [("log", r"""' " \ \b"""), ("z", 1)]),
        (["as json other"], '{"a": 1}', [("log", '{"a": 1}'), ("z", 1)]),
    ],
)
def test_rules(written: list[str], value: str, expected: Pairs) -> None:
    assert decode([("log", value), ("z", 1)], rules(*written)) == expected


def test_what_is_no_text_is_left() -> None:
    assert decode([("log", 5)], rules("as json log")) == [("log", 5)]


@given(st.text(max_size=40))
def test_any_text_passes_any_rules(text: str) -> None:
    for backend in ("json", "escaped", "escaped_utf8", "mysql_quoted"):
        for as_value in (True, False):
            decode([("log", text)], [Rule(as_value, backend, "log", "do_next"), Rule(True, "json", "log")])


def test_json_is_exactly_one_object() -> None:
    assert json_object(b'{"a": [1, {"b": null}]}') == [("a", [1, {"b": None}])]
    for text in (b"[1]", b'{"a": 1} x', b"", b"5"):
        assert json_object(text) is None

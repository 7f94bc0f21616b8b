"""LTSV and logfmt lines, as Fluent Bit takes them apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.parsers.pairs import Found, logfmt, ltsv


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b"host:127.0.0.1\tident:-\treq:GET / HTTP/1.1",
            [(b"host", b"127.0.0.1"), (b"ident", b"-"), (b"req", b"GET / HTTP/1.1")],
        ),
        (b"a:\tb:x:y", [(b"a", b""), (b"b", b"x:y")]),
        (b"a:1\r\nb:2", [(b"a", b"1")]),
        (b"a:1\nb:2", [(b"a", b"1")]),
        (b":1\tb:2", [(b"b", b"2")]),
        (b"a:1\tb c:2", [(b"a", b"1")]),
        (b"no pair", []),
        (b"", []),
        (b"a:\xff\xfe", [(b"a", b"\xff\xfe")]),
    ],
)
def test_ltsv(line: bytes, expected: Found) -> None:
    assert ltsv(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'level=info msg="a b" n=3', [(b"level", b"info"), (b"msg", b"a b"), (b"n", b"3")]),
        (b"bare other= last", [(b"bare", True), (b"other", True), (b"last", True)]),
        (b'empty="" x=1', [(b"empty", b""), (b"x", b"1")]),
        (rb'say="a \"b\" \n\t\u00e9"', [(b"say", b'a "b" \n\t\xc3\xa9')]),
        (b'open="never closed', [(b"open", b"never closed")]),
        (b"a=1\nb=2", [(b"a", b"1")]),
        (b'"garbage" =x k=v', [(b"garbage", True), (b"x", True), (b"k", b"v")]),
        (b"", []),
        (b' = "', []),
    ],
)
def test_logfmt(line: bytes, expected: Found) -> None:
    assert logfmt(line) == expected


def test_a_bare_key_fails_the_line_when_none_may_be() -> None:
    assert logfmt(b"a=1 bare b=2", no_bare_keys=True) is None
    assert logfmt(b"a=1 b=", no_bare_keys=True) == [(b"a", b"1"), (b"b", True)]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_and_keys_are_not_empty(line: bytes) -> None:
    for found in (ltsv(line), logfmt(line) or []):
        assert all(key for key, _ in found)


KEYS = st.text("abcXYZ019_.-", min_size=1, max_size=8)
VALUES = st.text(st.characters(blacklist_categories=["Cc", "Cs"], blacklist_characters='"\\'), max_size=12)


@given(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=6))
def test_what_is_written_is_read_back(pairs: list[tuple[str, str]]) -> None:
    line = "\t".join(f"{key}:{value}" for key, value in pairs)
    assert ltsv(line.encode()) == [(key.encode(), value.encode()) for key, value in pairs]
    line = " ".join(f'{key}="{value}"' for key, value in pairs)
    assert logfmt(line.encode()) == [(key.encode(), value.encode()) for key, value in pairs]

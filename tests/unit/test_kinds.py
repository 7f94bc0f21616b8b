"""How values are split and shown. How each kind reads is in test_schema.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.kinds import (
    Kind,
    boolean,
    commas,
    compile_glob,
    integer,
    repeated,
    repeated_list,
    seconds,
    shown,
    size_bytes,
    split_quoted,
    text,
    words,
)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("", ()),
        ("a", ("a",)),
        ("  a \t b ", ("a", "b")),
        ('key "a value"', ("key", "a value")),
        ("'a key' 'it\\'s' x", ("a key", "it's", "x")),
        ('"\\d \\" \\\\"', ('\\d " \\',)),
        ("'\\d \\\" \\\\'", ('\\d \\" \\',)),
        ('a"b c"d', ('a"b', 'c"d')),
        ('"" x', ("", "x")),
        ("^\\d+$ x\\y", ("^\\d+$", "x\\y")),
    ],
)
def test_quoted_words(written: str, found: tuple[str, ...]) -> None:
    assert split_quoted(written) == found


@pytest.mark.parametrize("written", ['"', 'a "b', '"a"b', "'a", '"a\\"'])
def test_quotes_that_do_not_close(written: str) -> None:
    with pytest.raises(ValueError, match="expected every quote to be closed"):
        split_quoted(written)


@given(st.lists(st.text(alphabet="ab \"'\\", max_size=6), max_size=5))
def test_quoting_is_undone(parts: list[str]) -> None:
    quoted = ['"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts]
    assert split_quoted(" ".join(quoted)) == tuple(parts)


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        (boolean, True, "On"),
        (boolean, False, "Off"),
        (seconds, 0.5, "0.5"),
        (seconds, None, ""),
        (size_bytes, 32000, "32000"),
        (integer, 5, "5"),
        (text, None, ""),
        (words, ("a", "b"), "a b"),
        (commas, ("a", "b"), "a, b"),
        (repeated(text), (), ""),
        (repeated(boolean), (True, False), "On, Off"),
        (repeated_list(commas), ("a", "b"), "a, b"),
    ],
)
def test_defaults_are_shown_as_they_would_be_written(kind: Kind[Any], value: Any, written: str) -> None:
    assert kind.show(value) == written


def test_messages_quote_values_without_what_a_terminal_obeys() -> None:
    assert shown("a\\d \x1b[31m\n'é") == "'a\\d \\x1b[31m\\n'é'"


@given(st.text(alphabet="a.*[\n", max_size=8), st.text(alphabet="a.[\n", max_size=8))
def test_a_star_stands_for_any_text(written: str, text: str) -> None:
    assert compile_glob(written).fullmatch(written.replace("*", text))
    assert bool(compile_glob(written).fullmatch(text)) is _matches(written, text)


def _matches(written: str, text: str) -> bool:
    if not written:
        return not text
    if written[0] == "*":
        return any(_matches(written[1:], text[start:]) for start in range(len(text) + 1))
    return text[:1] == written[0] and _matches(written[1:], text[1:])

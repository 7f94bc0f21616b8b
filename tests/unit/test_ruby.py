"""Expressions in Ruby's dialect mean the same in Python's engine, or are refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.ruby import compile_glob, compile_regex


@pytest.mark.parametrize(
    ("written", "text", "found"),
    [
        (r"^b$", "a\nb\nc", True),  # lines, not the whole text
        (r"a.b", "a\nb", False),
        (r"/a.b/m", "a\nb", True),
        (r"(?m:a.b)", "a\nb", True),
        (r"/A/i", "xa", True),
        (r"/a  b/x", "ab", True),
        (r"/^a\/b$/", "a/b", True),
        (r"\Aa\z", "a\n", False),
        (r"\Aa\Z", "a\n", True),
        (r"\Aa\Z", "a\n\n", False),
        (r"^\h+$", "09afAF", True),
        (r"^[\h-]+$", "09-af", True),
        (r"^\H$", "a", False),
        (r"^[[:alpha:]_]+$", "ab_", True),
        (r"^[[:digit:]]+$", "12a", False),
        (r"(?<year>[0-9]+)-\k<year>", "12-12", True),
        (r"a++b", "aab", True),
        (r"(?>a+)ab", "aab", False),
        (r"[\[\]]", "]", True),
        (r"[]a]", "]", True),
        (r"(?<!a)b", "ab", False),
        (r"(?<=a)b", "ab", True),
        (r"\\z", "\\z", True),
        (r"[(?<x>)]", "<", True),
    ],
)
def test_meaning(written: str, text: str, found: bool) -> None:
    assert (compile_regex(written).search(text) is not None) is found


def test_groups_keep_their_names() -> None:
    found = compile_regex("(?<time>[^ ]+) (?<message>.*)").search("now hello")
    assert found is not None
    assert found.groupdict() == {"time": "now", "message": "hello"}


@pytest.mark.parametrize(
    "written", ["(", "[a", r"\p{Alpha}", r"(?<a>\g<a>)", r"a\Kb", "[a&&[b]]", "[[:alpha:]", "a**", "[a-z&&d]"]
)
def test_refused(written: str) -> None:
    with pytest.raises(ValueError, match="expected a regular expression"):
        compile_regex(written)


@given(st.text(alphabet="ab[]()^$\\*+?{}|<>:kghzAZ1/ i-", max_size=14))
def test_any_expression_is_compiled_or_refused(written: str) -> None:
    with contextlib.suppress(ValueError):
        compile_regex(written)


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

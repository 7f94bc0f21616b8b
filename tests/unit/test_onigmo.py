"""Ruby's dialect for RE2 (collector.config.onigmo): what is translated, what is refused, what it costs."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.onigmo import compile_onigmo, translate
from tests.reference.ruby import compile_regex


@pytest.mark.parametrize(
    ("written", "text", "found"),
    [
        (r"^(?<time>[^ ]+) (?<rest>.*)$", b"a b c", {"time": b"a", "rest": b"b c"}),
        (r"/(?<a>X+)/i", b"--xxx-", {"a": b"xxx"}),
        (r"/(?<a>a.b)/m", b"a\nb", {"a": b"a\nb"}),
        (r"(?<a>a.b)", b"a\nb", None),
        (r"(?<a>(?m:a.b))", b"a\nb", {"a": b"a\nb"}),
        (r"^(?<a>second)$", b"first\nsecond\nthird", {"a": b"second"}),
        (r"\Asecond", b"first\nsecond", None),
        (r"(?<b>b)|(?<a>a)", b"a", {"b": None, "a": b"a"}),
        (r"^(?:(?<a>x)|(?<a>y)|(?<a>z)) (?<b>.)", b"z 1", {"a": b"z", "b": b"1"}),
        (r"(?<a>x)|(?<a>y)|(?<b>z)", b"z", {"a": None, "b": b"z"}),
        (r"(?<a>\h+)\z", b"xyz 0aF", {"a": b"0aF"}),
        (r"(?<a>end)\Z", b"the end\n", {"a": b"end"}),
        (r"(?<a>[\h:]+)", b"12:ab", {"a": b"12:ab"}),
        (r"(?<a>[[:alpha:]]+[]x-]+)", b"ab]x-", {"a": b"ab]x-"}),
        (r"(?<a>x{,2}y)", b"xxxxy", {"a": b"xxy"}),
        (r"(?<a>a\/b)(?# a comment)", b"a/b", {"a": b"a/b"}),
        (r"/(?<a> a \s  b ) # words/x", b"a b", {"a": b"a b"}),
        (r"(?<a>\xff.)", b"\xff\xfe", {"a": b"\xff\xfe"}),
        (r"(?<a>é.)z", "éßz".encode(), {"a": "éß".encode()}),
        (r"(?<a>\u00e9)", "é".encode(), {"a": "é".encode()}),
        (r"(?<a>[\e\b])", b"\x1b", {"a": b"\x1b"}),
    ],
)
def test_what_is_found(written: str, text: bytes, found: dict[str, bytes | None] | None) -> None:
    pattern = compile_onigmo(written)
    fields = pattern.fields(text)
    assert (None if fields is None else dict(fields)) == found
    assert pattern.is_in(text) == (fields is not None)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (r"(?=a)", "looks ahead"),
        (r"(?<!a)b", "looks behind"),
        (r"(?>a+)b", "conditional or atomic"),
        (r"(a)\1", r"\\1 is not in it"),
        (r"(?<a>x)\k<a>", r"\\k is not in it"),
        (r"a++", "bad repetition operator"),
        (r"[a[bc]]", "sets inside sets"),
        (r"[a&&b]", "sets inside sets"),
        (r"[\H]", "in a set"),
        (r"(?x: a)", "around all of it"),
        (r"(a", r"missing \)"),
        (r"[a", r"missing \]"),
        (r"a{1,5000}", "invalid repetition size"),
    ],
)
def test_what_is_refused_and_why(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_onigmo(written)


def test_a_pattern_that_runs_away_elsewhere_takes_time_in_proportion() -> None:
    pattern = compile_onigmo(r"^(a|a)*(a|aa)+$")

    def cpu_s(letters: int) -> float:
        text = b"a" * letters + b"!"
        start_s = time.process_time()
        for _ in range(5):
            assert not pattern.is_in(text)
        return time.process_time() - start_s

    cpu_s(1000)
    assert cpu_s(400_000) < 40 * max(cpu_s(40_000), 0.001)


PIECES = st.sampled_from(
    [r"a", r"b+", r"[^ab]", r"(?<n>a|b)", r"\d", r"^", r"$", r".", r"\h", r"x*?", r"(?:ab){1,2}", r"\s"]
)


@given(st.lists(PIECES, max_size=5, unique=True).map("".join), st.text("ab1 \nx", max_size=20))
def test_the_same_is_found_as_by_pythons_engine(written: str, text: str) -> None:
    expected = compile_regex(written).search(text)
    assert compile_onigmo(written).span(text.encode()) == (None if expected is None else expected.span())


def test_only_what_needs_characters_is_matched_by_characters() -> None:
    assert translate("a.b")[1] is False
    assert translate("ä.b")[1] is True
    assert translate(r"\p{Greek}")[1] is True

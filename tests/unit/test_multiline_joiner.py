"""Lines into records of several lines (collector.multiline.joiner)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.onigmo import compile_onigmo
from collector.multiline.built_in import NAMES, built_in
from collector.multiline.joiner import LINE_BYTES, Joiner
from collector.multiline.parsers import Ending, MultilineParser, Rule, connected


def rule(before: str, pattern: str, then: str) -> Rule:
    return Rule(tuple(before.split(",")), compile_onigmo(pattern), then)


DATED = MultilineParser(
    "dated", connected([rule("start_state", r"^\d+ ", "cont"), rule("cont", r"^\s", "cont")])
)
LAST = MultilineParser(
    "last",
    connected(
        [
            rule("start_state", "^begin", "inside"),
            rule("inside", "^end", "start_state"),
            rule("inside", "^in", "inside"),
        ]
    ),
)


def joined(
    parsers: list[MultilineParser], *lines: str, limit: int = 1 << 20, ends: bool = False
) -> list[str]:
    joiner: Joiner[int] = Joiner(parsers, limit, ends_lines=ends)
    found = [one for number, line in enumerate(lines) for one in joiner.take(line.encode(), number)]
    found += joiner.flush()
    starts = [one.context for one in found]
    assert starts == sorted(starts)
    assert sum(one.lines for one in found) == len(lines)
    return [one.text.decode() for one in found]


def test_lines_that_follow_belong_to_the_first() -> None:
    lines = ("1 a", "  at b", "  at c", "2 d", "alone", "  alone too", "3 e", "  at f")
    assert joined([DATED], *lines) == [
        "1 a\n  at b\n  at c", "2 d", "alone", "  alone too", "3 e\n  at f",
    ]  # fmt: skip


def test_text_that_no_parser_took_apart_ends_with_a_newline() -> None:
    assert joined([DATED], "1 a", " b", "alone", ends=True) == ["1 a\n b\n", "alone\n"]


def test_a_state_that_leads_to_the_start_ends_the_record_at_once() -> None:
    joiner: Joiner[int] = Joiner([LAST], 1000)
    assert joiner.take(b"begin", 1) == []
    assert joiner.take(b"in", 2) == []
    assert [one.text for one in joiner.take(b"end", 3)] == [b"begin\nin\nend"]
    assert joiner.open_context is None


def test_the_parser_of_the_line_before_goes_first() -> None:
    assert joined([DATED, LAST], "begin", "in", "1 a", " b", "begin", "end", "x") == [
        "begin\nin", "1 a\n b", "begin\nend", "x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(b"\\", whole=False, negate=True), ["a\\\nb\\\nc", "d"]),
        (Ending(b"c", whole=False, negate=False), ["a\\\nb\\\nc", "d"]),
        (Ending(b"d", whole=True, negate=False), ["a\\\nb\\\nc\nd"]),
    ],
)
def test_records_by_their_last_line(ending: Ending, expected: list[str]) -> None:
    assert joined([MultilineParser("end", ending=ending)], "a\\", "b\\", "c", "d") == expected


def test_a_record_over_the_bound_is_cut_and_ends() -> None:
    joiner: Joiner[int] = Joiner([DATED], 21 + 2 * LINE_BYTES)
    assert joiner.take(b"1 aaaaaaa", 1) == []
    assert joiner.take(b" bbbbbbb", 2) == []
    assert joiner.open_bytes == 18
    assert [(one.text, one.cut_bytes) for one in joiner.take(b" ccc", 3)] == [(b"1 aaaaaaa\n bbbbbbb\n c", 2)]
    assert [one.text for one in joiner.take(b" ddd", 4)] == [b" ddd"]


def test_what_rules_look_at_may_be_another_field() -> None:
    joiner: Joiner[int] = Joiner([DATED], 1000)
    assert joiner.take(b"first", 1, b"1 x") == []
    assert joiner.take(b"second", 2, b" y") == []
    assert [one.text for one in joiner.flush()] == [b"first\nsecond"]


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["panic: x", "goroutine 1 [x]:", "a.f()", " File x", "Traceback (most recent call last):"]
        ),
        st.sampled_from(["a.BError: x", "\tat y", "Caused by: z", "x:1:in y", "  from x:2:in z", "x: y"]),
        st.sampled_from(["1 a", " b", "begin", "in", "end", "", "\t"]),
        st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"").decode("latin-1")),
    ),
    max_size=40,
)


@given(LINES, st.sampled_from([1, 50, 1 << 20]), st.data())
def test_no_byte_is_lost_whatever_the_lines_are(lines: list[str], limit: int, data: st.DataObject) -> None:
    """All lines come out, in order, with nothing but newlines between; what is cut is counted."""
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    joiner: Joiner[int] = Joiner([*(built_in(name) for name in names), DATED, LAST], limit)
    found = []
    for number, line in enumerate(lines):
        found += joiner.take(line.encode(), number)
        assert joiner.open_bytes <= limit + LINE_BYTES
    found += joiner.flush()
    number = 0
    for one in found:
        own = "\n".join(lines[number : number + one.lines]).encode()
        assert one.context == number
        cut = one.cut_bytes
        assert len(one.text.replace(b"\n", b"")) + cut >= len(own.replace(b"\n", b""))
        assert own.replace(b"\n", b"").startswith(one.text.replace(b"\n", b""))
        number += one.lines
    assert number == len(lines)

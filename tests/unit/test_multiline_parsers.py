"""Rules that know which may follow (collector.multiline.parsers)."""

from __future__ import annotations

import pytest

from collector.config.onigmo import compile_onigmo
from collector.multiline.parsers import START, Ending, MultilineParser, Rule, connected


def rule(before: tuple[str, ...], then: str) -> Rule:
    return Rule(before, compile_onigmo("x"), then)


def test_rules_know_which_may_follow() -> None:
    first, middle, last = rule((START, "again"), "in"), rule(("in",), "in"), rule(("in",), "again")
    parser = MultilineParser("p", connected([first, middle, last]))
    assert parser.starts == (first,)
    assert (first.next, middle.next, last.next) == ((middle, last), (middle, last), ())
    # `again` is a state in which the first rule begins a record: what came before is whole.
    assert (first.ends, middle.ends, last.ends) == (False, False, True)


def test_a_state_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="the state out, which no rule is for"):
        connected([rule((START,), "out")])
    with pytest.raises(ValueError, match="no rule with the state start_state"):
        connected([rule(("in",), "in")])


def test_the_last_line_by_its_text() -> None:
    assert [Ending(b"x", whole=False, negate=False).is_last(line) for line in (b"x", b"ax", b"a")] == [
        1,
        1,
        0,
    ]
    assert [Ending(b"x", whole=True, negate=False).is_last(line) for line in (b"x", b"ax", b"a")] == [1, 0, 0]
    assert [Ending(b"x", whole=False, negate=True).is_last(line) for line in (b"x", b"ax", b"a")] == [0, 0, 1]

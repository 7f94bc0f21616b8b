"""`[MULTILINE_PARSER]` sections and the names of multiline parsers (collector.config.multiline)."""

from __future__ import annotations

import pytest

from collector.config.multiline import (
    MultilineSection,
    check_names,
    multiline_parsers,
    quoted_rule,
    rule_kind,
)
from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section
from collector.multiline.built_in import built_in


def section(*pairs: tuple[str, str]) -> Section:
    entries = tuple(Entry(name, value, "f", number) for number, (name, value) in enumerate(pairs, 2))
    return Section("MULTILINE_PARSER", "f", 1, entries)


RULES = (("rule", r'"start_state"   "/^\d+ \"x\"/"  "cont"'), ("rule", r'"cont" "/^\s/" "cont"'))


def test_a_section_of_fluent_bit() -> None:
    read = load(
        MultilineSection, section(("name", "mine"), ("type", "regex"), ("flush_timeout", "1000"), *RULES)
    )
    parser = read.parsed()
    assert (parser.name, parser.flush_timeout_s) == ("mine", 1.0)
    first, second = parser.rules
    assert (first.before, first.pattern.written, first.then) == (("start_state",), r'/^\d+ "x"/', "cont")
    assert first.next == second.next == (second,)


def test_a_rule_is_quoted_as_it_is_read() -> None:
    parts = ("start_state, other", r'/^\["x\\"\] \d/', "cont")
    rule = rule_kind.read(quoted_rule(*parts))
    assert (rule.before, rule.pattern.written, rule.then) == (("start_state", "other"), parts[1], "cont")


def test_records_by_their_last_line() -> None:
    read = load(
        MultilineSection,
        section(("name", "m"), ("type", "endswith"), ("match_string", "\\"), ("negate", "on")),
    )
    ending = read.parsed().ending
    assert ending is not None
    assert (ending.text, ending.whole, ending.negate) == (b"\\", False, True)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("type", "regex")], "no rule with the state start_state"),
        ([("type", "equal")], "no Match_String"),
        ([("type", "magic")], "expected one of regex"),
        ([("type", "regex"), ("rule", '"start_state" "/x/"')], "three parts"),
        ([("type", "regex"), ("rule", '"start_state" "/(?=x)/" "cont"')], "looks ahead"),
        ([("type", "regex"), ("rule", '"start_state" "/x/" "cont"')], "the state cont, which no rule is for"),
        ([("type", "regex"), *RULES, ("key_group", "pod")], "Key_Group|key_group"),
    ],
)
def test_what_is_wrong_is_named(pairs: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        load(MultilineSection, section(("name", "mine"), *pairs))


def test_names_are_known_or_refused() -> None:
    check_names(("cri", "docker", "java", "mine"), {"mine": built_in("go")})
    with pytest.raises(ValueError, match=r"no multiline parser called 'jave'\. Did you mean java\?"):
        check_names(("jave",), {})


def test_those_that_join_lines_in_their_order() -> None:
    mine = built_in("go")
    assert multiline_parsers(("cri", "python", "java"), {"java": mine}) == (built_in("python"), mine)

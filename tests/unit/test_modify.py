"""`modify`: each rule as Fluent Bit does it, and folded rules equal to applied ones, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.entries import pack_entry, rewrite
from collector.filters.modify import Modify, Settings
from collector.identity.identity import Identity
from collector.plan import EventPlan, Field, Framing, Layout, LogPlan, Op
from collector.plugin import LogSource
from collector.records import TOP_LEVEL_KEYS
from tests.reference import plan as reference

Pairs = list[tuple[Any, Any]]
HOST = Identity(node="n1")
SOURCE = LogSource("kube.x", "/var/log/x.log", None)
LINES = LogPlan(Framing.LINE, Layout())


def modify(*rules: tuple[str, str]) -> Modify:
    entries = tuple(Entry(key, value, "a.conf", line) for line, (key, value) in enumerate(rules, 2))
    return Modify(load(Settings, Section("FILTER", "a.conf", 1, entries)), lambda tag: True)


def applied(record: Pairs, *rules: tuple[str, str]) -> Pairs | None:
    return modify(*rules).apply("kube.x", list(record), None)


RECORD: Pairs = [("a", 1), ("b", "x"), ("c", None), ("b", "y"), ("ab", 2.5)]


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("Set", "b z", [("a", 1), ("c", None), ("ab", 2.5), ("b", "z")]),
        ("Set", "n 'a value'", [*RECORD, ("n", "a value")]),
        ("Add", "b z", RECORD),
        ("Add", "n true", [*RECORD, ("n", "true")]),
        ("Remove", "b", [("a", 1), ("c", None), ("ab", 2.5)]),
        ("Remove", "n", RECORD),
        ("Remove_wildcard", "a", [("b", "x"), ("c", None), ("b", "y")]),
        ("Remove_wildcard", "a*", RECORD),  # the beginning of a name, not a pattern
        ("Remove_regex", "b$", [("a", 1), ("c", None)]),
        ("Rename", "b n", [("a", 1), ("n", "x"), ("c", None), ("n", "y"), ("ab", 2.5)]),
        ("Rename", "b c", RECORD),
        ("Rename", "n m", RECORD),
        ("Hard_rename", "a b", [("b", 1), ("c", None), ("ab", 2.5)]),
        ("Hard_rename", "a n", [("n", 1), ("b", "x"), ("c", None), ("b", "y"), ("ab", 2.5)]),
        ("Hard_rename", "n b", RECORD),
        ("Hard_rename", "a a", [("b", "x"), ("c", None), ("b", "y"), ("ab", 2.5)]),
        ("Copy", "a n", [("a", 1), ("n", 1), ("b", "x"), ("c", None), ("b", "y"), ("ab", 2.5)]),
        ("Copy", "a c", RECORD),
        ("Copy", "b n", RECORD),  # more than one to copy: nothing
        ("Hard_copy", "a c", [("a", 1), ("c", 1), ("b", "x"), ("b", "y"), ("ab", 2.5)]),
        ("Hard_copy", "a n", [("a", 1), ("n", 1), ("b", "x"), ("c", None), ("b", "y"), ("ab", 2.5)]),
        ("Hard_copy", "a b", RECORD),  # more than one to replace: nothing
        ("Hard_copy", "b n", RECORD),
        ("Move_to_start", "b", [("b", "x"), ("b", "y"), ("a", 1), ("c", None), ("ab", 2.5)]),
        ("Move_to_end", "a", [("b", "x"), ("c", None), ("b", "y"), ("a", 1), ("ab", 2.5)]),
    ],
)
def test_rules(rule: str, value: str, expected: Pairs) -> None:
    assert applied(RECORD, (rule, value)) == expected
    assert applied(RECORD, (rule.upper(), value)) == expected


def test_rules_work_on_the_result_of_those_before() -> None:
    rules = (("Add", "n 1"), ("Rename", "n m"), ("Set", "m 2"), ("Add", "m 3"), ("Remove", "a"))
    assert applied([("a", 0)], *rules) == [("m", "2")]


def test_all_conditions_must_hold_before_any_rule() -> None:
    rules = (("Set", "a x"), ("Condition", "Key_exists b"), ("Condition", "Key_does_not_exist a"))
    assert applied([("b", 1)], *rules) == [("b", 1), ("a", "x")]
    assert applied([("b", 1), ("a", 2)], *rules) == [("b", 1), ("a", 2)]


def test_binary_keys_are_keys() -> None:
    assert applied([(b"a", 1), (2, 3)], ("Remove_wildcard", "a"), ("Add", "2 x")) == [(2, 3), ("2", "x")]


@pytest.mark.parametrize("rule", [("Condition", "Key_exists a"), ("Rename", "a b"), ("Remove_wildcard", "a")])
def test_what_has_to_see_records_is_not_folded(rule: tuple[str, str]) -> None:
    one = modify(("Add", "n 1"), rule)
    assert one.fold_log(LINES, SOURCE) is None
    assert one.fold_event(EventPlan(), "kernel.x", HOST) is None


@pytest.mark.parametrize("rule", ["Add {} 1", "Set {} 1", "Remove {}"])
@pytest.mark.parametrize("key", sorted(TOP_LEVEL_KEYS))
def test_keys_that_events_may_have_are_not_folded(rule: str, key: str) -> None:
    name, _, value = rule.format(key).partition(" ")
    assert modify((name, value)).fold_event(EventPlan(), "kernel.x", HOST) is None


def test_events_get_pairs_at_their_end() -> None:
    plan = EventPlan((Field(Op.APPEND, "host", {"name": "n1"}),))
    rules = (("Add", "env prod"), ("Add", "host x"), ("Set", "a 1"), ("Add", "a 2"), ("Set", "env test"))
    assert modify(*rules, ("Remove", "none")).fold_event(plan, "kernel.x", HOST) == EventPlan(
        (
            Field(Op.APPEND, "host", {"name": "n1"}),
            Field(Op.APPEND, "a", "1"),
            Field(Op.APPEND, "env", "test"),
        )
    )


keys = st.sampled_from(["a", "b", "log", "time"])
values = st.none() | st.integers(-5, 5) | st.sampled_from(["x", "", "\udcff", "é"])
records = st.lists(st.tuples(keys, values), max_size=6)
rules = st.lists(
    st.tuples(st.sampled_from(["Add", "Set"]), st.tuples(keys, st.sampled_from(["1", "2"])).map(" ".join))
    | st.tuples(st.just("Remove"), keys),
    max_size=5,
)


@given(records, rules)
def test_folded_into_a_log_plan_is_the_same_as_applied(
    record: Pairs, given_rules: list[tuple[str, str]]
) -> None:
    one = modify(*given_rules)
    plan = one.fold_log(LINES, SOURCE)
    assert plan is not None
    folded = record
    for step in plan.steps:
        assert isinstance(step, Field)
        folded = reference.changed(folded, step)
    packed = pack_entry(7, record)
    assert rewrite(packed, lambda pairs: one.apply("kube.x", pairs, None)) == (pack_entry(7, folded), 1)


own = st.sampled_from(sorted(TOP_LEVEL_KEYS))
event_records = st.lists(st.tuples(own, values), max_size=4, unique_by=lambda pair: pair[0])
event_steps = st.lists(
    st.tuples(st.sampled_from(["host", "a", "b"]), values), max_size=3, unique_by=lambda p: p[0]
)


@given(event_records, event_steps, rules)
def test_folded_into_an_event_plan_is_the_same_as_applied(
    record: Pairs, earlier: Pairs, given_rules: list[tuple[str, str]]
) -> None:
    one = modify(*given_rules)
    before = EventPlan(tuple(Field(Op.APPEND, key, value) for key, value in earlier))
    plan = one.fold_event(before, "kernel.x", HOST)
    assert plan is not None
    assert {step.op for step in plan.steps} <= {Op.APPEND}
    folded = record + [(step.key, step.value) for step in plan.steps]
    assert one.apply("kernel.x", record + earlier, HOST) == folded

"""collector.inputs.event_plans: what an identity and the filters make of a fragment."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from collector.filters.chain import FilterChain
from collector.filters.modify import Modify, Settings
from collector.identity.identity import Identity
from collector.inputs.event_plans import (
    Planner,
    constant_pairs,
    identity_fields,
    pack_fragment,
    scope_of,
    target_fragment,
)
from collector.native.containers import FRAGMENT_BYTES_MOST, Fragment
from collector.native.event_kinds import Scope
from collector.plan import Field, Op

HOST = Identity("node1")
BARE = Identity("node1", "d" * 64, "docker", container_name="db", image="postgres:16")
POD_ONLY = Identity("node1", namespace="shop", pod_name="web-1", pod_uid="uid-1")
FULL = Identity("node1", "c" * 64, "containerd", "shop", "web-1", "uid-1", "httpd", "httpd:2", "sha256:0")


def unpack(fragment: Fragment) -> dict[str, Any]:
    header = msgpack.Packer().pack_map_header(fragment.pair_count)
    record = msgpack.unpackb(header + fragment.pairs)
    assert isinstance(record, dict)
    return record


def modify(*rules: tuple[str, Any]) -> Modify:
    return Modify(Settings(rules=rules), lambda tag: re.match("kernel", tag) is not None)


def planner(*filters: Modify) -> Planner:
    return Planner("kernel.process", FilterChain(filters), "node1")


@pytest.mark.parametrize(
    ("identity", "scope", "keys"),
    [
        (None, Scope.UNRESOLVED, ["ecs", "host"]),
        (HOST, Scope.HOST, ["ecs", "host"]),
        (BARE, Scope.CONTAINER, ["ecs", "host", "container"]),
        (POD_ONLY, Scope.POD, ["ecs", "host", "kubernetes", "orchestrator"]),
        (FULL, Scope.CONTAINER, ["ecs", "host", "container", "kubernetes", "orchestrator"]),
    ],
)
def test_a_fragment_says_whose_it_is_and_nothing_it_does_not_know(
    identity: Identity | None, scope: Scope, keys: list[str]
) -> None:
    plan = planner().plan(identity)
    assert scope_of(identity) is plan.fragment.scope is scope
    assert list(unpack(plan.fragment)) == keys
    assert (plan.rest, plan.identity) == ((), identity)


def test_of_a_target_it_is_told_whose_it_is_and_no_more() -> None:
    pod = {"pod_name": "web-1", "namespace_name": "shop", "pod_id": "uid-1"}
    assert unpack(target_fragment(HOST)) == {"scope": "host"}
    assert unpack(target_fragment(POD_ONLY)) == {"scope": "pod", "kubernetes": pod}
    container = {"id": "c" * 64, "name": "httpd"}
    assert unpack(target_fragment(FULL)) == {"scope": "container", "container": container, "kubernetes": pod}


def test_cgroups_of_one_container_are_known_as_such() -> None:
    known = [target_fragment(one).container for one in (FULL, replace(FULL, image="x"), BARE, POD_ONLY, HOST)]
    assert known == [0xCCCCCCCCCCCCCCCC, 0xCCCCCCCCCCCCCCCC, 0xDDDDDDDDDDDDDDDD, 0, 0]


def test_the_kubernetes_map_is_the_identitys_as_on_log_lines() -> None:
    record = unpack(planner().plan(FULL).fragment)
    assert record["kubernetes"] == FULL.kubernetes()
    assert record["container"] == FULL.container()
    assert record["orchestrator"] == {
        "type": "kubernetes",
        "namespace": "shop",
        "resource": {"type": "pod", "name": "web-1", "id": "uid-1"},
    }


def test_constant_filters_are_folded_in() -> None:
    plan = planner(modify(("Add", ("cluster", "prod")), ("Remove", "orchestrator"))).plan(FULL)
    record = unpack(plan.fragment)
    assert (record["cluster"], "orchestrator" in record, plan.rest) == ("prod", False, ())


@pytest.mark.parametrize(
    "rule", [("Set", ("event", "x")), ("Rename", ("host", "node")), ("Remove", "source")]
)
def test_a_filter_that_touches_the_records_own_keys_is_left_to_see_them(rule: tuple[str, Any]) -> None:
    filters = (modify(("Add", ("cluster", "prod"))), modify(rule), modify(("Add", ("late", "1"))))
    plan = planner(*filters).plan(HOST)
    assert plan.rest == filters[1:]
    assert list(unpack(plan.fragment)) == ["ecs", "host", "cluster"]


def test_filters_of_other_tags_do_nothing() -> None:
    other = Modify(Settings(rules=(("Add", ("a", "b")),)), lambda tag: tag == "kernel.network")
    assert "a" not in unpack(planner(other).plan(HOST).fragment)


def test_each_key_stands_once_whatever_is_appended() -> None:
    steps = (
        Field(Op.APPEND, "a", 1),
        Field(Op.APPEND, "b", 2),
        Field(Op.APPEND, "a", 3),
        Field(Op.ADD, "b", 4),
    )
    assert constant_pairs(steps) == [("b", 2), ("a", 3)]


@pytest.mark.parametrize("op", list(Op))
def test_folding_a_key_of_the_records_own_is_refused(op: Op) -> None:
    with pytest.raises(ValueError, match="process"):
        constant_pairs((*identity_fields(HOST), Field(op, "process", 1)))


def test_what_does_not_fit_a_fragment_is_left_out_largest_first() -> None:
    pairs = [
        ("small", 1),
        ("huge", "x" * FRAGMENT_BYTES_MOST),
        ("large", "y" * 60_000),
        ("other", "z" * 40_000),
    ]
    fragment, left_out = pack_fragment(pairs, Scope.POD)
    assert left_out == ("huge", "large")
    assert list(unpack(fragment)) == ["small", "other"]


def test_bytes_that_are_no_text_survive() -> None:
    fragment, _ = pack_fragment([("key", "a\udcff")], Scope.POD)
    assert fragment.pairs == b"\xa3key\xa2a\xff"


def test_the_same_identity_is_worked_out_once() -> None:
    made = planner()
    assert made.plan(FULL) is made.plan(FULL)

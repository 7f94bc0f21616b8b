"""Chains of several filters: what is folded into the plan of a log, and what is applied to its records.

Each filter has such a test of its own; here the filters are any, in any order, and so are the logs.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.config.stock_parsers import STOCK
from collector.context import Context
from collector.filters import grep, modify, nest, parser, record_modifier
from collector.filters.chain import FilterChain
from collector.filters.kubernetes import Kubernetes
from collector.filters.kubernetes_settings import Settings as KubernetesSettings
from collector.identity.identity import Identity
from collector.native.logs import LogStream
from collector.plan import CRI_JOINED_LAYOUT, Framing, Layout, LogPlan
from collector.plugin import AnyFilter, LogSource

ID = "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
POD = Identity("node1", ID, "containerd", "shop", "web-0", "u-1", "web", "busybox:1")
TAG = f"kube.var.log.containers.web-0_shop_web-{ID}.log"
SOURCE = LogSource(TAG, "/var/log/containers/x.log", POD)
MODULES = {
    "modify": modify,
    "record_modifier": record_modifier,
    "nest": nest,
    "grep": grep,
    "parser": parser,
}
Written = tuple[str, tuple[tuple[str, str], ...]]

keys = st.sampled_from(["log", "stream", "time", "a", "b", "kubernetes"])
texts = st.sampled_from(["x", '"a b"', "stdout", "{}"])
switches = st.sampled_from(["On", "Off"])
pairs = st.tuples(keys, texts).map(" ".join)
two_keys = st.tuples(keys, keys).map(" ".join)
rules = st.one_of(
    st.tuples(st.sampled_from(["Add", "Set"]), pairs),
    st.tuples(st.sampled_from(["Remove", "Remove_wildcard", "Move_to_start", "Move_to_end"]), keys),
    st.tuples(st.sampled_from(["Rename", "Hard_rename", "Copy", "Hard_copy"]), two_keys),
    st.tuples(st.just("Condition"), keys.map(lambda key: f"Key_exists {key}")),
)
any_modify = st.lists(rules, min_size=1, max_size=4).map(lambda found: ("modify", tuple(found)))
any_record_modifier = st.one_of(
    st.lists(st.tuples(st.just("Record"), pairs), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from(["Remove_key", "Allowlist_key"]), keys), min_size=1, max_size=1),
).map(lambda found: ("record_modifier", tuple(found)))
any_kubernetes = st.tuples(switches, switches, switches, st.sampled_from(["", "app", "log"])).map(
    lambda found: (
        "kubernetes",
        tuple(zip(("Merge_Log", "Keep_Log", "Merge_Log_Trim", "Merge_Log_Key"), found, strict=True)),
    )
)
any_filter: st.SearchStrategy[Written] = st.one_of(
    any_modify,
    any_record_modifier,
    any_kubernetes,
    keys.map(lambda key: ("grep", (("Exclude", f"{key} ^x"),))),
    st.just(("nest", (("Operation", "nest"), ("Wildcard", "a*"), ("Nest_under", "n")))),
    st.just(("parser", (("Key_Name", "log"), ("Parser", "json"), ("Reserve_Data", "On")))),
)
objects = st.dictionaries(keys, st.integers(0, 9) | texts | st.none(), max_size=3).map(json.dumps)
# Of keys that repeat in a nested map the general path keeps the last, so that Merge_Log_Key gets none.
contents = objects | st.sampled_from(["x", "", '{"a":"x\\n\\n"}', '{"a":{"b":[1.5e3]}}', "{", "\0"])
streams = st.sampled_from(["stdout F", "stderr F", "stdout P", "odd"])
cri_lines = st.lists(
    st.tuples(streams, contents).map(lambda line: "2026-11-24T01:02:03.5Z {} {}".format(*line)), max_size=5
)
lines = st.lists(contents, max_size=5)
FRAMINGS = {
    "line": (LogPlan(Framing.LINE, Layout()), lines),
    "json": (LogPlan(Framing.JSON, Layout()), lines),
    "cri": (LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT), cri_lines),
}


def make(name: str, written: tuple[tuple[str, str], ...]) -> AnyFilter:
    section = Section("FILTER", "f", 1, tuple(Entry(key, value, "f", 2) for key, value in written))
    if name == "kubernetes":
        return Kubernetes(load(KubernetesSettings, section), "node1", lambda tag: True)
    context: Any = SimpleNamespace(
        plugin=SimpleNamespace(matches=lambda tag: True, section=section),
        document=SimpleNamespace(parsers=STOCK),
    )
    module = MODULES[name]
    return cast(AnyFilter, module.make(load(module.Settings, section), cast(Context, context)))


def check(framing: str, filters: list[Written], given_lines: list[str]) -> None:
    start, _ = FRAMINGS[framing]
    made = [make(*one) for one in filters]
    chain = FilterChain(made)
    plan, rest = chain.log_plan(SOURCE, start)
    data = "".join(f"{line}\n" for line in given_lines).encode()
    folded = LogStream(plan).encode(data, 0, 7, end=True)
    plain = LogStream(start).encode(data, 0, 7, end=True)
    partly = chain.apply(rest, TAG, folded.entries, POD)
    (wholly,) = chain.apply(tuple(made), TAG, plain.entries, POD)
    assert [(one.tag, bytes(one.entries), one.records) for one in partly] == [
        (wholly.tag, bytes(wholly.entries), wholly.records)
    ]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_any_chain_makes_the_same_of_a_log_both_ways(framing: str) -> None:
    @given(st.lists(any_filter, min_size=1, max_size=4), FRAMINGS[framing][1])
    @example([("kubernetes", (("Merge_Log", "On"), ("Keep_Log", "Off")))], ['{"a":1,"a":"x"}'])
    def both(filters: list[Written], given_lines: list[str]) -> None:
        check(framing, filters, given_lines)

    both()


def test_chains_are_folded_at_all() -> None:
    written: list[Written] = [
        ("modify", (("Add", "a x"),)),
        ("kubernetes", (("Merge_Log", "On"),)),
        ("record_modifier", (("Record", "b x"),)),
        ("grep", (("Exclude", "log ^x"),)),
    ]
    chain = FilterChain([make(*one) for one in written])
    plan, rest = chain.log_plan(SOURCE, FRAMINGS["cri"][0])
    assert (len(plan.steps), len(rest)) == (4, 1)

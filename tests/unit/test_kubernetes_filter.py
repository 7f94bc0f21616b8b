"""`kubernetes`: the pod of a log line, JSON lifted, and folded records equal to applied ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.entries import pack_entry, rewrite
from collector.filters.kubernetes import Kubernetes, Settings
from collector.identity.identity import Identity
from collector.native.logs import LogStream
from collector.plan import (
    CRI_JOINED_LAYOUT,
    CRI_LAYOUT,
    EventPlan,
    Field,
    Framing,
    Layout,
    LogPlan,
    Merge,
    Op,
)
from collector.plugin import LogSource
from collector.record import Record
from tests.reference import plan as reference

ID = "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
TAG = f"kube.var.log.containers.web-0_shop_web-{ID}.log"
POD = Identity("node1", ID, "containerd", "shop", "web-0", "u-1", "web", "busybox:1")
MAP = POD.kubernetes()
LINES = LogPlan(Framing.LINE, Layout())
Pairs = list[tuple[Any, Any]]


def section(*pairs: tuple[str, str]) -> Section:
    entries = tuple(Entry(name, value, "a.conf", line) for line, (name, value) in enumerate(pairs, 2))
    return Section("FILTER", "a.conf", 1, entries)


def kubernetes(*pairs: tuple[str, str]) -> Kubernetes:
    return Kubernetes(load(Settings, section(*pairs)), "node1", lambda tag: True)


def applied(one: Kubernetes, tag: str, pairs: Pairs, identity: Identity | None) -> Pairs:
    """What becomes of one record; [] when it is left out."""
    made = one.apply_batch(tag, [Record(pairs, 7)], identity, lambda *_: None)
    return made[0].pairs if made else []


def source(identity: Identity | None = POD, tag: str = TAG) -> LogSource:
    return LogSource(tag, "/var/log/containers/x.log", identity)


MERGE_ON = ("Merge_Log", "On")
KEEP_OFF = ("Keep_Log", "Off")


# ---- folding


def test_identity_is_appended() -> None:
    folded = kubernetes().fold_log(LINES, source())
    assert folded == LINES.then(Field(Op.APPEND, "kubernetes", MAP))
    assert list(MAP) == [
        *("pod_name", "namespace_name", "pod_id", "host", "container_name", "docker_id", "container_image")
    ]


def test_merge_comes_before_identity() -> None:
    one = kubernetes(MERGE_ON, KEEP_OFF, ("Merge_Log_Key", "app"), ("Merge_Log_Trim", "Off"))
    folded = one.fold_log(LINES, source())
    assert folded == LINES.then(
        Merge("log", "app", keep=False, trim=False), Field(Op.APPEND, "kubernetes", MAP)
    )


@pytest.mark.parametrize(
    ("plan", "merges"),
    [
        (LINES, True),
        (LogPlan(Framing.CRI, CRI_LAYOUT), False),  # the content is in `message`
        (LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT), True),
        (LogPlan(Framing.JSON, Layout(content="raw")), True),
        (LogPlan(Framing.LINE, Layout(content="")), True),
        (LogPlan(Framing.CRI, CRI_LAYOUT).then(Field(Op.ADD, "log", "{}")), True),
    ],
)
def test_only_plans_that_may_have_log_merge_it(plan: LogPlan, merges: bool) -> None:
    folded = kubernetes(MERGE_ON).fold_log(plan, source())
    assert folded is not None
    assert folded.merges is merges


def test_second_merge_of_a_stream_has_to_see_the_records() -> None:
    one = kubernetes(MERGE_ON)
    folded = one.fold_log(LINES, source())
    assert folded is not None
    assert one.fold_log(folded, source()) is None
    assert kubernetes().fold_log(folded, source()) == folded


@pytest.mark.parametrize("identity", [None, Identity("node1"), Identity("node1", ID, "docker")])
def test_what_is_of_no_pod_passes_as_it_is(identity: Identity | None) -> None:
    one = kubernetes(MERGE_ON)
    assert one.fold_log(LINES, source(identity, "kube.other")) is LINES
    record: Pairs = [("log", '{"a":1}')]
    assert applied(one, "kube.other", record, identity) == record


def test_tag_names_the_pod_where_the_path_does_not() -> None:
    expected = {
        "pod_name": "web-0",
        "namespace_name": "shop",
        "host": "node1",
        "container_name": "web",
        "docker_id": ID,
    }
    one = kubernetes()
    assert one.fold_log(LINES, source(None)) == LINES.then(Field(Op.APPEND, "kubernetes", expected))
    assert applied(one, TAG, [("log", "x")], None) == [("log", "x"), ("kubernetes", expected)]
    other = kubernetes(("Kube_Tag_Prefix", "a.b."))
    assert other.fold_log(LINES, source(None)) is LINES
    assert applied(other, f"a.b.web-0_shop_web-{ID}.log", [], None) == [("kubernetes", expected)]


def test_events_are_left_alone() -> None:
    one = kubernetes(MERGE_ON)
    plan = EventPlan((Field(Op.APPEND, "kubernetes", MAP),))
    assert one.fold_event(plan, "ebpf.process", POD) is plan
    event: Pairs = [("event", {"action": "exec"}), ("kubernetes", MAP)]
    assert applied(one, "ebpf.process", event, POD) == event


# ---- merging, as Fluent Bit does


@pytest.mark.parametrize(
    ("settings", "log", "expected"),
    [
        ((), '{"a":1}', [("log", '{"a":1}')]),
        ((MERGE_ON,), '{"a":1}', [("log", '{"a":1}'), ("t", 1), ("a", 1)]),
        ((MERGE_ON, KEEP_OFF), '{"a":1}', [("t", 1), ("a", 1)]),
        ((MERGE_ON, KEEP_OFF), "{}", [("t", 1)]),
        ((MERGE_ON, KEEP_OFF), "text", [("log", "text"), ("t", 1)]),
        ((MERGE_ON, KEEP_OFF), "[1]", [("log", "[1]"), ("t", 1)]),
        ((MERGE_ON, KEEP_OFF), '{"a":1} {"b":2}', [("log", '{"a":1} {"b":2}'), ("t", 1)]),
        ((MERGE_ON, KEEP_OFF), '{"a":NaN}', [("log", '{"a":NaN}'), ("t", 1)]),
        ((MERGE_ON, KEEP_OFF), 7, [("log", 7), ("t", 1)]),
        ((MERGE_ON, KEEP_OFF), {"a": "x\n"}, [("t", 1), ("a", "x\n")]),
        ((MERGE_ON, KEEP_OFF), '{"t":2,"t":3}', [("t", 1), ("t", 2), ("t", 3)]),
        ((MERGE_ON, KEEP_OFF), r'{"a":"x\n\n","b":"y\\r"}', [("t", 1), ("a", "x"), ("b", "y")]),
        (
            (MERGE_ON, KEEP_OFF, ("Merge_Log_Trim", "Off")),
            r'{"a":"x\n"}',
            [("t", 1), ("a", "x\n")],
        ),
        ((MERGE_ON, KEEP_OFF, ("Merge_Log_Key", "k")), '{"a":1}', [("t", 1), ("k", {"a": 1})]),
        ((MERGE_ON, KEEP_OFF, ("Merge_Log_Key", "k")), "{}", [("t", 1)]),
        ((MERGE_ON, KEEP_OFF), '{"log":"inner"}', [("t", 1), ("log", "inner")]),
    ],
)
def test_merge(settings: tuple[tuple[str, str], ...], log: Any, expected: Pairs) -> None:
    if not settings:
        expected = [*expected, ("t", 1)]
    made = applied(kubernetes(*settings), TAG, [("log", log), ("t", 1)], POD)
    assert made == [*expected, ("kubernetes", MAP)]


def test_only_the_first_log_is_merged() -> None:
    made = applied(kubernetes(MERGE_ON, KEEP_OFF), TAG, [("log", "{}"), ("log", '{"a":1}')], POD)
    assert made == [("log", '{"a":1}'), ("kubernetes", MAP)]


def test_text_that_is_no_utf_8_comes_through() -> None:
    log = b'{"a":"\xff"}'.decode("utf-8", "surrogateescape")
    made = applied(kubernetes(MERGE_ON, KEEP_OFF), TAG, [("log", log)], POD)
    assert made == [("a", "\udcff"), ("kubernetes", MAP)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(("log", "a", "b", "kubernetes", "\n")) | st.text(), json_values)
texts = (
    objects.map(json.dumps) | st.text() | st.sampled_from(('{"a":1,"a":2}', '{"a', "{}", r'{"a":"\\n\n"}'))
)
switches = st.sampled_from(("On", "Off"))


@given(texts, switches, switches, switches, st.sampled_from(("", "app", "log")))
def test_folded_and_applied_are_the_same_bytes(
    log: str, merge: str, keep: str, trim: str, under: str
) -> None:
    one = kubernetes(
        ("Merge_Log", merge), ("Keep_Log", keep), ("Merge_Log_Trim", trim), ("Merge_Log_Key", under)
    )
    line = log.replace("\n", " ").replace("\r", " ").lstrip("\0")
    plan = one.fold_log(LINES, source())
    assert plan is not None
    data = line.encode("utf-8", "surrogatepass") + b"\n"
    by_extension = LogStream(plan).encode(data, 0, 7, end=True)
    by_reference = reference.encode(data, plan, 7, 1 << 20)
    text = data[:-1].decode("utf-8", "surrogateescape")
    rewritten, records = rewrite(pack_entry(7, [("log", text)]), lambda pairs: applied(one, TAG, pairs, POD))
    assert by_extension.entries == by_reference.entries == rewritten
    assert by_extension.records == records == 1

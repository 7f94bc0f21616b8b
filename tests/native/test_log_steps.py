"""What the steps of a plan come to, worked out once: what is left of the layout, and the pairs at the end."""

from __future__ import annotations

from typing import Any

import pytest

from collector.native.log_steps import Constant, concatenated, direct, watched
from collector.packing import pack
from collector.plan import CRI_JOINED_LAYOUT, Field, Framing, Layout, LogPlan, Merge, Op, Step

JOINED = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)
KUBERNETES = Field(Op.APPEND, "kubernetes", {"pod_name": "web-0"})


def tail(**pairs: Any) -> bytes:
    return b"".join(pack(key) + pack(value) for key, value in pairs.items())


def direct_of(*steps: Step) -> tuple[Layout, bool, bytes, int]:
    found = direct(JOINED.then(*steps))
    assert found is not None
    return found.layout, found.merge is not None, found.tail, found.tail_pairs


def test_constants_become_one_copy() -> None:
    made = direct_of(Merge(keep=False), KUBERNETES, Field(Op.ADD, "cluster", "c"), Field(Op.SET, "n", 1))
    assert made == (
        CRI_JOINED_LAYOUT,
        True,
        tail(kubernetes={"pod_name": "web-0"}, cluster="c", n=1),
        3,
    )


def test_a_key_that_is_there_is_not_added() -> None:
    steps = (
        KUBERNETES,
        Field(Op.ADD, "kubernetes", 1),
        Field(Op.ADD, "stream", "x"),
        Field(Op.ADD, "log", 1),
    )
    assert direct_of(*steps) == (CRI_JOINED_LAYOUT, False, tail(kubernetes={"pod_name": "web-0"}), 1)


def test_what_is_removed_or_set_is_left_out_of_the_layout() -> None:
    steps = (
        Field(Op.ADD, "a", 1),
        Field(Op.REMOVE, "_p"),
        Field(Op.SET, "stream", "x"),
        Field(Op.SET, "a", 2),
    )
    layout, _, pairs, _ = direct_of(*steps)
    assert layout == Layout(time="time", stream="", logtag="", content="log")
    assert pairs == tail(stream="x", a=2)


@pytest.mark.parametrize(
    "plan",
    [
        LogPlan(Framing.JSON, Layout()),
        LogPlan(Framing.DOCKER_JOINED, CRI_JOINED_LAYOUT),
        LogPlan(Framing.LINE, Layout(offset="offset")),
        JOINED.then(Merge(under="merged")),
        JOINED.then(Merge(key="stream")),
        JOINED.then(KUBERNETES, Merge()),
        JOINED.then(Merge(keep=False), Field(Op.ADD, "log", "none")),
        LogPlan(Framing.CRI, Layout(stream="log")).then(Merge()),
    ],
)
def test_where_records_differ_the_steps_stay(plan: LogPlan) -> None:
    assert direct(plan) is None


def test_a_line_has_its_content_only() -> None:
    found = direct(LogPlan(Framing.LINE, CRI_JOINED_LAYOUT))
    assert found is not None
    assert found.layout == Layout(content="log")


def test_neighbours_that_only_append_are_one_step() -> None:
    steps = (KUBERNETES, Field(Op.APPEND, "a", 1), Merge(), Field(Op.APPEND, "log", 2), Field(Op.ADD, "b", 3))
    watches, noted = watched(JOINED.then(*steps))
    assert (watches, noted) == ({"b": 0, "log": 1}, 1)
    first, merge, *others = concatenated(steps, watches)
    assert first == Constant(Op.APPEND, "kubernetes", 11, tail(kubernetes={"pod_name": "web-0"}, a=1), 2)
    assert merge == Merge()
    assert [one.packed for one in others if isinstance(one, Constant)] == [tail(log=2), tail(b=3)]

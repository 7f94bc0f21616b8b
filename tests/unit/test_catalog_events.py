"""collector.catalog: each event has a name, its hooks, its cost, its lowest kernel and its fields."""

from __future__ import annotations

from collections import Counter

import pytest

from collector.catalog import ALSO_BY, EVENTS, TRACED, chosen, named
from collector.inputs.event_keys import SUBJECTS
from collector.native.event_kinds import Kind
from collector.records import EVERY
from probes.catalog import HOOKS, Cost

BY_NAME = {event.name: event for event in EVENTS}


def test_every_kind_of_record_that_is_sent_is_an_event() -> None:
    kinds = {event.kind for event in EVENTS}
    not_sent = {Kind.CGROUP_MKDIR, Kind.CGROUP_RMDIR, Kind.FLOW_CLOSED}
    assert kinds == {*Kind} - not_sent | {None}
    assert len(BY_NAME) == len(EVENTS)
    assert {event.action for event in EVENTS if event.kind is not None} == set(EVERY)


def test_only_what_two_subjects_tell_is_twice_in_the_table() -> None:
    twice = {kind for kind, count in Counter(event.kind for event in EVENTS).items() if count > 1}
    assert twice == {Kind.KILL, Kind.CLONE, None}


@pytest.mark.parametrize(
    ("name", "hooks", "cost", "since"),
    [
        ("process.exec", {"sched_process_exec"}, Cost.PER_PROCESS, (5, 8)),
        ("process.running", {"processes_before"}, Cost.RARE, (5, 8)),
        ("network.connected", {"sockets_before"}, Cost.RARE, (5, 11)),
        ("flow.flow-update", {"cgroup_skb_egress", "cgroup_skb_ingress"}, Cost.PER_PACKET, (5, 10)),
        ("flow.bind", {"cgroup_post_bind4", "cgroup_post_bind6"}, Cost.PER_CONNECTION, (5, 10)),
        ("privilege.kill", {"signal_generate"}, Cost.PER_PROCESS, (5, 8)),
        ("syscalls.kill", {"sys_exit"}, Cost.PER_CALL, (5, 8)),
        ("syscalls.file-read", {"sys_exit", "io_uring_submit_req"}, Cost.PER_CALL, (5, 8)),
        ("process.change-uid", set(), None, None),
    ],
)
def test_hooks_cost_and_lowest_kernel(
    name: str, hooks: set[str], cost: Cost | None, since: tuple[int, int] | None
) -> None:
    event = BY_NAME[name]
    assert {hook.tracepoint for hook in event.hooks} == hooks
    assert (event.cost, event.since) == (cost, since)


def test_every_event_of_the_probes_has_hooks_and_every_hook_that_makes_records_an_event() -> None:
    told = {hook for event in EVENTS for hook in event.hooks}
    assert all(event.hooks for event in EVENTS if event.kind is not None)
    made = {hook for hook in HOOKS if hook.kinds and hook.subject != "cgroup"}
    assert told == made | {hook for hook in HOOKS if hook.tracepoint in ALSO_BY}


def test_fields_are_those_of_the_records() -> None:
    fields = {field.name: field for field in BY_NAME["syscalls.ptrace"].fields}
    assert fields["podwitness.privilege.call"].always
    assert not fields["podwitness.privilege.request"].always
    assert "podwitness.privilege.mode" not in fields
    assert "container.id" in fields
    assert all(event.fields for event in EVENTS if event.kind is not None)


def test_a_name_may_be_a_subject_an_event_or_an_action() -> None:
    assert {event.subject for event in named("flow")} == {"flow"}
    assert [event.name for event in named("kill")] == ["privilege.kill", "syscalls.kill"]
    assert [event.name for event in named("syscalls.kill")] == ["syscalls.kill"]
    assert named("state") == named("process.connect") == ()


def test_no_name_means_two_things() -> None:
    """A subject is not an action, so that what a word asks for does not depend on the order of looking."""
    assert not {*TRACED} & {event.action for event in EVENTS}
    assert set(SUBJECTS) < set(TRACED)


def test_what_is_left_out_is_left_out_in_any_order() -> None:
    assert chosen(["-exec", "process"]) == chosen(["process", "-process.exec"])
    assert "process.exec" not in {event.name for event in chosen(["process", "-exec"])}

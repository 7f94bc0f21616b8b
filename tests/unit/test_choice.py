"""probes.choice: what is attached and made where single events are not asked for."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from probes.catalog import CALL_KINDS, HOOKS, TCP_KINDS, RecordKind, hooks_of
from probes.choice import (
    KEEP_TREES,
    SERVES,
    Event,
    are_packets_seen,
    hooks_for,
    kinds_off,
    made_kinds,
    off_flags,
)
from probes.syscalls import CALLS, IDENTITY_KINDS, REQUEST_KINDS, compat_numbers, header, numbers

FLOWS = (RecordKind.FLOW_START, RecordKind.FLOW_UPDATE, RecordKind.FLOW_END, RecordKind.DNS)


def off(subject: str, kinds: Iterable[RecordKind]) -> set[Event]:
    return {(subject, kind) for kind in kinds}


def left(subject: str, *others: str, without: set[Event]) -> set[str]:
    return {hook.tracepoint for hook in hooks_for((subject, *others), without) if hook.subject == subject}


def test_without_single_events_all_hooks_are_attached() -> None:
    for subject in {hook.subject for hook in HOOKS}:
        assert hooks_for([subject]) == hooks_of([subject])


def test_binds_alone_look_at_no_packets() -> None:
    assert are_packets_seen(["flow"])
    assert are_packets_seen(["flow"], off("flow", FLOWS[1:]))
    assert not are_packets_seen(["flow"], off("flow", FLOWS))
    assert not are_packets_seen(["process", "network"])


IMPROVING = {"tcp_rcv_space_adjust", "tcp_sendmsg_locked", "sock_send_length"}
BINDS = {"cgroup_post_bind4", "cgroup_post_bind6"}


@pytest.mark.parametrize(
    ("subject", "kinds", "hooks"),
    [
        ("privilege", [RecordKind.PRIVILEGE_KILL], {"mark_victim", "task_newtask", "cgroup_attach_task"}),
        ("network", [RecordKind.TCP_CLOSE], {"inet_sock_set_state"}),
        ("network", [RecordKind.TCP_CONNECT], {"inet_sock_set_state", *IMPROVING}),
        ("network", TCP_KINDS, set()),
        ("flow", FLOWS, BINDS),
        ("syscalls", IDENTITY_KINDS, {"sys_exit", "io_uring_submit_req"}),
        ("syscalls", CALL_KINDS[:-1], {"sys_exit", "io_uring_submit_req"}),
        ("syscalls", REQUEST_KINDS, {"sys_exit", "sys_enter"}),
        ("syscalls", CALL_KINDS, set()),
    ],
)
def test_a_hook_is_left_out_whose_events_are_all_off(
    subject: str, kinds: list[RecordKind], hooks: set[str]
) -> None:
    assert left(subject, without=off(subject, kinds)) == hooks


def test_hooks_that_others_need_stay() -> None:
    every = [kind for hook in hooks_of(["process"]) for kind in hook.kinds]
    assert left("process", without=off("process", every)) == set(KEEP_TREES)
    assert left("flow", without=off("flow", [RecordKind.BIND])) >= BINDS
    # Who serves DNS by TCP is told by who reads the socket.
    assert left("network", "flow", without=off("network", [RecordKind.TCP_CLOSE])) >= IMPROVING


def test_tables_name_hooks_that_there_are() -> None:
    assert {*KEEP_TREES, *SERVES} <= {hook.tracepoint for hook in HOOKS}
    improving = {hook.tracepoint for hook in HOOKS if not hook.kinds}
    assert improving <= {*KEEP_TREES, *SERVES}  # others would never be attached


def test_a_kind_is_off_for_a_subject() -> None:
    without = off("privilege", [RecordKind.PRIVILEGE_KILL])
    by_name = {hook.tracepoint: hook for hook in HOOKS}
    assert made_kinds(by_name["signal_generate"], without) == ()
    assert RecordKind.PRIVILEGE_KILL in made_kinds(by_name["sys_exit"], without)
    assert kinds_off("syscalls", without) == frozenset()


def test_flags_are_bits_by_kind() -> None:
    assert off_flags("process", ()) == ()
    without = {("process", RecordKind.FORK), ("syscalls", RecordKind.PRIVILEGE_FILE_READ)}
    assert off_flags("process", without) == ("-DPW_OFF_0=0x4ull", "-DPW_OFF_1=0x0ull")
    assert off_flags("syscalls", without) == ("-DPW_OFF_0=0x0ull", "-DPW_OFF_1=0x40ull")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_calls_that_tell_nothing_are_not_looked_at(machine: str) -> None:
    wanted = {call.name for call in CALLS if RecordKind.PRIVILEGE_FILE_WRITE in call.kinds}
    text = header(machine, set(CALL_KINDS) - {RecordKind.PRIVILEGE_FILE_WRITE})
    looked_at = {
        number
        for calls in (numbers(machine), compat_numbers(machine))
        for number, call in calls.items()
        if call.name in wanted
    }
    said = {int(line.split()[1].rstrip(":")) for line in text.split("\n") if "/*" in line and "case" in line}
    assert {"open", "openat", "truncate"} & wanted
    assert said == looked_at
    assert "identity_calls(u64 word)\n{\n  return 0;\n}" in text

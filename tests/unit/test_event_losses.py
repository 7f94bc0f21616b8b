"""collector.inputs.event_losses: differences of counters, by cause."""

from __future__ import annotations

from collector.inputs.event_losses import ANY_KIND, KernelLoss, LossCounters, dns_losses, drain_losses
from collector.native.event_kinds import Kind
from collector.native.events import Drained, DrainEnd, Entries
from collector.native.resolutions import UnreadDns
from probes.catalog import KINDS, RecordKind
from probes.launch import HookReport

NOTHING = Entries(b"", 0)


def counts(**by_kind: int) -> tuple[int, ...]:
    made = [0] * KINDS
    for name, count in by_kind.items():
        made[Kind[name]] = count
    return tuple(made)


def hook(subject: str, name: str, *kinds: RecordKind) -> HookReport:
    return HookReport(subject, name, kinds, "attached", "", "", None)


def test_each_look_tells_only_what_is_new() -> None:
    counters = LossCounters()
    assert counters.ring_full(counts()) == []
    assert counters.ring_full(counts(EXEC=3)) == [KernelLoss("exec", "ring_full", 3, "process")]
    assert counters.ring_full(counts(EXEC=3)) == []
    assert counters.ring_full(counts(EXEC=4, CONNECT_FAILED=2, CGROUP_MKDIR=1)) == [
        KernelLoss("exec", "ring_full", 1, "process"),
        KernelLoss("connect-failed", "ring_full", 2, "network"),
        KernelLoss("cgroup-mkdir", "ring_full", 1, "cgroup"),
    ]


def test_processes_without_room_are_no_lost_records() -> None:
    counters = LossCounters()
    full = (7, *counts()[1:])
    assert counters.ring_full(full) == []
    assert (counters.untracked(full), counters.untracked(full)) == (7, 0)


def test_what_was_lost_before_the_first_look_counts() -> None:
    assert LossCounters().ring_full(counts(FORK=9)) == [KernelLoss("fork", "ring_full", 9, "process")]


def test_dns_that_could_not_be_read() -> None:
    counters = LossCounters()
    assert counters.unread_dns(UnreadDns(2, 1)) == (2, 1)
    assert counters.unread_dns(UnreadDns(2, 3)) == (0, 2)
    assert dns_losses(UnreadDns(5, 0)) == []
    assert dns_losses(UnreadDns(0, 2)) == [KernelLoss("dns", "unreadable", 2, "network")]


def test_programs_not_run_count_where_their_hook_makes_records() -> None:
    counters = LossCounters()
    hooks = (
        hook("process", "sched_process_exec", RecordKind.EXEC),
        hook("network", "tcp_rcv_space_adjust"),
    )
    assert counters.not_run({"sched_process_exec": 0, "tcp_rcv_space_adjust": 0}, hooks) == []
    assert counters.not_run({"sched_process_exec": 2, "tcp_rcv_space_adjust": 5}, hooks) == [
        KernelLoss(ANY_KIND, "not_run_sched_process_exec", 2, "process")
    ]


def test_what_could_not_be_read_is_a_loss_too() -> None:
    def drained(malformed: int, corrupt_bytes: int) -> Drained:
        return Drained(DrainEnd.EMPTY, NOTHING, NOTHING, b"", None, {}, malformed, corrupt_bytes, 0, {})

    assert drain_losses(drained(0, 0)) == []
    assert [(loss.cause, loss.records) for loss in drain_losses(drained(2, 64))] == [
        ("malformed", 2),
        ("corrupt", 1),
    ]

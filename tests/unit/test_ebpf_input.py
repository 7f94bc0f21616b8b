"""collector.inputs.ebpf on the kernel's own ring buffer; the probes are left out (tests/kernel has them)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial

import pytest

from collector.inputs import ebpf, event_drain
from collector.inputs.event_drain import EventDrain
from collector.native.event_kinds import Kind
from probes.catalog import RecordKind
from probes.launch import HookReport, ProbeError
from tests.reference.kernel_ring import FORCE_WAKEUP, NO_WAKEUP
from tests.unit.ebpf_rig import RING_BYTES, Probes, Rig, fork, has_come, made_probes, run, settings


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probes]:
    with made_probes() as made:
        monkeypatch.setattr(ebpf, "launch", made.launch)
        yield made


def test_events_go_out_soon_after_they_happened_in_one_batch(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(drain_interval_s=0.3))
        async with rig.running():
            rig.submit(1, 2)
            await asyncio.sleep(0)
            rig.submit(3)
            await rig.until(lambda: rig.intake.chunks)
        (chunk,) = rig.intake.chunks
        assert (chunk.tag, chunk.records, chunk.source, chunk.position) == (
            "kernel.process",
            3,
            "ebpf.0",
            None,
        )
        assert rig.intake.pids() == [1, 2, 3]
        assert probes.asked == ("process", "network", "privilege", "cgroup", "state")
        assert probes.closed

    run(scenario)


def test_each_notification_is_heard_also_after_an_emptied_ring(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(drain_interval_s=0.0))
        async with rig.running():
            for pid in range(1, 30):
                rig.submit(pid)
                await rig.until(partial(has_come, rig.intake, pid))
        assert rig.intake.pids() == list(range(1, 30))
        assert len({chunk.id for chunk in rig.intake.chunks}) == len(rig.intake.chunks)

    run(scenario)


def test_past_half_of_the_ring_it_does_not_wait_for_the_interval(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(drain_interval_s=3600))
        async with rig.running():
            rig.submit(1)
            await asyncio.sleep(0.02)  # it has been notified and lets events gather
            count = RING_BYTES // 2 // (len(fork(1)) + 8) + 2
            rig.submit(*range(2, count), flags=NO_WAKEUP)
            assert rig.intake.chunks == []
            rig.submit(count, flags=FORCE_WAKEUP)
            await rig.until(lambda: len(rig.intake.pids()) == count)

    run(scenario)


def test_a_notification_that_was_missed_costs_a_second_at_most(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings())
        async with rig.running():
            rig.submit(1, flags=NO_WAKEUP)
            await rig.until(lambda: rig.intake.chunks)

    run(scenario)


def test_while_much_comes_nobody_has_to_notify(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebpf, "TICK_S", 3600.0)  # no look for another reason

    async def scenario() -> None:
        rig = Rig(probes, settings(state=False))
        async with rig.running():
            rig.submit(*range(1, 101))
            await rig.until(lambda: probes.table.looked_at_ns)
            for pid in (101, 102):  # by the clock; and a straggler behind it
                rig.submit(pid, flags=NO_WAKEUP)
                await rig.until(partial(has_come, rig.intake, pid))
        assert rig.intake.pids() == list(range(1, 103))

    run(scenario)


def test_without_room_there_is_no_look_by_the_clock(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings())
        async with rig.running():
            rig.intake.has_room = False
            rig.submit(*range(1, 101))
            await rig.until(lambda: rig.intake.refusals)
            started, before = time.monotonic(), rig.intake.refusals
            await rig.until(lambda: rig.intake.refusals >= before + 5)
            assert time.monotonic() - started > 4 * ebpf.RETRY_S * 0.9
            rig.intake.has_room = True

    run(scenario)


def test_without_room_in_the_outputs_events_stay_in_the_ring_in_order(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(drain_interval_s=0.0))
        async with rig.running():
            rig.intake.has_room = False
            rig.submit(1)
            await rig.until(lambda: rig.intake.refusals > 1)
            pid = 1
            while probes.ring.submit(fork(pid + 1)):
                pid += 1
            assert pid > RING_BYTES // 220
            refusals = rig.intake.refusals
            await rig.until(lambda: rig.intake.refusals > refusals + 2)
            assert not probes.ring.submit(fork(0))  # nothing was taken out
            rig.intake.has_room = True
            await rig.until(lambda: len(rig.intake.pids()) == pid)
        assert rig.intake.pids() == list(range(1, pid + 1))

    run(scenario)


def test_what_the_kernel_lost_is_counted_and_told_by_kind(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_drain, "MISSED_TICKS", 1)

    async def scenario() -> None:
        hook = HookReport("process", "sched_process_exec", (RecordKind.EXEC,), "attached", "", "", None)
        probes.hooks = (hook,)
        rig = Rig(probes, settings())
        async with rig.running():
            probes.lost_counts[Kind.EXEC] = 3
            probes.lost_counts[Kind.CLOSE] = 1
            probes.lost_counts[Kind.CGROUP_MKDIR] = 1
            probes.missed_counts["sched_process_exec"] = 2
            await rig.until(lambda: len(rig.intake.losses) >= 3)
        told = {(loss.cause, loss.records, loss.stream, loss.source) for loss in rig.intake.losses}
        assert ("ring_full_exec", 3, "kernel.process", "ebpf.0") in told
        assert ("ring_full_close", 1, "kernel.network", "ebpf.0") in told
        assert ("not_run_sched_process_exec", 2, "kernel.process", "ebpf.0") in told
        assert all("cgroup" not in loss.cause for loss in rig.intake.losses)
        assert rig.metrics.value("podwitness_kernel_events_lost_total", "cgroup-mkdir", "ring_full") == 1
        assert rig.metrics.value("podwitness_kernel_events_lost_total", "exec", "ring_full") == 3
        assert rig.cgroups.walks == 1  # cgroups that were missed are found by reading the tree

    run(scenario)


def test_a_loss_of_what_is_not_told_is_not_told(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(trace=(("process", "-fork", "syscalls.ptrace"),)))
        async with rig.running():
            assert probes.off > {("syscalls", RecordKind.PRIVILEGE_CHMOD)}
            rig.submit(1, 2)
            probes.lost_counts[Kind.FORK] = 3
            probes.lost_counts[Kind.EXIT] = 1
            await rig.until(lambda: rig.intake.losses)
        assert {loss.cause for loss in rig.intake.losses} == {"ring_full_exit"}
        assert rig.intake.pids() == []
        assert rig.metrics.value("podwitness_kernel_events_lost_total", "fork", "ring_full") == 0
        assert rig.metrics.value("podwitness_kernel_events_total", "fork") == 0

    run(scenario)


def test_counters_of_losses_are_there_before_the_first_loss(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings())
        async with rig.running():
            shown = {(metric.name, labels) for metric, labels, _ in rig.metrics.samples()}
        assert ("podwitness_kernel_events_lost_total", ("exec", "ring_full")) in shown
        assert ("podwitness_lost_records_total", ("ring_full_exec",)) in shown

    run(scenario)


def test_at_the_end_everything_is_handed_over(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(drain_interval_s=3600, pending_timeout_s=3600))
        async with rig.running():
            rig.submit(1)
            assert probes.ring.submit(fork(2, cgroup_id=99))
            rig.stop.set()
        assert sorted(rig.intake.pids()) == [1, 2]

    run(scenario)


def test_chunks_refused_before_the_end_are_handed_over_first(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(drain_interval_s=0.0))
        async with rig.running():
            rig.intake.has_room = False
            rig.submit(1)
            await rig.until(lambda: rig.intake.refusals)
            rig.submit(2)
            rig.stop.set()
        assert rig.intake.pids() == [1, 2]

    run(scenario)


def test_without_probes_the_reason_is_said_and_the_agent_goes_on(
    probes: Probes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(subjects: tuple[str, ...], **_: object) -> None:
        raise ProbeError("The kernel has no BTF.", "No probe is attached.", "Use a newer kernel.")

    monkeypatch.setattr(ebpf, "launch", refuse)

    async def scenario() -> None:
        rig = Rig(probes, settings(witness="ebpf"))
        async with rig.running():
            pass
        assert rig.reports["ebpf.0"] == (
            False,
            "The kernel has no BTF. No probe is attached. Use a newer kernel.",
        )

    run(scenario)
    assert "no BTF" in caplog.text


def test_a_ring_that_is_none_is_reported_too(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(witness="ebpf"))
        with monkeypatch.context() as patched:
            patched.setattr(probes.ring, "ring_fd", -1)
            async with rig.running():
                pass
        ok, reason = rig.reports["ebpf.0"]
        assert not ok
        assert "mmap" in reason
        assert probes.closed

    run(scenario)


def test_hooks_that_failed_are_not_well(probes: Probes) -> None:
    async def scenario() -> None:
        probes.hooks = (
            HookReport("process", "sched_process_exec", (RecordKind.EXEC,), "attached", "", "", None),
            HookReport("process", "sched_process_fork", (), "lesser", "slow", "Dear.", None),
            HookReport("network", "inet_sock_set_state", (), "failed", "EPERM", "No TCP.", None),
        )
        rig = Rig(probes, settings())
        async with rig.running():
            await rig.until(lambda: len(rig.reports) > 1)
            assert rig.reports["ebpf.0"] == (True, "")
            ok, reason = rig.reports["ebpf.0 inet_sock_set_state"]
            assert (ok, "EPERM" in reason, "No TCP." in reason) == (False, True, True)
            assert len(rig.reports) == 2
            name = ebpf.HOOK_ATTACHED
            assert [rig.metrics.value(name, hook.hook, "ebpf.0") for hook in probes.hooks] == [1, 1, 0]
            rig.metrics.set(name, "inet_sock_set_state", "ebpf.1", to=1)  # another input has the same hook
        # Another configuration may do without it.
        assert rig.reports["ebpf.0 inet_sock_set_state"] == (True, "")
        kept = [(labels, to) for row, labels, to in rig.metrics.samples() if row.name == name]
        assert kept == [(("inet_sock_set_state", "ebpf.1"), 1)]

    run(scenario)


def test_a_node_whose_kernel_is_too_old_for_what_only_adds_is_well(probes: Probes) -> None:
    """Debian 12 and Ubuntu 24.04 lack the tracepoint of 6.10: such a node is ready nevertheless."""

    async def scenario() -> None:
        probes.hooks = (
            HookReport("process", "sched_process_exec", (RecordKind.EXEC,), "attached", "", "", None),
            HookReport("process", "sched_prepare_exec", (), "absent", "since 6.10", "Not told.", None),
        )
        rig = Rig(probes, settings())
        async with rig.running():
            rig.submit(1)
            await rig.until(lambda: rig.intake.chunks)
            found = rig.metrics.samples()
            attached = {labels[0]: to for row, labels, to in found if row.name.endswith("_hook_attached")}
        assert all(ok for ok, _ in rig.reports.values())
        assert attached == {"sched_process_exec": 1, "sched_prepare_exec": 0}

    run(scenario)


def test_an_idle_input_sleeps(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    """One drain per tick and no more, though its ring is watched."""
    monkeypatch.setattr(ebpf, "TICK_S", 0.2)
    drains: list[float] = []
    drain = EventDrain.drain

    def counted(self: EventDrain) -> bool:
        drains.append(time.monotonic())
        return drain(self)

    monkeypatch.setattr(EventDrain, "drain", counted)

    async def scenario() -> None:
        rig = Rig(probes, settings())
        async with rig.running():
            rig.submit(1)
            await rig.until(lambda: rig.intake.chunks)
            before = len(drains)
            started = time.monotonic()
            await rig.until(lambda: len(drains) >= before + 5)
            assert time.monotonic() - started > 4 * 0.2 * 0.9

    run(scenario)

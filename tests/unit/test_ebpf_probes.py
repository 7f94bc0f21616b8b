"""collector.inputs.ebpf when its probes are in trouble."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from collector.delivery.losses import LOSS_TAG
from collector.entries import unpack_entries
from collector.inputs import ebpf, event_programs
from collector.inputs.event_heartbeat import MISSING_AFTER
from collector.native.event_kinds import Kind
from collector.native.programs import Programs
from probes.catalog import RecordKind
from probes.launch import HookReport, ProbeError
from tests.reference import event_records as records
from tests.unit.ebpf_rig import CGROUP, Intake, Probes, Rig, has_come, made_probes, run, settings


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probes]:
    with made_probes() as made:
        monkeypatch.setattr(ebpf, "launch", made.launch)
        yield made


def notices(intake: Intake) -> list[dict[str, Any]]:
    entries = [
        entry for chunk in intake.chunks if chunk.tag == LOSS_TAG for entry in unpack_entries(chunk.entries)
    ]
    return [dict(pairs) for _, pairs in entries]


def test_detached_probes_are_replaced_on_record(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebpf, "ATTACH_AGAIN_S", 0.01)

    async def scenario() -> None:
        rig = Rig(probes, settings(heartbeat_s=0.01, trace=(("network", "fork"),)))
        async with rig.running():
            rig.submit(1)
            probes.failures = [ProbeError("No memory."), OSError(5, "Input/output error")]
            probes.gone_hooks = ("sched_process_exec",)
            await rig.until(lambda: len(notices(rig.intake)) == 2)
            rig.submit(2)
        assert probes.history == ["launch", "detach", "launch", "launch", "launch"]
        detached, attached = notices(rig.intake)
        assert detached["event"]["action"] == "probes-detached"
        assert attached["event"]["action"] == "probes-reattached"
        assert attached["event"]["start"] == detached["event"]["start"]
        assert attached["event"]["start"] < attached["event"]["end"]
        assert attached["podwitness"] == {"probes": {"input": "ebpf.0", "hooks": ["sched_process_exec"]}}
        assert rig.intake.pids() == [1, 2]
        assert rig.metrics.value("podwitness_probes_reattached_total", "probes-detached") == 1
        assert rig.reports["ebpf.0"] == (True, "")
        # Until a heartbeat has gone through, nobody knows that it helped.
        assert rig.reports["ebpf.0 probes"] == (False, "detached from outside: sched_process_exec")

    run(scenario)


@pytest.mark.parametrize("are_lost", [True, False])
def test_a_heartbeat_that_may_have_been_lost_detaches_nothing(
    probes: Probes, monkeypatch: pytest.MonkeyPatch, are_lost: bool
) -> None:
    """What does not come three times in a row does, unless the kernel counts losses at the same time."""
    monkeypatch.setattr(ebpf, "TICK_S", 0.01)
    probes.hooks = (
        HookReport("network", "inet_sock_set_state", (RecordKind.TCP_LISTEN,), "attached", "", "", None),
    )

    async def scenario() -> None:
        rig = Rig(probes, settings(heartbeat_s=0.01))
        beats = 0

        def gone() -> tuple[str, ...]:
            """Asked with each heartbeat."""
            nonlocal beats
            beats += 1
            return ()

        def lost() -> tuple[int, ...]:
            probes.lost_counts[Kind.EXEC] += are_lost
            return tuple(probes.lost_counts)

        monkeypatch.setattr(probes, "gone", gone)
        monkeypatch.setattr(probes, "lost", lost)
        async with rig.running():
            await rig.until(lambda: beats > 2 * MISSING_AFTER)
        assert ("detach" in probes.history) is not are_lost
        missed = rig.metrics.value("podwitness_heartbeats_missed_total", Kind.LISTEN.label)
        assert (missed >= MISSING_AFTER) is not are_lost

    run(scenario)


def test_stopping_while_probes_can_not_be_attached_loses_nothing(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(heartbeat_s=0.01, trace=(("network", "fork"),)))
        async with rig.running():
            probes.failures = [ProbeError("No memory.")]
            probes.gone_hooks = ("inet_sock_set_state",)
            await rig.until(lambda: not rig.reports.get("ebpf.0", (True, ""))[0])
            rig.submit(3)
        assert rig.intake.pids() == [3]
        assert [record["event"]["action"] for record in notices(rig.intake)] == ["probes-detached"]

    run(scenario)


def test_probes_read_the_environment_only_where_variables_are_wanted() -> None:
    assert "TELL_ENVIRONMENT" not in settings().constants
    assert settings(variables=("A",)).constants["TELL_ENVIRONMENT"] == 1


def test_programs_that_had_no_room_are_told(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_programs, "Programs", partial(Programs, max_processes=2))
    monkeypatch.setattr(ebpf, "TICK_S", 0.01)

    async def scenario() -> None:
        rig = Rig(probes, settings())
        async with rig.running():
            for pid in range(1, 6):
                made = records.exec_record(cgroup_id=CGROUP, task_pid=pid, task_start_ns=1)
                assert probes.ring.submit(made)
            await rig.until(lambda: notices(rig.intake))
            rig.submit(7)
            await rig.until(lambda: has_come(rig.intake, 7))
        (told,) = notices(rig.intake)
        assert told["event"]["action"] == "programs-forgotten"
        assert told["event"]["reason"].startswith("3 programs of processes that live had no room")
        assert told["podwitness"] == {"probes": {"input": "ebpf.0", "hooks": []}}

    run(scenario)

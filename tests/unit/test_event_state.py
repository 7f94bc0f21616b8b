"""collector.inputs.event_state: what is told of what was there, and what the rings tell already."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from collector._native import lib

from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from collector.identity.identity import Identity
from collector.inputs.event_drain import EventDrain
from collector.inputs.event_state import GATHERED_BYTES, SETTLED_NS, Snapshot, arguments_of, container_entry
from collector.native.event_kinds import Kind
from collector.native.events import Entries
from collector.notice_fields import CONTAINER, CONTAINER_FIELDS
from probes.catalog import HOOKS
from probes.launch import HookReport
from tests.reference import event_records as records
from tests.unit.ebpf_rig import CGROUP, Probes, Rig, made_probes, settings

ATTACHED_NS = 10**12
LATER_NS = ATTACHED_NS + SETTLED_NS
POD = Identity(
    "node1", namespace="shop", pod_name="web", pod_uid="u", container_name="c", container_id="d" * 64
)


@pytest.fixture
def probes() -> Iterator[Probes]:
    with made_probes() as made:
        made.attached_ns = ATTACHED_NS
        made.hooks = tuple(
            HookReport(hook.subject, hook.tracepoint, hook.kinds, "attached", "", "", None)
            for hook in HOOKS
            if hook.walks
        )
        yield made


class Scene:
    def __init__(self, probes: Probes) -> None:
        self.probes = probes
        self.rig = Rig(probes, settings())
        tags = {subject: f"kernel.{subject}" for subject in ("process", "network")}
        self.drain = EventDrain(settings(), self.rig.context, probes, tags)  # type: ignore[arg-type]

    def snapshot(
        self,
        *subjects: str,
        containers: tuple[tuple[int, Identity], ...] = (),
        untold: tuple[Kind, ...] = (),
    ) -> Snapshot:
        return Snapshot(
            self.probes,  # type: ignore[arg-type]
            self.drain,
            subjects or ("process", "network"),
            lambda: iter(containers),
            self.rig.metrics,
            is_wanted=True,
            untold=untold,
        )

    def there_is(self, walk: str, *found: bytes) -> None:
        """As a descriptor of a walk gives it."""
        reading, writing = os.pipe()
        os.write(writing, b"".join(found))
        os.close(writing)
        self.probes.walks[walk] = reading

    def told(self) -> list[dict[str, Any]]:
        def chunk(tag: str, entries: Entries) -> Chunk:
            return Chunk(b"", tag, entries.entries, entries.records, "", 0)

        chunks = list(self.drain.flow.chunks(chunk))
        return [dict(pairs) for one in chunks for _, pairs in unpack_entries(one.entries)]

    def read(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """All of it."""
        steps = 0
        while not snapshot.is_done:
            asyncio.run(snapshot.step(LATER_NS, 0))
            steps += 1
            assert steps < 20
        return self.told()


@pytest.fixture
def scene(probes: Probes) -> Iterator[Scene]:
    made = Scene(probes)
    yield made
    made.drain.close()
    for descriptor in probes.walks.values():
        os.close(descriptor)


def process(pid: int, start_ns: int) -> bytes:
    made = records.exec_record(
        exe=b"x\0",
        cwd=b"y\0",
        kind=lib.PW_STATE_PROCESS,
        task_pid=pid,
        task_tid=pid,
        task_start_ns=start_ns,
        cgroup_id=CGROUP,
    )
    return made + bytes(-len(made) % 8)


def socket_record(kind: int, port: int) -> bytes:
    return records.record(kind, local_port=port, cgroup_id=CGROUP, family=2, role=lib.PW_LISTENER)


def fork(pid: int, start_ns: int) -> bytes:
    return records.record(lib.PW_FORK, task_pid=pid, task_start_ns=start_ns, cgroup_id=CGROUP)


def test_each_process_is_told_once_by_its_fork_or_as_a_state(scene: Scene) -> None:
    """Born after the probes: by the fork. Born before: as a state, unless the fork could still be seen."""
    scene.there_is(
        "processes_before",
        process(1, ATTACHED_NS - 5),
        process(2, ATTACHED_NS - 1),
        process(3, ATTACHED_NS),
        process(4, ATTACHED_NS + 9),
    )
    snapshot = scene.snapshot()
    for pid, start_ns in ((2, ATTACHED_NS - 1), (3, ATTACHED_NS), (4, ATTACHED_NS + 9)):
        assert scene.probes.ring.submit(fork(pid, start_ns))
    assert scene.drain.drain() or scene.drain.drain()
    told = [(record["event"]["kind"], record["process"]["pid"]) for record in scene.read(snapshot)]
    assert sorted(told) == [("event", 2), ("event", 3), ("event", 4), ("state", 1)]
    assert scene.rig.metrics.value("podwitness_kernel_events_total", "running") == 1


def test_same_number_of_another_time_is_another_process(scene: Scene) -> None:
    scene.there_is("processes_before", process(1, ATTACHED_NS - 5))
    snapshot = scene.snapshot()
    assert scene.probes.ring.submit(fork(1, ATTACHED_NS - 4))
    assert scene.drain.drain() or scene.drain.drain()
    kinds = [record["event"]["kind"] for record in scene.read(snapshot)]
    assert sorted(kinds) == ["event", "state"]


def test_only_traced_subjects_are_told(scene: Scene) -> None:
    scene.there_is("processes_before", process(1, 5))
    scene.there_is("sockets_before", socket_record(lib.PW_STATE_LISTENER, 80))
    (record,) = scene.read(scene.snapshot("network"))
    assert record["event"]["action"] == "listening"
    assert record["event"]["kind"] == "state"


def test_what_is_untold_is_read_where_others_need_it(scene: Scene) -> None:
    """Probes learn of sockets by the walk, and records of processes tell what these run."""
    scene.there_is("processes_before", process(1, 5))
    scene.there_is("sockets_before", socket_record(lib.PW_STATE_LISTENER, 80))
    assert scene.drain.programs is not None
    assert scene.read(scene.snapshot(untold=(Kind.RUNNING, Kind.LISTENING))) == []
    for descriptor in scene.probes.walks.values():
        assert os.read(descriptor, 1) == b""
    assert scene.rig.metrics.value("podwitness_kernel_events_total", "running") == 0
    assert scene.probes.ring.submit(
        records.record(lib.PW_EXIT, task_pid=1, task_start_ns=5, task_tid=1, cgroup_id=CGROUP, time_ns=9)
    )
    assert scene.drain.drain() or scene.drain.drain()
    (left,) = scene.told()
    assert left["process"]["executable"] == "/x"


def test_processes_are_not_looked_through_for_nobody(scene: Scene) -> None:
    scene.there_is("processes_before", process(1, 5))
    scene.drain.programs = None
    assert scene.read(scene.snapshot(untold=(Kind.RUNNING,))) == []
    assert os.read(scene.probes.walks["processes_before"], 1) != b""


def test_udp_sockets_are_told_with_flows(scene: Scene) -> None:
    """The same walk tells of TCP, which is traced by another word."""
    found = records.record(lib.PW_STATE_BOUND, local_port=53, cgroup_id=CGROUP, family=2, protocol=17)
    scene.there_is("sockets_before", socket_record(lib.PW_STATE_LISTENER, 80), found)
    (record,) = scene.read(scene.snapshot("flow"))
    assert (record["event"]["action"], record["event"]["kind"]) == ("bound", "state")
    assert record["podwitness"]["socket"]["owner_source"] == "descriptor"


def test_containers_are_told_last(scene: Scene) -> None:
    scene.there_is("processes_before", process(1, 5))
    first, last = scene.read(scene.snapshot(containers=((CGROUP, POD),)))
    assert first["event"]["action"] == "running"
    assert last["event"]["action"] == "container-running"
    assert last["kubernetes"]["pod_name"] == "web"


def test_nothing_is_read_too_early_or_while_much_waits(scene: Scene) -> None:
    scene.there_is("processes_before", process(1, 5))
    snapshot = scene.snapshot()
    asyncio.run(snapshot.step(LATER_NS - 1, 0))
    assert scene.told() == []
    scene.drain.flow.add_entries("process", Entries(b"\x90" * (GATHERED_BYTES + 1), 1))
    asyncio.run(snapshot.step(LATER_NS, 0))
    assert scene.drain.flow.gathered_bytes == GATHERED_BYTES + 1


def test_arguments_are_those_of_the_very_process() -> None:
    command = [sys.executable, "-c", "print(flush=True); input()", "an argument"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    with open(f"/proc/{child.pid}/stat") as stat:
        ticks = int(stat.read().rpartition(") ")[2].split()[19])
    start_ns = ticks * 10**9 // os.sysconf("SC_CLK_TCK")
    found = arguments_of(child.pid, start_ns)
    assert found is not None
    assert found.kept.endswith(b"input()\0an argument\0")
    assert found.argument_count == 4
    assert arguments_of(child.pid, start_ns + 10**9) is None
    child.communicate(b"\n")
    assert arguments_of(child.pid, start_ns) is None


def test_a_container_has_the_fields_of_the_reference() -> None:
    ((time_ns, pairs),) = unpack_entries(container_entry(7, POD, 10**9))
    assert time_ns == 10**9
    for field in CONTAINER_FIELDS:
        value: Any = dict(pairs)
        for part in field.name.split("."):
            value = value[part]
        assert field.kinds == CONTAINER

"""collector.inputs.event_programs: a process's program while rings are read and losses come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from collector._native import lib

from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from collector.inputs import event_programs
from collector.inputs.event_drain import EventDrain, boot_ns
from collector.inputs.event_losses import ANY_KIND, KernelLoss
from collector.native.event_kinds import Kind
from collector.native.events import Entries
from collector.native.limits import Suppressed
from collector.native.programs import Programs
from tests.reference import event_records as records
from tests.unit.ebpf_rig import CGROUP, Probes, Rig, made_probes, settings

PID, START_NS = 7, 5


class Scene:
    def __init__(self, probes: Probes, **changes: Any) -> None:
        self.probes = probes
        tags = {subject: f"kernel.{subject}" for subject in ("process", "network")}
        rig = Rig(probes, settings(**changes))
        self.metrics = rig.metrics
        self.drain = EventDrain(settings(**changes), rig.context, probes, tags)  # type: ignore[arg-type]

    def execute(self, comm: bytes, pid: int = PID) -> None:
        made = records.exec_record(
            exe=comm + b"\0bin\0", task_comm=comm, cgroup_id=CGROUP, time_ns=boot_ns(),
            task_pid=pid, task_start_ns=START_NS,
        )  # fmt: skip
        assert self.probes.ring.submit(made)

    def connect(self, comm: bytes, pid: int = PID) -> None:
        made = records.record(
            lib.PW_TCP_CONNECT, cgroup_id=CGROUP, time_ns=boot_ns(), owner_pid=pid,
            owner_start_ns=START_NS, comm=comm, family=2,
        )  # fmt: skip
        assert self.probes.flow_ring.submit(made)

    def fork_sibling(self, pid: int) -> None:
        """With CLONE_PARENT: the record has only the number of who makes it, which is PID."""
        made = records.record(
            lib.PW_FORK, cgroup_id=CGROUP, time_ns=boot_ns(), task_pid=pid, task_start_ns=START_NS,
            task_parent_pid=1, task_parent_start_ns=1, task_maker_pid=PID,
        )  # fmt: skip
        assert self.probes.ring.submit(made)

    def told(self) -> list[str | None]:
        """The executables of the connections, when both rings are empty."""
        while not self.drain.drain() or self.drain.is_held:
            pass

        def chunk(tag: str, entries: Entries) -> Chunk:
            return Chunk(b"", tag, entries.entries, entries.records, "", 0)

        chunks = [one for one in self.drain.flow.chunks(chunk) if one.tag == "kernel.network"]
        found = [dict(pairs) for one in chunks for _, pairs in unpack_entries(one.entries)]
        return [record["process"].get("executable") for record in found]


@pytest.fixture
def probes() -> Iterator[Probes]:
    with made_probes() as made:
        yield made


@pytest.fixture
def scene(probes: Probes) -> Iterator[Scene]:
    made = Scene(probes)
    yield made
    made.drain.close()


def test_what_was_executed_before_is_read_before_a_connection_is_told(scene: Scene) -> None:
    scene.execute(b"sh")
    scene.connect(b"sh")
    assert scene.told() == ["/bin/sh"]
    scene.execute(b"curl")
    scene.connect(b"curl")
    assert scene.told() == ["/bin/curl"]


def test_a_connection_that_comes_while_rings_are_read_waits_for_the_next_turn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exec and the connection happen after the ring of processes was seen empty."""
    scene.execute(b"sh")
    assert scene.told() == []
    drain_flows = scene.drain._rings.flow

    read = scene.drain._drain

    def meanwhile(ring: object, until_ns: int = 0) -> tuple[bool, int]:
        if ring is drain_flows:
            monkeypatch.undo()
            scene.execute(b"curl")
            scene.connect(b"curl")
        return read(ring, until_ns)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.drain, "_drain", meanwhile)
    assert scene.drain.drain()  # not at once again: that would be all that is done while connections come
    assert scene.drain.is_held
    assert scene.drain.drain(is_last=True)
    assert not scene.drain.is_held
    assert scene.told() == ["/bin/curl"]


LOST = [KernelLoss(kind, "ring_full", 1, "process") for kind in ("exec", "fork", "exit")]
NOT_RUN = KernelLoss(ANY_KIND, "not_run_sched_process_exec", 1, "process")
OTHERS: Suppressed = {1: Counter({Kind.FORK: 3, Kind.EXIT: 3})}
EXECS: Suppressed = {1: Counter({Kind.EXEC: 3})}


@pytest.mark.parametrize("loss", [*LOST, NOT_RUN])
def test_after_a_loss_the_name_must_fit(scene: Scene, loss: KernelLoss) -> None:
    scene.execute(b"sh")
    assert scene.told() == []
    assert scene.drain.programs is not None
    scene.drain.programs.note_losses([loss], boot_ns())
    scene.connect(b"sh")
    scene.connect(b"curl")
    assert scene.told() == ["/bin/sh", None]
    scene.execute(b"curl")
    scene.connect(b"renamed")
    assert scene.told() == ["/bin/curl"]


@pytest.mark.parametrize(("suppressed", "told"), [(OTHERS, "/bin/sh"), (EXECS, None)])
def test_after_suppressed_execs_too(scene: Scene, suppressed: Suppressed, told: str | None) -> None:
    scene.execute(b"sh")
    assert scene.told() == []
    assert scene.drain.programs is not None
    scene.drain.programs.note_suppressed(suppressed, boot_ns())
    scene.connect(b"renamed")
    assert scene.told() == [told]


SIBLING = PID + 1


@pytest.mark.parametrize("is_made_before", [True, False])
@pytest.mark.parametrize(("kind", "told"), [(Kind.EXIT, None), (Kind.FORK, "/bin/sh")])
def test_after_suppressed_exits_a_number_alone_does_not_tell_who_made_a_child(
    scene: Scene, kind: Kind, told: str | None, is_made_before: bool
) -> None:
    """The number may be another's by now, also before it is seen that exits were suppressed."""
    scene.execute(b"sh")
    if is_made_before:
        scene.fork_sibling(SIBLING)
    assert scene.told() == []
    assert scene.drain.programs is not None
    scene.drain.programs.note_suppressed({1: Counter({kind: 1})}, boot_ns())
    if not is_made_before:
        scene.fork_sibling(SIBLING)
    scene.connect(b"renamed", SIBLING)
    scene.connect(b"sh", SIBLING)
    assert scene.told() == [told, "/bin/sh"]
    scene.execute(b"curl")
    scene.fork_sibling(SIBLING + 1)
    scene.connect(b"renamed", SIBLING + 1)
    assert scene.told() == ["/bin/curl"]


def test_what_had_no_room_is_counted_since_the_last_look(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_programs, "Programs", partial(Programs, max_processes=1))
    scene = Scene(probes)
    scene.execute(b"sh", PID)
    scene.execute(b"sh", PID + 1)
    scene.execute(b"sh", PID + 2)
    assert scene.told() == []
    for _ in range(2):
        scene.drain.tick()
        assert scene.drain.forgotten_programs == 2
    assert scene.metrics.value("podwitness_kernel_programs_forgotten_total") == 2
    scene.drain.close()


def test_nothing_is_told_when_it_is_off(probes: Probes) -> None:
    scene = Scene(probes, program=False)
    scene.execute(b"sh")
    scene.connect(b"sh")
    assert scene.told() == [None]
    scene.drain.close()


@pytest.mark.parametrize(
    ("changes", "is_said"),
    [({}, False), ({"program": False}, True), ({"state": False}, True), ({"trace": (("network",),)}, True)],
)
def test_exempt_programs_that_can_not_be_known_are_said(
    probes: Probes, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], is_said: bool
) -> None:
    Scene(probes, exempt=("/usr/bin/kubelet",), **changes).drain.close()
    assert ("Watch_Exempt does nothing" in caplog.text) == is_said

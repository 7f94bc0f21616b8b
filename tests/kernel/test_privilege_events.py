"""What crosses the border of a container, as tracepoints of its own tell it."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from probes.catalog import Dialect
from tests.kernel.calls import call
from tests.kernel.sandbox import CLONE_NEWNET, CLONE_NEWNS, Cgroup, Process, run
from tests.kernel.witness import Witness

CLONE_NEWUTS = 0x04000000


@pytest.fixture(scope="module", params=list(Dialect), ids=str)
def privileges(request: pytest.FixtureRequest) -> Iterator[Witness]:
    witness = Witness.attach(("privilege",), dialect=request.param)
    assert {hook.state for hook in witness.probes.hooks} == {"attached"}
    yield witness
    witness.close()


@pytest.fixture
def witness(privileges: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> Witness:
    privileges.forget()
    return privileges


def only(events: list[SimpleNamespace]) -> SimpleNamespace:
    assert len(events) == 1, events
    return events[0]


def arguments(event: SimpleNamespace) -> tuple[int, ...]:
    return struct.unpack("=6Q", event.arguments)


def waiting(cgroup: Cgroup) -> Process:
    """A process in a cgroup that waits for a signal; it is there when this returns."""
    read, write = os.pipe()

    def work() -> None:
        os.close(read)
        os.write(write, b"!")
        signal.pause()

    process = Process(cgroup, work)
    os.close(write)
    assert os.read(read, 1) == b"!"
    os.close(read)
    return process


def test_a_signal_into_another_cgroup_is_told_with_both_ends(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    victim = waiting(other_cgroup)
    killer, _ = run(cgroup, lambda: os.kill(victim.pid, signal.SIGTERM))
    assert victim.wait() == signal.SIGTERM
    event = only(witness.events(cgroup.id, "PRIVILEGE_KILL"))
    assert (event.pid, event.target_pid) == (killer, victim.pid)
    assert event.target_cgroup_id == other_cgroup.id
    assert arguments(event)[:2] == (signal.SIGTERM, 0)
    assert event.call == 0
    assert event.target_start_ns > 0


def test_signals_within_a_cgroup_and_those_of_the_kernel_are_not_told(
    witness: Witness, cgroup: Cgroup
) -> None:
    def work() -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        signal.pause()

    run(cgroup, work)
    assert witness.events(cgroup.id, "PRIVILEGE_KILL") == []


def test_each_of_many_signals_is_told(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    victim = waiting(other_cgroup)

    def work() -> None:
        for _ in range(50):
            os.kill(victim.pid, signal.SIGCONT)

    run(cgroup, work)
    assert len(witness.events(cgroup.id, "PRIVILEGE_KILL")) == 50
    victim.kill()
    victim.wait()


def test_a_child_in_new_namespaces_is_told_with_the_flags(witness: Witness, cgroup: Cgroup) -> None:
    def clone() -> None:
        child = call("clone", CLONE_NEWUTS | CLONE_NEWNET | signal.SIGCHLD)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    run(cgroup, clone)
    event = only(witness.events(cgroup.id, "PRIVILEGE_CLONE"))
    assert arguments(event)[0] & 0x7E020000 == CLONE_NEWUTS | CLONE_NEWNET
    assert event.target_pid > event.pid
    assert event.target_cgroup_id == cgroup.id
    assert CLONE_NEWNS & arguments(event)[0] == 0


def test_a_move_to_another_cgroup_is_told_with_the_new_one(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    pid, _ = run(cgroup, other_cgroup.enter)
    moved = [event for event in witness.events(None, "PRIVILEGE_CGROUP_ATTACH") if event.target_pid == pid]
    assert [event.target_cgroup_id for event in moved] == [cgroup.id, other_cgroup.id]


def test_a_kill_for_want_of_memory_is_told(witness: Witness, cgroup: Cgroup, memory_cgroup: Path) -> None:
    def work() -> None:
        (memory_cgroup / "cgroup.procs").write_text("0")
        held = bytearray(64 << 20)
        assert held

    pid, status = run(cgroup, work)
    assert status == signal.SIGKILL
    event = only([one for one in witness.events(None, "PRIVILEGE_OOM_KILL") if one.target_pid == pid])
    assert event.target_cgroup_id == cgroup.id == event.cgroup_id

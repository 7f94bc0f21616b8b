"""Single events that are off (probes.choice): no record is made of them, and the others are as they were."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from probes.catalog import CALL_KINDS, Dialect, RecordKind
from probes.syscalls import CALLS, identity
from tests.kernel.calls import call, refused
from tests.kernel.hooks_here import hooks_here
from tests.kernel.sandbox import Cgroup, Process, run
from tests.kernel.witness import Witness

LEFT_CALLS = (RecordKind.PRIVILEGE_CHMOD, RecordKind.PRIVILEGE_KILL)
OFF = frozenset(
    {
        ("process", RecordKind.FORK),
        ("process", RecordKind.SESSION_START),
        ("network", RecordKind.TCP_LISTEN),
        ("network", RecordKind.TCP_CLOSE),
        ("privilege", RecordKind.PRIVILEGE_KILL),
        *(("syscalls", kind) for kind in CALL_KINDS if kind not in LEFT_CALLS),
    }
)
SUBJECTS = ("process", "network", "privilege", "syscalls")


@pytest.fixture(scope="module", params=list(Dialect), ids=str)
def partial(request: pytest.FixtureRequest) -> Iterator[Witness]:
    witness = Witness.attach(SUBJECTS, off=OFF, dialect=request.param)
    yield witness
    witness.close()


@pytest.fixture
def witness(partial: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> Witness:
    partial.forget()
    return partial


def test_hooks_that_tell_nothing_are_not_attached(witness: Witness) -> None:
    gone = {"signal_generate", "sys_enter", "tcp_rcv_space_adjust", "tcp_sendmsg_locked"}
    assert {hook.state for hook in witness.probes.hooks} == {"attached"}
    assert set(witness.probes.links) == set(hooks_here(*SUBJECTS)) - gone
    kinds = {hook.hook: hook.kinds for hook in witness.probes.hooks}
    assert kinds["sched_process_fork"] == ()
    assert kinds["sys_exit"] == LEFT_CALLS


def test_processes_have_their_trees_though_no_fork_is_told(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        if os.fork() == 0:
            os.execv("/bin/true", ["true"])
        os.wait()

    first, _ = run(cgroup, work)
    kinds = [event.kind for event in witness.events(cgroup.id, "FORK", "EXEC", "EXIT")]
    assert kinds == ["EXEC", "EXIT", "EXIT"]
    (executed,) = witness.events(cgroup.id, "EXEC")
    assert executed.ancestors > 0
    assert executed.parent_pid == first


def test_a_connection_is_told_without_its_end(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()),
            server.accept()[0],
        ):
            pass

    run(cgroup, work)
    told = witness.counts(cgroup.id)
    assert {kind: told[kind] for kind in told if kind.startswith("TCP_")} == {
        "TCP_CONNECT": 1,
        "TCP_ACCEPT": 1,
        "TCP_UNLISTEN": 1,
    }


def test_calls_of_other_kinds_are_not_looked_at(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    victim = Process(other_cgroup, signal.pause)

    def work() -> None:
        os.setresuid(65534, 65534, 0)
        os.seteuid(0)
        assert call("memfd_create", b"x", 0) >= 0
        assert refused("chmod", b"/nowhere", 0o4755) == "ENOENT"
        os.kill(victim.pid, signal.SIGCONT)  # told by the tracepoint of signals, which is off
        os.setresuid(65534, 65534, 65534)
        assert refused("kill", victim.pid, signal.SIGTERM) == "EPERM"

    run(cgroup, work)
    victim.kill()
    victim.wait()
    told = [event for event in witness.events(cgroup.id) if event.kind.startswith("PRIVILEGE_")]
    numbers = {one.name: identity(one) for one in CALLS}
    assert [(event.kind, event.call) for event in told] == [
        ("PRIVILEGE_CGROUP_ATTACH", 0),  # how the test came here
        ("PRIVILEGE_CHMOD", numbers["chmod"]),
        ("PRIVILEGE_KILL", numbers["kill"]),
    ]


def test_binds_alone_look_at_no_packets_and_follow_no_connection_tracking(cgroup: Cgroup) -> None:
    flows = (RecordKind.FLOW_START, RecordKind.FLOW_UPDATE, RecordKind.FLOW_END, RecordKind.DNS)
    witness = Witness.attach(("flow",), off=[("flow", kind) for kind in flows])
    assert set(witness.probes.links) == {"cgroup_post_bind4", "cgroup_post_bind6"}
    assert witness.probes.tracking_fd == -1

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("127.0.0.1", 0))

    run(cgroup, work)
    assert dict(witness.counts(cgroup.id)) == {"BIND": 1}
    witness.close()

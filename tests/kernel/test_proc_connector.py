"""probes.proc_connector beside pyroute2's definitions of the same messages, and on this kernel."""

from __future__ import annotations

import os
import select
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.connector import cn_proc

from probes.netlink import HEAD
from probes.proc_connector import ConnectorUnusable, ProcConnector, ProcessEvent, What, events
from tests.kernel.sandbox import CLONE_NEWNET, CLONE_NEWPID, Cgroup, run, unshare

pytestmark = pytest.mark.kernel

REFERENCE = {
    What.FORK: (
        cn_proc.proc_event_fork,
        {"child_tgid": "pid", "child_pid": "tid", "parent_tgid": "parent_pid"},
    ),
    What.EXEC: (cn_proc.proc_event_exec, {"process_tgid": "pid", "process_pid": "tid"}),
    What.UID: (
        cn_proc.proc_event_uid,
        {"process_tgid": "pid", "process_pid": "tid", "ruid": "real_id", "euid": "effective_id"},
    ),
    What.GID: (
        cn_proc.proc_event_gid,
        {"process_tgid": "pid", "process_pid": "tid", "rgid": "real_id", "egid": "effective_id"},
    ),
    What.EXIT: (
        cn_proc.proc_event_exit,
        {"process_tgid": "pid", "process_pid": "tid", "exit_code": "status", "parent_tgid": "parent_pid"},
    ),
}
numbers = st.integers(0, 2**32 - 1)


def datagram(what: int, time_ns: int, union: list[int]) -> bytes:
    body = struct.pack("=IIIIHH", 1, 1, 5, 0, 40, 0) + struct.pack("=IIQ6I", what, 0, time_ns, *union)
    return HEAD.pack(HEAD.size + len(body), 3, 0, 0, 0) + body


@given(st.sampled_from(list(REFERENCE)), numbers, st.lists(numbers, min_size=6, max_size=6), st.booleans())
def test_events_are_what_pyroute2_reads(what: What, time_ns: int, union: list[int], is_first: bool) -> None:
    if is_first:  # of its group, as all are that matter
        union[1] = union[0]
        union[3] = union[2]
    raw = datagram(what, time_ns, union)
    kind, names = REFERENCE[what]
    expected = kind(raw)
    expected.decode()
    found = events(raw)
    first = {What.FORK: ("child_pid", "child_tgid"), What.EXIT: ("process_pid", "process_tgid")}.get(what)
    if first and expected[first[0]] != expected[first[1]]:
        assert found == []
        return
    assert found == [
        ProcessEvent(what, time_ns, **{ours: expected[theirs] for theirs, ours in names.items()})
    ]


@given(st.binary(max_size=200))
def test_what_is_no_event_is_nothing(raw: bytes) -> None:
    assert isinstance(events(raw), list)


@pytest.mark.parametrize("what", [0x80, 0x100, 0x200, 0x40000000, 3])
def test_other_events_are_left_out(what: int) -> None:
    assert events(datagram(what, 1, [1, 1, 2, 2, 3, 3])) == []


@pytest.fixture
def connector() -> Iterator[ProcConnector]:
    made = ProcConnector(receive_bytes=8 << 20)
    yield made
    made.close()


def until_exit(connector: ProcConnector, pid: int) -> list[ProcessEvent]:
    found: list[ProcessEvent] = []
    poll = select.poll()
    poll.register(connector, select.POLLIN)
    while not any(one.what is What.EXIT and one.pid == pid for one in found):
        assert poll.poll(10_000)
        while (received := connector.receive()) is not None:
            assert not received[1]
            found += received[0]
    return [one for one in found if pid in (one.pid, one.parent_pid)]


def test_a_process_from_fork_to_exit(connector: ProcConnector) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    found = until_exit(connector, pid)
    assert [one.what for one in found] == [What.FORK, What.EXEC, What.EXIT]
    assert [one.parent_pid for one in found] == [os.getpid(), 0, os.getpid()]
    assert [one.time_ns for one in found] == sorted(one.time_ns for one in found)
    assert found[-1].status == 0
    assert connector.dropped() == 0


def test_threads_are_not_reported(connector: ProcConnector, cgroup: Cgroup) -> None:
    def work() -> None:
        for _ in range(31):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

    pid, _ = run(cgroup, work)
    assert [one.what for one in until_exit(connector, pid)] == [What.FORK, What.EXIT]


def reason_inside(cgroup: Cgroup, flags: int) -> str:
    """What is said when the connector is wanted in another namespace."""
    reading, writing = os.pipe()

    def work() -> None:
        unshare(flags)
        if (pid := os.fork()) == 0:  # a pid namespace begins with the child
            try:
                ProcConnector(receive_bytes=1 << 16)
            except ConnectorUnusable as reason:
                os.write(writing, str(reason).encode())
            os._exit(0)
        os.waitpid(pid, 0)

    run(cgroup, work)
    os.close(writing)
    return os.read(reading, 4096).decode()


def test_in_another_pid_namespace_it_says_what_to_do(cgroup: Cgroup) -> None:
    reason = reason_inside(cgroup, CLONE_NEWPID)
    assert "does not answer" in reason
    assert "hostPID" in reason


def test_in_another_network_namespace_it_says_what_to_do(cgroup: Cgroup) -> None:
    reason = reason_inside(cgroup, CLONE_NEWNET)
    assert "refuses" in reason
    assert "hostNetwork" in reason

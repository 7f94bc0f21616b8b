"""Who comes into a container from outside begins a session; what a container does itself belongs to none."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.kernel.event_layout import LAYOUT, exec_parts
from tests.kernel.sandbox import (
    CLONE_NEWPID,
    Cgroup,
    Process,
    check,
    execve,
    libc,
    private_mounts,
    run,
    unshare,
)
from tests.kernel.witness import Witness

TREE = LAYOUT.enums["pw_tree"]
ENTERED_BY = LAYOUT.enums["pw_entered_by"]
INIT, ENTERED = TREE["PW_TREE_INIT"], TREE["PW_TREE_ENTERED"]
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
SYS_CLONE = 56 if os.uname().machine == "x86_64" else 220


def spawn(*argv: bytes) -> None:
    pid = os.fork()
    if pid == 0:
        execve(argv[0].decode(), list(argv))
    os.waitpid(pid, 0)


@contextmanager
def container(cgroup: Cgroup, nothing: bytes) -> Iterator[Process]:
    """A first process with mounts of its own that waits; it has executed `nothing` once, in a child."""
    told, tell = os.pipe()

    def work() -> None:
        private_mounts()
        spawn(nothing, b"first", b"0")
        os.write(tell, b"x")
        signal.pause()

    first = Process(cgroup, work)
    os.close(tell)
    assert os.read(told, 1) == b"x"
    os.close(told)
    try:
        yield first
    finally:
        first.kill()
        first.wait()


def join_mounts(process: Process) -> None:
    descriptor = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY)
    check(libc.setns(descriptor, CLONE_NEWNS))
    os.close(descriptor)


def outside(work: Callable[[], int | None]) -> int:
    """Pid of a process that did `work` in the cgroup of the test itself."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work() or 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return pid


def by_argument(witness: Witness, cgroup_id: int | None, argument: bytes) -> SimpleNamespace:
    (found,) = [
        event for event in witness.events(cgroup_id, "EXEC") if exec_parts(event).argv[1:2] == [argument]
    ]
    return found


def entry(event: SimpleNamespace) -> tuple[int, int]:
    return event.entry_pid, event.entry_start_ns


def own(event: SimpleNamespace) -> tuple[int, int]:
    return event.pid, event.start_ns


@pytest.fixture
def nothing(programs: Path) -> bytes:
    return os.fsencode(programs / "nothing")


def test_a_containers_own_processes_are_in_its_tree(witness: Witness, cgroup: Cgroup, nothing: bytes) -> None:
    def work() -> None:
        for number in (b"1", b"2", b"3"):
            spawn(nothing, number, b"0")
        execve(nothing.decode(), [nothing, b"last", b"0"])

    run(cgroup, work)
    events = witness.events(cgroup.id, "EXEC", "FORK", "EXIT")
    assert {event.tree for event in events} == {INIT}
    assert witness.counts(cgroup.id) == {"FORK": 3, "EXEC": 4, "EXIT": 4}
    last = by_argument(witness, cgroup.id, b"last")
    assert entry(last) == own(last)


def test_a_thread_that_forks_after_its_leader_has_ended_enters_nothing(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup, programs: Path, nothing: bytes
) -> None:
    """A leader that has ended has no mount namespace any more, in whatever container."""

    def work() -> None:
        private_mounts()
        spawn(os.fsencode(programs / "threads"), b"fork", nothing)

    for each in (cgroup, other_cgroup):
        run(each, work)
        assert by_argument(witness, each.id, b"of-a-thread").tree == INIT
        assert witness.counts(each.id) == {"FORK": 2, "EXEC": 2, "EXIT": 3}


TALK = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    own.bind(("127.0.0.1", 0))
    own.sendto(b"x", ("127.0.0.1", 9))
    own.sendto(b"query", ("127.0.0.1", 53))
"""


def test_udp_dns_and_binds_of_a_session_name_it(cgroup: Cgroup, nothing: bytes) -> None:
    witness = Witness.attach(["process", "flow", "cgroup"])
    inner = Cgroup(cgroup.path / "container")  # made since the probes are there
    inner.path.mkdir()
    with container(inner, nothing) as first:

        def enter() -> None:
            join_mounts(first)
            inner.enter()
            execve(sys.executable, [b"python3", b"-S", b"-c", TALK.encode()])

        outside(enter)
        (start,) = witness.events(inner.id, "SESSION_START")
        flows = [
            flow
            for flow in witness.events(inner.id, "FLOW_START", "FLOW_END")
            if flow.protocol == socket.IPPROTO_UDP
        ]
        assert [flow.kind for flow in flows] == ["FLOW_START", "FLOW_START", "FLOW_END", "FLOW_END"]
        for flow in flows:
            assert entry(flow) == own(start)
            assert flow.entry_way == ENTERED | ENTERED_BY["PW_ENTERED_BOTH"] << 4
        (dns,) = witness.events(inner.id, "DNS")
        (bound,) = witness.events(inner.id, "BIND")
        assert entry(dns) == entry(bound) == own(start)
        assert (dns.tree, bound.tree) == (ENTERED, ENTERED)
    witness.close()


def test_cgroup_and_mounts_entered_as_a_runtime_does(
    witness: Witness, cgroup: Cgroup, nothing: bytes
) -> None:
    with container(cgroup, nothing) as first:

        def enter() -> None:
            join_mounts(first)
            pid = os.fork()  # the last stage, still in the caller's cgroup
            if pid == 0:
                cgroup.enter()
                execve("/bin/sh", [b"sh", b"-c", nothing + b" inner 0; " + nothing + b" second 0; exit 0"])
            os.waitpid(pid, 0)

        outside(enter)
        (start,) = witness.events(cgroup.id, "SESSION_START")
        (end,) = witness.events(cgroup.id, "SESSION_END")
        shell = by_argument(witness, cgroup.id, b"-c")
        inner = by_argument(witness, cgroup.id, b"inner")
        assert by_argument(witness, cgroup.id, b"first").tree == INIT
    assert own(start) == own(shell) == entry(start) == entry(shell) == entry(inner) == entry(end)
    assert {start.tree, shell.tree, inner.tree, end.tree} == {ENTERED}
    assert start.entered_by == inner.entered_by == ENTERED_BY["PW_ENTERED_BOTH"]
    assert (end.processes, start.process_cgroup_id) == (3, cgroup.id)
    assert start.time_ns < shell.time_ns < inner.time_ns < end.time_ns
    assert 0 < end.duration_ns <= end.time_ns - shell.start_ns


def test_nsenter_is_told_with_the_container_that_it_entered(
    witness: Witness, cgroup: Cgroup, nothing: bytes
) -> None:
    with container(cgroup, nothing) as first:

        def enter() -> None:
            join_mounts(first)
            spawn(nothing, b"by-nsenter", b"0")

        outside(enter)
        (start,) = witness.events(cgroup.id, "SESSION_START")
        (end,) = witness.events(cgroup.id, "SESSION_END")
    event = by_argument(witness, None, b"by-nsenter")
    assert event.cgroup_id != cgroup.id
    assert start.process_cgroup_id == event.cgroup_id
    assert own(event) == entry(event) == entry(start) == entry(end)
    assert event.entered_by == start.entered_by == ENTERED_BY["PW_ENTERED_MOUNTS"]
    assert end.processes == 1


def test_cgroup_alone_is_entered_too(witness: Witness, cgroup: Cgroup, nothing: bytes) -> None:
    with container(cgroup, nothing):

        def enter() -> None:
            cgroup.enter()
            spawn(nothing, b"moved", b"0")

        outside(enter)
        event = by_argument(witness, cgroup.id, b"moved")
        assert witness.counts(cgroup.id)["SESSION_START"] == witness.counts(cgroup.id)["SESSION_END"] == 1
    assert (event.tree, event.entered_by) == (ENTERED, ENTERED_BY["PW_ENTERED_CGROUP"])


def test_mounts_of_ones_own_are_no_session(witness: Witness, cgroup: Cgroup, nothing: bytes) -> None:
    def work() -> None:
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                private_mounts()
                execve(nothing.decode(), [nothing, b"unshared", b"0"])
            os.waitpid(pid, 0)

    run(cgroup, work)
    counts = witness.counts(cgroup.id)
    assert (counts["EXEC"], counts["SESSION_START"], counts["SESSION_END"]) == (5, 0, 0)


def test_cgroups_below_ones_own_are_no_session(witness: Witness, cgroup: Cgroup, nothing: bytes) -> None:
    below = Cgroup(cgroup.path / "below")

    def work() -> None:
        below.path.mkdir()
        spawn(nothing, b"above", b"0")
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                below.enter()
                execve(nothing.decode(), [nothing, b"inside", b"0"])
            os.waitpid(pid, 0)

    run(cgroup, work)
    events = witness.events(below.id, "EXEC")
    assert [event.tree for event in events] == [INIT] * 3
    assert not witness.events(None, "SESSION_START")


def test_first_process_of_a_pid_namespace_is_the_containers_own(
    witness: Witness, cgroup: Cgroup, nothing: bytes
) -> None:
    def work() -> None:
        unshare(CLONE_NEWPID)
        spawn(nothing, b"init", b"0")

    run(cgroup, work)
    event = by_argument(witness, cgroup.id, b"init")
    assert (event.tree, event.namespace_pid) == (INIT, 1)


# Ways round it


def clone_parent() -> int:
    """fork() whose child is its caller's sibling."""
    pid = libc.syscall(SYS_CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    check(pid)
    return int(pid)


def in_session(witness: Witness, cgroup: Cgroup, nothing: bytes, work: Callable[[], None]) -> SimpleNamespace:
    """The exec with the argument `away` that `work` made in a session, which has ended since."""
    with container(cgroup, nothing) as first:

        def enter() -> None:
            join_mounts(first)
            pid = os.fork()
            if pid == 0:
                cgroup.enter()
                # What is executed from here is the first in its tree: Python itself was not.
                spawn(nothing, b"root", b"0")
                work()
                os._exit(0)
            os.waitpid(pid, 0)

        outside(enter)
        witness.wait_for(lambda: witness.counts(cgroup.id)["SESSION_END"] == 2)
        assert witness.counts(cgroup.id)["SESSION_START"] == witness.counts(cgroup.id)["SESSION_END"] == 2
        return by_argument(witness, cgroup.id, b"away")


def double_fork(nothing: bytes) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            execve(nothing.decode(), [nothing, b"away", b"0"])
        os._exit(0)
    os.wait()


def sibling(nothing: bytes) -> None:
    if clone_parent() == 0:
        execve(nothing.decode(), [nothing, b"away", b"0"])


def by_thread(nothing: bytes) -> None:
    import threading

    thread = threading.Thread(target=spawn, args=(nothing, b"away", b"0"))
    thread.start()
    thread.join()


def by_descriptor(nothing: bytes) -> None:
    pid = os.fork()
    if pid == 0:
        os.execve(os.open(nothing, os.O_RDONLY), [nothing, b"away", b"0"], {})
    os.waitpid(pid, 0)


def by_vfork(nothing: bytes) -> None:
    os.waitpid(os.posix_spawn(nothing, [nothing, b"away", b"0"], {}), 0)


@pytest.mark.parametrize("way", [double_fork, sibling, by_thread, by_descriptor, by_vfork])
def test_no_way_leads_out_of_a_session(
    witness: Witness, cgroup: Cgroup, nothing: bytes, way: Callable[[bytes], None]
) -> None:
    event = in_session(witness, cgroup, nothing, lambda: way(nothing))
    assert (event.tree, event.entered_by) == (ENTERED, ENTERED_BY["PW_ENTERED_BOTH"])


def test_who_enters_and_only_forks_is_not_of_the_containers_tree(
    witness: Witness, cgroup: Cgroup, nothing: bytes
) -> None:
    with container(cgroup, nothing) as first:

        def enter() -> None:
            join_mounts(first)
            cgroup.enter()
            if os.fork() == 0:
                os._exit(0)
            os.wait()

        outside(enter)
        forks = [event for event in witness.events(cgroup.id, "FORK") if event.parent_pid != first.pid]
    assert [(event.tree, event.entry_start_ns) for event in forks] == [(ENTERED, 0)]


def test_a_session_ends_with_its_last_process(witness: Witness, cgroup: Cgroup, nothing: bytes) -> None:
    with container(cgroup, nothing) as first:

        def enter() -> None:
            join_mounts(first)
            pid = os.fork()
            if pid == 0:
                cgroup.enter()
                execve("/bin/sh", [b"sh", b"-c", b"(exec sleep 60) & exit 0"])
            os.waitpid(pid, 0)

        outside(enter)
        (start,) = witness.events(cgroup.id, "SESSION_START")
        assert not witness.events(cgroup.id, "SESSION_END")
        (left,) = [event for event in witness.events(cgroup.id, "FORK") if event.parent_pid == start.pid]
        os.kill(left.pid, signal.SIGKILL)
        witness.wait_for(lambda: bool(witness.events(cgroup.id, "SESSION_END")))
        (end,) = witness.events(cgroup.id, "SESSION_END")
    assert (entry(end), end.processes, own(end)) == (entry(start), 2, own(left))


def spawner(cgroup: Cgroup, nothing: bytes, argument: bytes, namespace_of: int = 0) -> int:
    """Pid of a process in a pid namespace, its own or another's, that executes when it is told to by SIGUSR1.

    As with a runtime, its parent is not in the cgroup."""
    told, tell = os.pipe()

    def work() -> None:
        if namespace_of:
            check(libc.setns(os.open(f"/proc/{namespace_of}/ns/pid", os.O_RDONLY), CLONE_NEWPID))
        else:
            unshare(CLONE_NEWPID)
        if os.fork():
            return
        cgroup.enter()
        signal.signal(signal.SIGUSR1, lambda *_: spawn(nothing, argument, b"0"))
        os.write(tell, b"x")
        while True:
            signal.pause()

    before = set((cgroup.path / "cgroup.procs").read_text().split())
    outside(work)
    os.read(told, 1)
    os.close(told)
    os.close(tell)
    (made,) = set((cgroup.path / "cgroup.procs").read_text().split()) - before
    return int(made)


def test_what_is_older_than_the_probes_is_worked_out(nothing: bytes, cgroup: Cgroup) -> None:
    """A container with a pid namespace: its first process, and one that came in."""
    first = spawner(cgroup, nothing, b"of-first")
    second = spawner(cgroup, nothing, b"of-second", first)
    watching = Witness.attach()
    try:
        for pid in (first, second):
            os.kill(pid, signal.SIGUSR1)
        watching.wait_for(lambda: watching.counts(cgroup.id)["EXIT"] == 2)
        own_child, intruder = (by_argument(watching, cgroup.id, of) for of in (b"of-first", b"of-second"))
    finally:
        os.kill(first, signal.SIGKILL)  # and with it all of the namespace
        watching.close()
    assert (own_child.tree, own_child.entry_pid) == (INIT, first)
    assert (intruder.tree, intruder.entry_pid) == (ENTERED, second)
    assert exec_parts(own_child).ancestors[0].pid == first

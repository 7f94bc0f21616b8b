"""What was there before the probes, as the walks of probes/state.bpf.c tell it, on the real kernel."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probes.catalog import SUBJECTS
from tests.kernel.event_layout import LAYOUT, exec_parts
from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, Process, unshare
from tests.kernel.test_network_events import set_loopback_up
from tests.kernel.witness import Witness

READ_BYTES = 1 << 16
ROLES = LAYOUT.enums["pw_role"]
Watch = Callable[..., Witness]
SOURCES = LAYOUT.enums["pw_owner_source"]


def walk(witness: Witness, name: str) -> Iterator[SimpleNamespace]:
    while content := os.read(witness.probes.walks[name], READ_BYTES):
        at = 0
        while at < len(content):
            (record_bytes,) = struct.unpack_from("<I", content, at + 4)
            yield LAYOUT.decode(content[at : at + record_bytes])
            at += record_bytes + 7 & ~7


def in_cgroup(found: Iterator[SimpleNamespace], cgroup: Cgroup) -> list[SimpleNamespace]:
    return [record for record in found if record.cgroup_id == cgroup.id]


class Waiting:
    """A process that does something in a cgroup, and then what it is told."""

    def __init__(
        self, cgroup: Cgroup, first: Callable[[], Any], then: Callable[[Any], object] | None = None
    ) -> None:
        self._told, theirs = socket.socketpair()

        def work() -> None:
            made = first()
            theirs.send(b"x")
            theirs.recv(1)
            if then is not None:
                then(made)

        self.process = Process(cgroup, work)
        theirs.close()
        self._told.recv(1)

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> None:
        with suppress(OSError):
            self._told.send(b"x")
        self._told.close()
        assert self.process.wait() == 0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compiled once."""
    return str(tmp_path_factory.mktemp("probes"))


@pytest.fixture
def watch(cache: str) -> Iterator[Watch]:
    """Attaches probes, which have seen nothing yet."""
    made: list[Witness] = []

    def attach(subjects: Sequence[str] = SUBJECTS) -> Witness:
        made.append(Witness.attach(subjects, cache=cache))
        return made[-1]

    yield attach
    for witness in made:
        witness.close()


def test_process_is_the_one_that_its_end_is_told_of(watch: Watch, cgroup: Cgroup) -> None:
    old = Waiting(cgroup, lambda: os.chdir("/tmp"))
    witness = watch()
    (state,) = in_cgroup(walk(witness, "processes_before"), cgroup)
    old.end()
    witness.wait_for(lambda: bool(witness.events(cgroup.id, "EXIT")))
    (end,) = witness.events(cgroup.id, "EXIT")
    assert state.kind == "STATE_PROCESS"
    assert (state.pid, state.start_ns, state.parent_pid, state.parent_start_ns) == (
        end.pid,
        end.start_ns,
        end.parent_pid,
        end.parent_start_ns,
    )
    assert state.start_ns < witness.probes.attached_ns
    assert (state.euid, state.mnt_ns, state.net_ns, state.comm) == (
        end.euid,
        end.mnt_ns,
        end.net_ns,
        end.comm,
    )
    parts = exec_parts(state)
    assert parts.exe == os.path.realpath("/proc/self/exe").encode()
    assert parts.cwd == b"/tmp"
    assert state.inode == os.stat("/proc/self/exe").st_ino


def test_process_born_since_is_told_by_its_fork_only(watch: Watch, cgroup: Cgroup, programs: Path) -> None:
    """The walk sees it too; the time tells that its fork was seen."""
    old = Waiting(cgroup, lambda: None)
    witness = watch()
    new = Waiting(cgroup, lambda: None)
    states = in_cgroup(walk(witness, "processes_before"), cgroup)
    assert {state.pid for state in states} == {old.pid, new.pid}
    before = {state.pid for state in states if state.start_ns < witness.probes.attached_ns}
    assert before == {old.pid}
    forks = [event.pid for event in witness.events(None, "FORK") if event.pid in (old.pid, new.pid)]
    assert forks == [new.pid]
    old.end()
    new.end()


def test_no_process_is_missed_or_told_twice_while_many_come_and_go(
    watch: Watch, cgroup: Cgroup, programs: Path
) -> None:
    """Attaching and the walk take place while children are forked without a pause. Each that ends after the
    probes are there has a fork that was seen, or is a state, or ended before the walk."""
    told, theirs = socket.socketpair()

    def work() -> None:
        theirs.setblocking(False)
        alive: list[int] = []
        lasting = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})  # however slow the walk is
        while True:
            alive.append(os.posix_spawn("/bin/sleep", ["sleep", "1000"], {}))
            if len(alive) == 20:
                theirs.send(b"x")
            if len(alive) > 20:
                pid = alive.pop(5)  # five stay, and are there when the walk comes
                os.kill(pid, 9)
                os.waitpid(pid, 0)
            with suppress(BlockingIOError):
                if theirs.recv(1):
                    break
        for pid in (*alive, lasting):
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    churn = Process(cgroup, work)
    told.recv(1)
    witness = watch(["process", "state"])
    states = [
        (state.pid, state.start_ns)
        for state in in_cgroup(walk(witness, "processes_before"), cgroup)
        if state.start_ns < witness.probes.attached_ns
    ]
    told.send(b"x")
    assert churn.wait() == 0
    witness.wait_for(lambda: churn.pid in {event.pid for event in witness.events(cgroup.id, "EXIT")})
    forks = [(event.pid, event.start_ns) for event in witness.events(cgroup.id, "FORK")]
    ends = [(event.pid, event.start_ns) for event in witness.events(cgroup.id, "EXIT")]
    assert max(Counter(ends).values()) == 1
    assert len(set(states)) == len(states) > 1
    # The fork's probe is there a little before the last: those forked between are known to the collector, and
    # are left out (collector.inputs.event_state).
    newborns = {fork for fork in forks if fork[1] < witness.probes.attached_ns}
    assert len(newborns) < 256  # PW_NEWBORNS
    assert set(states) & set(forks) <= newborns
    # Those that ended between the probes and the walk are known by their end.
    unknown = set(ends) - set(states) - set(forks)
    assert all(start_ns < witness.probes.attached_ns for _, start_ns in unknown)
    assert set(forks) <= set(ends)
    assert set(states) <= set(ends)


def test_old_listener_is_told_with_who_has_it_and_its_new_connections_too(
    watch: Watch, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(1)

    server = Waiting(cgroup, lambda: socket.create_server(("127.0.0.1", 0), backlog=7), serve)
    witness = watch()
    (state,) = in_cgroup(walk(witness, "sockets_before"), cgroup)
    assert (state.kind, state.owner_pid, state.backlog) == ("STATE_LISTENER", server.pid, 7)
    assert (state.role, state.owner_source) == (ROLES["PW_LISTENER"], SOURCES["PW_OWNER_BY_DESCRIPTOR"])

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", state.local_port)) as client:
            client.send(b"x")

    client = Process(other_cgroup, ask)
    server.end()
    client.wait()
    witness.wait_for(lambda: bool(witness.events(cgroup.id, "TCP_UNLISTEN")))
    (accept,) = witness.events(cgroup.id, "TCP_ACCEPT")
    (unlisten,) = witness.events(cgroup.id, "TCP_UNLISTEN")
    assert (accept.owner_pid, accept.owner_start_ns) == (server.pid, state.owner_start_ns)
    assert accept.owner_source == SOURCES["PW_OWNER_BY_LISTENER"]
    assert (unlisten.socket_id, unlisten.owner_pid) == (state.socket_id, server.pid)
    assert unlisten.flags == {"OWNER_UNKNOWN"}


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    client.send(b"question")
    assert server.recv(8) == b"question"
    return client, server


def test_both_ends_of_an_old_connection_are_told_with_their_roles_and_known_at_its_end(
    watch: Watch, cgroup: Cgroup
) -> None:
    def close(ends: tuple[socket.socket, socket.socket]) -> None:
        for end in ends:
            end.close()

    old = Waiting(cgroup, connected, close)
    witness = watch()
    states = in_cgroup(walk(witness, "sockets_before"), cgroup)
    assert Counter((state.kind, state.role, state.owner_pid) for state in states) == {
        ("STATE_CONNECTION", ROLES["PW_CLIENT"], old.pid): 1,
        ("STATE_CONNECTION", ROLES["PW_SERVER"], old.pid): 1,
    }
    old.end()
    witness.wait_for(lambda: len(witness.events(cgroup.id, "TCP_CLOSE")) == 2)
    closes = witness.events(cgroup.id, "TCP_CLOSE")
    assert {(close.socket_id, close.role) for close in closes} == {
        (state.socket_id, state.role) for state in states
    }
    assert {close.owner_pid for close in closes} == {old.pid}
    assert {(close.bytes_sent, close.bytes_received) for close in closes} == {(8, 0), (0, 8)}


def test_connection_opened_since_is_no_state(watch: Watch, cgroup: Cgroup) -> None:
    witness = watch()
    new = Waiting(cgroup, connected)
    assert in_cgroup(walk(witness, "sockets_before"), cgroup) == []
    kinds = Counter(event.kind for event in witness.events(cgroup.id) if event.kind.startswith("TCP"))
    assert kinds == {"TCP_LISTEN": 1, "TCP_CONNECT": 1, "TCP_ACCEPT": 1, "TCP_UNLISTEN": 1}
    new.end()


def test_socket_of_several_processes_is_told_once_and_the_first_to_use_it_counts(
    watch: Watch, cgroup: Cgroup
) -> None:
    """A server that forked its worker: until the worker does something, the master is as good."""
    ours, theirs = socket.socketpair()

    def first() -> socket.socket:
        client, server = connected()
        if os.fork() == 0:
            theirs.recv(1)
            server.send(b"answer")
            os._exit(0)
        server.close()
        return client

    def then(client: socket.socket) -> None:
        ours.send(b"x")
        assert client.recv(6) == b"answer"
        os.wait()

    master = Waiting(cgroup, first, then)
    witness = watch()
    states = in_cgroup(walk(witness, "sockets_before"), cgroup)
    assert Counter(state.role for state in states) == {ROLES["PW_CLIENT"]: 1, ROLES["PW_SERVER"]: 1}
    by_role = {state.role: state.owner_pid for state in states}
    assert by_role[ROLES["PW_CLIENT"]] == master.pid
    assert by_role[ROLES["PW_SERVER"]] != master.pid  # it has closed that end
    master.end()


def test_sockets_of_other_network_namespaces_are_told_too(watch: Watch, cgroup: Cgroup) -> None:
    def first() -> socket.socket:
        unshare(CLONE_NEWNET)
        return socket.create_server(("127.0.0.1", 0))

    server = Waiting(cgroup, first)
    witness = watch()
    (state,) = in_cgroup(walk(witness, "sockets_before"), cgroup)
    assert (state.kind, state.owner_pid) == ("STATE_LISTENER", server.pid)
    assert state.net_ns != os.stat("/proc/self/ns/net").st_ino
    server.end()


def test_kernel_threads_and_zombies_are_no_processes_that_run(watch: Watch, cgroup: Cgroup) -> None:
    def first() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    old = Waiting(cgroup, first, lambda pid: os.waitpid(pid, 0))
    witness = watch()
    found = list(walk(witness, "processes_before"))
    assert [state.pid for state in found if state.cgroup_id == cgroup.id] == [old.pid]
    assert 2 not in {state.pid for state in found}  # kthreadd
    old.end()


def test_threads_are_one_process(watch: Watch, cgroup: Cgroup) -> None:
    def first() -> None:
        for _ in range(5):
            threading.Thread(target=threading.Event().wait, daemon=True).start()

    old = Waiting(cgroup, first, lambda _: os._exit(0))
    witness = watch()
    assert [state.pid for state in in_cgroup(walk(witness, "processes_before"), cgroup)] == [old.pid]
    old.end()


def bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def test_old_udp_socket_is_told_once_and_what_only_comes_in_counts_for_who_has_it(
    watch: Watch, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    """Neither it nor the child that it was left to sends anything, so no packet tells whose it is."""
    told, tell = os.pipe()

    def first() -> tuple[socket.socket, int]:
        made = bound()
        os.write(tell, b"%d" % made.getsockname()[1])
        if (child := os.fork()) == 0:
            os.close(tell)
            made.recv(8)
            os._exit(0)
        return made, child

    old = Waiting(cgroup, first, lambda made: os.waitpid(made[1], 0))
    port = int(os.read(told, 8))
    witness = watch()
    (state,) = in_cgroup(walk(witness, "sockets_before"), cgroup)
    assert (state.kind, state.protocol, state.local_port) == ("STATE_BOUND", 17, port)
    assert state.local_address[:4] == bytes([127, 0, 0, 1])
    assert state.net_ns == os.stat("/proc/self/ns/net").st_ino
    client = Waiting(other_cgroup, bound, lambda made: made.sendto(b"question", ("127.0.0.1", port)))
    client.end()
    old.end()
    witness.wait_for(lambda: bool(witness.events(cgroup.id, "FLOW_END")))
    began, ended = witness.events(cgroup.id, "FLOW_START", "FLOW_END")
    assert (began.socket_id, ended.socket_id) == (state.socket_id,) * 2
    assert (began.owner_pid, began.owner_start_ns) == (state.owner_pid, state.owner_start_ns)
    assert began.owner_source == SOURCES["PW_OWNER_BY_DESCRIPTOR"]
    assert (ended.packets_received, ended.bytes_received, ended.packets_sent) == (1, 8, 0)


def test_old_udp_socket_that_sends_counts_for_who_sends(
    watch: Watch, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    def answer(made: socket.socket) -> None:
        question, asker = made.recvfrom(8)
        made.sendto(question, asker)

    told, tell = os.pipe()

    def first() -> socket.socket:
        made = bound()
        os.write(tell, b"%d" % made.getsockname()[1])
        return made

    old = Waiting(cgroup, first, answer)
    port = int(os.read(told, 8))
    witness = watch()
    (state,) = in_cgroup(walk(witness, "sockets_before"), cgroup)
    client = Waiting(other_cgroup, bound, lambda made: made.sendto(b"question", ("127.0.0.1", port)))
    client.end()
    old.end()
    witness.wait_for(lambda: bool(witness.events(cgroup.id, "FLOW_END")))
    (ended,) = witness.events(cgroup.id, "FLOW_END")
    assert (ended.owner_pid, ended.owner_start_ns) == (old.pid, state.owner_start_ns)
    assert ended.owner_source == SOURCES["PW_OWNER_BY_IO"]
    assert (ended.packets_received, ended.packets_sent) == (1, 1)


def test_udp_socket_bound_since_is_no_state(watch: Watch, cgroup: Cgroup) -> None:
    witness = watch()
    new = Waiting(cgroup, bound)
    assert in_cgroup(walk(witness, "sockets_before"), cgroup) == []
    assert [event.kind for event in witness.events(cgroup.id, "BIND")] == ["BIND"]
    new.end()


def test_udp_sockets_are_told_of_every_family_and_namespace_and_only_with_flows(
    watch: Watch, cgroup: Cgroup
) -> None:
    def first() -> list[socket.socket]:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        made = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6) * 2]
        made[1].bind(("::1", 5000))
        made[2].connect(("127.0.0.1", 5001))  # takes a port without bind(2)
        made[3].bind(("::", 5002))
        return made

    old = Waiting(cgroup, first)
    without = watch([subject for subject in SUBJECTS if subject != "flow"])
    assert in_cgroup(walk(without, "sockets_before"), cgroup) == []
    states = in_cgroup(walk(watch(), "sockets_before"), cgroup)
    assert {state.owner_pid for state in states} == {old.pid}
    assert {state.net_ns for state in states} != {os.stat("/proc/self/ns/net").st_ino}
    by_port = {state.local_port: state for state in states}
    assert len(by_port) == len(states) == 3  # the first has no port
    assert by_port.keys() > {5000, 5002}
    assert bytes(by_port[5000].local_address) == bytes(15) + b"\1"
    assert bytes(by_port[5002].local_address) == bytes(16)
    old.end()

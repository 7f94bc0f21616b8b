"""Known TCP connections give exactly the records that they should, with the right process behind each."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace

import pytest

from probes.catalog import Dialect
from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, Process, run, unshare
from tests.kernel.witness import Witness

AF = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}
FAMILIES = pytest.mark.parametrize(("family", "address"), AF.values(), ids=AF)
ROLES = LAYOUT.enums["pw_role"]
SOURCES = LAYOUT.enums["pw_owner_source"]
EPHEMERAL = 0


class Server:
    """A process that listens, says on which port, and serves each connection."""

    def __init__(
        self,
        cgroup: Cgroup,
        family: int,
        address: str,
        serve: Callable[[socket.socket], None],
        connections: int = 1,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        from_child, to_parent = os.pipe()

        def work() -> None:
            before()
            listener = socket.create_server((address, EPHEMERAL), family=family, backlog=17)
            os.write(to_parent, b"%d" % listener.getsockname()[1])
            for _ in range(connections):
                serve(listener.accept()[0])

        self.process = Process(cgroup, work)
        os.close(to_parent)
        self.port = int(os.read(from_child, 8))
        os.close(from_child)


def echo(connection: socket.socket) -> None:
    with connection:
        received = 0
        while chunk := connection.recv(1 << 16):
            received += len(chunk)
        connection.sendall(b"r" * (received // 2))


def ask(family: int, address: str, port: int, count: int) -> None:
    with socket.socket(family) as client:
        client.connect((address, port))
        client.sendall(b"q" * count)
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):
            pass


def complete(witness: Witness, cgroup: Cgroup, closed: int) -> list[SimpleNamespace]:
    """All events of the cgroup when `closed` connections have ended, which may be after their process has."""

    def all_closed() -> bool:
        return witness.counts(cgroup.id)["TCP_CLOSE"] >= closed

    witness.wait_for(all_closed)
    return witness.events(cgroup.id)


def of_kind(events: list[SimpleNamespace], *kinds: str) -> list[SimpleNamespace]:
    return [event for event in events if event.kind in kinds]


def address_of(event: SimpleNamespace, end: str) -> str:
    raw: bytes = getattr(event, f"{end}_address")
    if event.family == socket.AF_INET:
        assert raw[4:] == bytes(12)
        raw = raw[:4]
    return socket.inet_ntop(event.family, raw)


def owner(event: SimpleNamespace) -> tuple[int, int, int]:
    return event.owner_pid, event.role, event.owner_source


@FAMILIES
def test_connections_are_counted_and_both_ends_agree(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup, family: int, address: str
) -> None:
    sizes = [2 * number * number for number in range(1, 14)]
    server = Server(cgroup, family, address, echo, len(sizes))

    def ask_for_each_size() -> None:
        for size in sizes:
            ask(family, address, server.port, size)

    client, _ = run(other_cgroup, ask_for_each_size)
    assert server.process.wait() == 0
    ours, theirs = complete(witness, cgroup, 13), complete(witness, other_cgroup, 13)
    listening = of_kind(ours, "TCP_LISTEN", "TCP_UNLISTEN")
    assert [event.kind for event in listening] == ["TCP_LISTEN", "TCP_UNLISTEN"]
    assert Counter(event.kind for event in ours) == {
        "TCP_LISTEN": 1, "TCP_UNLISTEN": 1, "TCP_ACCEPT": 13, "TCP_CLOSE": 13, "EXIT": 1
    }  # fmt: skip
    assert Counter(event.kind for event in theirs) == {"TCP_CONNECT": 13, "TCP_CLOSE": 13, "EXIT": 1}
    accepted = {event.socket_id: event for event in of_kind(ours, "TCP_ACCEPT")}
    connected = {event.socket_id: event for event in of_kind(theirs, "TCP_CONNECT")}
    assert len(accepted) == len(connected) == 13
    by_port = {event.local_port: event for event in connected.values()}
    for event in accepted.values():
        peer = by_port[event.remote_port]
        assert peer.remote_port == event.local_port == server.port
        assert address_of(event, "local") == address_of(peer, "remote") == address
        assert address_of(event, "remote") == address_of(peer, "local") == address
        assert event.net_ns == peer.net_ns
        assert f"net:[{event.net_ns}]" == os.readlink("/proc/self/ns/net")
    served = sorted(of_kind(ours, "TCP_CLOSE"), key=lambda event: event.bytes_received)
    asked = sorted(of_kind(theirs, "TCP_CLOSE"), key=lambda event: event.bytes_sent)
    for size, end, other in zip(sizes, served, asked, strict=True):
        assert end.bytes_received == other.bytes_sent == other.bytes_acked == size
        assert other.bytes_received == end.bytes_sent == end.bytes_acked == size // 2
        assert end.socket_id in accepted
        assert other.socket_id in connected
        assert owner(end) == (server.process.pid, ROLES["PW_SERVER"], SOURCES["PW_OWNER_BY_IO"])
        assert owner(other) == (client, ROLES["PW_CLIENT"], SOURCES["PW_OWNER_BY_CALL"])
        assert end.retransmits == end.bytes_retransmitted == 0
        assert other.rtt_us < 5_000_000
    for event in (*served, *asked):
        assert not event.flags
        assert min(event.segments_in, event.segments_out) >= 3
        assert 0 < event.duration_ns < 20 * 10**9


@FAMILIES
def test_listener(witness: Witness, cgroup: Cgroup, family: int, address: str) -> None:
    def work() -> None:
        socket.create_server((address, EPHEMERAL), family=family, backlog=17).close()

    pid, _ = run(cgroup, work)
    made, gone, _ = witness.events(cgroup.id)
    assert (made.kind, gone.kind) == ("TCP_LISTEN", "TCP_UNLISTEN")
    assert made.socket_id == gone.socket_id
    assert made.local_port == gone.local_port > 0
    assert address_of(made, "local") == address
    assert (made.backlog, made.role) == (17, ROLES["PW_LISTENER"])
    assert made.owner_pid == gone.owner_pid == pid
    assert made.owner_start_ns == gone.owner_start_ns > 0
    assert made.comm == gone.comm != b""
    assert made.duration_ns == 0 < gone.duration_ns


@FAMILIES
def test_refused_connections(witness: Witness, cgroup: Cgroup, family: int, address: str) -> None:
    with socket.create_server((address, EPHEMERAL), family=family) as listener:
        port = listener.getsockname()[1]

    def work() -> None:
        for _ in range(17):
            with socket.socket(family) as client:
                assert client.connect_ex((address, port)) == 111

    pid, status = run(cgroup, work)
    assert status == 0
    assert witness.counts(cgroup.id) == {"TCP_CONNECT_FAILED": 17, "EXIT": 1}
    for event in witness.events(cgroup.id, "TCP_CONNECT_FAILED"):
        assert (event.error, event.owner_pid, event.remote_port) == (111, pid, port)
        assert event.local_port > 0
        assert address_of(event, "remote") == address


def reset(connection: socket.socket) -> None:
    with connection:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def leave_unread(connection: socket.socket) -> None:
    with connection:
        connection.recv(1)


@FAMILIES
@pytest.mark.parametrize("end", [reset, leave_unread])
def test_resets_are_marked_at_both_ends(
    witness: Witness,
    cgroup: Cgroup,
    other_cgroup: Cgroup,
    family: int,
    address: str,
    end: Callable[[socket.socket], None],
) -> None:
    server = Server(cgroup, family, address, end, 5)

    def work() -> None:
        for _ in range(5):
            with suppress(ConnectionResetError), socket.socket(family) as client:
                client.connect((address, server.port))
                client.sendall(b"q" * 97)
                client.recv(1)

    run(other_cgroup, work)
    server.process.wait()
    for group in (cgroup, other_cgroup):
        closed = of_kind(complete(witness, group, 5), "TCP_CLOSE")
        assert [event.flags for event in closed] == [{"RESET"}] * 5
        assert {event.error for event in closed} == {0}
    sent = of_kind(witness.events(other_cgroup.id), "TCP_CLOSE")
    assert {event.bytes_sent for event in sent} == {97}
    assert {event.bytes_received for event in sent} == {0}


@pytest.mark.parametrize("first", ["reads", "writes", "only closes"])
def test_owner_is_the_worker_that_accepted(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup, first: str
) -> None:
    accept_in_a_worker(witness, cgroup, other_cgroup, first)


@pytest.mark.parametrize("dialect", Dialect)
def test_owner_is_the_worker_that_writes_where_no_tracepoint_tells_of_tcp_alone(
    cgroup: Cgroup, other_cgroup: Cgroup, dialect: Dialect
) -> None:
    witness = Witness.attach(dialect=dialect, without=("ARGUMENTS_tcp_sendmsg_locked",))
    assert "sock_send_length" in witness.probes.links
    assert "tcp_sendmsg_locked" in witness.probes.links  # this kernel has it all the same
    os.close(witness.probes.links.pop("tcp_sendmsg_locked"))
    accept_in_a_worker(witness, cgroup, other_cgroup, "writes")
    witness.close()


def accept_in_a_worker(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup, first: str) -> None:
    """The one that listens stays out of it, as the master of a web server."""
    family, address = AF["IPv4"]
    from_worker, to_test = os.pipe()

    def serve_in_a_fork(connection: socket.socket) -> None:
        worker = os.fork()
        if worker:
            connection.close()
            os.waitpid(worker, 0)
            return
        os.write(to_test, b"%d" % os.getpid())
        if first == "reads":
            connection.recv(10)
        elif first == "writes":
            connection.send(b"220 ready")
        connection.shutdown(socket.SHUT_RDWR)
        os._exit(0)

    server = Server(cgroup, family, address, serve_in_a_fork)

    def work() -> None:
        with socket.create_connection((address, server.port)) as client:
            if first == "reads":
                client.send(b"q")
            with suppress(ConnectionResetError):
                client.recv(10)

    run(other_cgroup, work)
    server.process.wait()
    worker = int(os.read(from_worker, 8))
    os.close(from_worker)
    os.close(to_test)
    events = complete(witness, cgroup, 1)
    (accept,), (close,) = of_kind(events, "TCP_ACCEPT"), of_kind(events, "TCP_CLOSE")
    assert (accept.owner_pid, accept.owner_source) == (
        server.process.pid,
        SOURCES["PW_OWNER_BY_LISTENER"],
    )
    source = "PW_OWNER_BY_CLOSE" if first == "only closes" else "PW_OWNER_BY_IO"
    assert (close.owner_pid, close.owner_source) == (worker, SOURCES[source])
    (fork,) = of_kind(events, "FORK")
    assert (close.owner_pid, close.owner_start_ns) == (fork.pid, fork.start_ns)
    assert close.socket_id == accept.socket_id


def test_ipv4_at_a_listener_of_both_families(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """Both ends of a connection are reported in the same family."""
    from_child, to_parent = os.pipe()

    def work() -> None:
        listener = socket.create_server(("::", EPHEMERAL), family=socket.AF_INET6, dualstack_ipv6=True)
        os.write(to_parent, b"%d" % listener.getsockname()[1])
        echo(listener.accept()[0])

    process = Process(cgroup, work)
    os.close(to_parent)
    port = int(os.read(from_child, 8))
    os.close(from_child)
    run(other_cgroup, lambda: ask(socket.AF_INET, "127.0.0.1", port, 100))
    process.wait()
    events = complete(witness, cgroup, 1)
    (accept,), (listen,) = of_kind(events, "TCP_ACCEPT"), of_kind(events, "TCP_LISTEN")
    assert (listen.family, address_of(listen, "local")) == (socket.AF_INET6, "::")
    assert (accept.family, address_of(accept, "local")) == (socket.AF_INET, "127.0.0.1")
    assert accept.owner_pid == process.pid


def test_listeners_on_one_port_are_told_apart_by_address(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    server = Server(cgroup, socket.AF_INET, "127.0.0.1", echo)
    with socket.create_server(("127.0.0.2", server.port)):
        run(other_cgroup, lambda: ask(socket.AF_INET, "127.0.0.1", server.port, 10))
        server.process.wait()
    events = complete(witness, cgroup, 1)
    (accept,) = of_kind(events, "TCP_ACCEPT")
    assert accept.owner_pid == server.process.pid


@FAMILIES
def test_socket_that_connects_to_itself(witness: Witness, cgroup: Cgroup, family: int, address: str) -> None:
    """Both SYNs cross: SYN_SENT -> SYN_RECV -> ESTABLISHED is a connect here, not an accept."""

    def work() -> None:
        with socket.socket(family) as own:
            own.bind((address, EPHEMERAL))
            own.connect(own.getsockname())
            own.send(b"to myself")
            own.recv(100)

    pid, status = run(cgroup, work)
    assert status == 0
    connect, close, end = complete(witness, cgroup, 1)
    assert (connect.kind, close.kind, end.kind) == ("TCP_CONNECT", "TCP_CLOSE", "EXIT")
    assert connect.socket_id == close.socket_id
    assert connect.local_port == connect.remote_port
    assert {connect.owner_pid, close.owner_pid} == {pid}
    assert {connect.role, close.role} == {ROLES["PW_CLIENT"]}
    assert (close.bytes_sent, close.bytes_acked, close.bytes_received) == (9, 9, 9)


def set_loopback_up() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as route:
        route.link("set", index=1, state="up")


def own_network() -> None:
    unshare(CLONE_NEWNET)
    set_loopback_up()


def serve_seven(listener: socket.socket) -> None:
    for _ in range(7):
        echo(listener.accept()[0])


@FAMILIES
def test_connections_in_a_network_namespace(
    witness: Witness, cgroup: Cgroup, family: int, address: str
) -> None:
    """Client and server in one process of a namespace of its own; the address exists on the host, too."""

    def work() -> None:
        own_network()
        listener = socket.create_server((address, EPHEMERAL), family=family)
        serving = threading.Thread(target=serve_seven, args=(listener,))
        serving.start()
        for size in range(7):
            ask(family, address, listener.getsockname()[1], size)
        serving.join()

    pid, status = run(cgroup, work)
    assert status == 0
    events = complete(witness, cgroup, 14)
    counts = {kind: len(of_kind(events, kind)) for kind in ("TCP_ACCEPT", "TCP_CONNECT", "TCP_CLOSE")}
    assert counts == {"TCP_ACCEPT": 7, "TCP_CONNECT": 7, "TCP_CLOSE": 14}
    tcp = [event for event in events if event.kind.startswith("TCP_")]
    (net_ns,) = {event.net_ns for event in tcp}
    assert f"net:[{net_ns}]" != os.readlink("/proc/self/ns/net")
    assert {event.owner_pid for event in tcp} == {pid}
    ends = of_kind(events, "TCP_CLOSE")
    assert sorted(event.bytes_received for event in ends) == sorted([*range(7), *(n // 2 for n in range(7))])


def test_connection_that_is_older_than_the_probes(cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """Its owner can't be known; its cgroup is, since the socket has it."""
    read_end, write_end = os.pipe()
    server = Server(cgroup, socket.AF_INET, "127.0.0.1", echo)

    def work() -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"q" * 50)
            os.read(read_end, 1)
            client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass

    client = Process(other_cgroup, work)
    witness = Witness.attach(["network"])
    try:
        os.write(write_end, b"x")
        client.wait()
        server.process.wait()
        (close,) = of_kind(complete(witness, other_cgroup, 1), "TCP_CLOSE")
        assert (close.flags, close.owner_pid, close.owner_source) == ({"OWNER_UNKNOWN"}, 0, 0)
        assert (close.bytes_sent, close.remote_port) == (50, server.port)
        assert close.duration_ns == 0
        (unlisten,) = witness.events(cgroup.id, "TCP_UNLISTEN")
        assert unlisten.local_port == server.port
    finally:
        witness.close()
        os.close(read_end)
        os.close(write_end)


def test_listener_that_is_older_than_the_probes(cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """As nearly all are when the agent starts: the first read tells the process all the same."""
    server = Server(cgroup, socket.AF_INET, "127.0.0.1", echo)
    witness = Witness.attach(["network"])
    try:
        run(other_cgroup, lambda: ask(socket.AF_INET, "127.0.0.1", server.port, 10))
        server.process.wait()
        accept, *rest = witness.events(cgroup.id)
        assert (accept.kind, accept.flags, accept.owner_pid) == ("TCP_ACCEPT", set(), 0)  # it is itself new
        assert accept.owner_source == SOURCES["PW_OWNER_NONE"]
        close = next(event for event in rest if event.kind == "TCP_CLOSE")
        assert (close.flags, close.owner_pid) == (set(), server.process.pid)
        assert close.owner_source == SOURCES["PW_OWNER_BY_IO"]
    finally:
        witness.close()


def test_one_of_two_listeners_on_a_port_ends(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """By SO_REUSEPORT several share it, as workers of a web server: the one that ends takes nothing away."""
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(("127.0.0.1", EPHEMERAL))
        port = first.getsockname()[1]
        first.listen()

        def work() -> None:
            with socket.create_server(("127.0.0.1", port), reuse_port=True) as second:
                first.close()
                client = Process(other_cgroup, lambda: ask(socket.AF_INET, "127.0.0.1", port, 10))
                echo(second.accept()[0])
                client.wait()

        server = Process(cgroup, work)
        witness.wait_for(lambda: bool(witness.events(cgroup.id, "TCP_LISTEN")))
        first.close()
        server.wait()
    (accept,) = of_kind(complete(witness, cgroup, 1), "TCP_ACCEPT")
    assert accept.owner_pid == server.pid


def test_retransmissions_are_counted(witness: Witness, cgroup: Cgroup) -> None:
    """A network namespace whose loopback loses packets: the queue there drops what is above its limit."""

    def work() -> None:
        own_network()
        from pyroute2 import IPRoute

        listener = socket.create_server(("127.0.0.1", EPHEMERAL))
        serving = threading.Thread(target=lambda: echo(listener.accept()[0]))
        serving.start()
        with IPRoute() as route:
            route.link("set", index=1, mtu=1500)
            route.tc("add", "tbf", index=1, rate="20mbit", burst=20000, limit=30000)
        ask(socket.AF_INET, "127.0.0.1", listener.getsockname()[1], 2_000_000)
        serving.join()

    _, status = run(cgroup, work)
    assert status == 0
    client = next(
        event for event in complete(witness, cgroup, 2) if event.kind == "TCP_CLOSE" and event.role == 1
    )
    assert client.retransmits > 0
    assert client.bytes_acked == 2_000_000
    # What the own queue drops is sent again without counting as retransmitted.
    assert client.bytes_sent >= 2_000_000 + client.bytes_retransmitted
    assert client.bytes_retransmitted > 0
    assert client.rtt_us > 0

"""Known UDP and ICMP traffic gives exactly the flows that it should, with the right process behind each."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import pytest

from probes.launch import launch
from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, Process, fork_one_by_one, libc, run, unshare
from tests.kernel.test_connection_ways import SEND, Uring
from tests.kernel.test_network_events import address_of, set_loopback_up
from tests.kernel.witness import KEPT_PROBES, Witness

AF = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}
FAMILIES = pytest.mark.parametrize(("family", "address"), AF.values(), ids=AF)
SOURCES = LAYOUT.enums["pw_owner_source"]
TREES = LAYOUT.enums["pw_tree"]
CAUSES = LAYOUT.enums["pw_end_cause"]
UDP, UDP_LITE, ICMP, ICMPV6 = 17, 136, 1, 58
IDLE_S = 0.2


@pytest.fixture(scope="module")
def attached() -> Iterator[Witness]:
    witness = Witness.attach(["process", "network", "flow", "cgroup"])
    yield witness
    witness.close()


def flows(witness: Witness, cgroup: Cgroup, *kinds: str) -> list[SimpleNamespace]:
    return witness.events(cgroup.id, *(f"FLOW_{kind}" for kind in kinds or ("START", "END")))


def counted(flow: SimpleNamespace) -> tuple[int, int, int, int]:
    return flow.packets_sent, flow.bytes_sent, flow.packets_received, flow.bytes_received


def serve(family: int, address: str, count: int, told: int, answer: Callable[[bytes], bytes]) -> None:
    fork_one_by_one(1)  # by its fork the cgroup has a first process: a tree, as a container has
    with socket.socket(family, socket.SOCK_DGRAM) as own:
        own.bind((address, 0))
        os.write(told, b"%d" % own.getsockname()[1])
        for _ in range(count):
            question, asker = own.recvfrom(1 << 16)
            if reply := answer(question):
                own.sendto(reply, asker)


def started(cgroup: Cgroup, *arguments: object) -> tuple[Process, int]:
    """A server in the cgroup, and its port."""
    from_child, to_parent = os.pipe()
    family, address, count, answer = arguments
    process = Process(cgroup, lambda: serve(family, address, count, to_parent, answer))  # type: ignore[arg-type]
    os.close(to_parent)
    port = int(os.read(from_child, 8))
    os.close(from_child)
    return process, port


def half(question: bytes) -> bytes:
    return question[: len(question) // 2]


@FAMILIES
@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "unconnected"])
def test_both_ends_count_the_same(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup, family: int, address: str, is_connected: bool
) -> None:
    sizes = [2 * number for number in range(1, 24)]
    server, port = started(cgroup, family, address, len(sizes), half)

    def ask() -> None:
        fork_one_by_one(1)
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            if is_connected:
                client.connect((address, port))
            for size in sizes:
                client.send(b"q" * size) if is_connected else client.sendto(b"q" * size, (address, port))
                client.recv(1 << 16)

    client, status = run(other_cgroup, ask)
    assert (status, server.wait()) == (0, 0)
    (began, ended), (asked, gone) = flows(witness, cgroup), flows(witness, other_cgroup)
    assert [event.kind for event in (began, ended, asked, gone)] == ["FLOW_START", "FLOW_END"] * 2
    assert counted(asked) == (1, sizes[0], 0, 0)
    assert counted(began) == (0, 0, 1, sizes[0])
    total = sum(sizes)
    assert counted(gone) == (23, total, 23, total // 2)
    assert counted(ended) == (23, total // 2, 23, total)
    assert (gone.owner_pid, ended.owner_pid) == (client, server.pid)
    assert {flow.entry_way & 15 for flow in (began, ended, asked, gone)} == {TREES["PW_TREE_INIT"]}
    assert asked.owner_source == SOURCES["PW_OWNER_BY_IO"]
    assert began.owner_source == SOURCES["PW_OWNER_BY_BIND"]
    assert ended.owner_source == SOURCES["PW_OWNER_BY_IO"]
    assert (gone.is_ingress, ended.is_ingress) == (0, 1)
    assert (gone.end_cause, ended.end_cause) == (CAUSES["PW_END_CLOSED"],) * 2
    assert gone.remote_port == ended.local_port == port
    assert gone.local_port == ended.remote_port
    assert {address_of(event, end) for event in (gone, ended) for end in ("local", "remote")} == {address}
    assert gone.socket_id == asked.socket_id != ended.socket_id == began.socket_id
    assert f"net:[{gone.net_ns}]" == os.readlink("/proc/self/ns/net")
    with socket.socket() as one:
        assert gone.net_cookie == int.from_bytes(one.getsockopt(socket.SOL_SOCKET, 71, 8), "little")


def test_one_socket_with_many_peers(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """Each is a flow. Eight end with their socket at once, of the rest the collector is told."""
    server, port = started(cgroup, socket.AF_INET, "127.0.0.1", 40, half)

    def ask() -> None:
        # All open at once: the kernel might give a port that is free again to the next.
        for client in [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]:
            client.sendto(b"question", ("127.0.0.1", port))
            client.recv(100)

    run(other_cgroup, ask)
    server.wait()
    began = flows(witness, cgroup, "START")
    # One whose places another packet of the machine was changing is told at once as over.
    alone = [flow for flow in flows(witness, cgroup, "END") if flow.end_cause == CAUSES["PW_END_CONTENDED"]]
    ports = [event.remote_port for event in (*began, *alone)]
    assert len(set(ports)) == len(ports) == 40
    assert {event.owner_pid for event in began} == {server.pid}
    assert len(flows(witness, cgroup, "END")) - len(alone) == 8
    closed = [event.socket_id for event in witness.events(None, "FLOW_CLOSED")]
    assert closed == [began[0].socket_id]
    assert len(flows(witness, other_cgroup, "END")) == 40


def test_ipv4_on_an_ipv6_socket(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """Shown as what is on the wire, at both ends."""
    server, port = started(cgroup, socket.AF_INET6, "::", 1, half)

    def ask() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.sendto(b"question", ("::ffff:127.0.0.1", port))
            client.recv(100)

    run(other_cgroup, ask)
    server.wait()
    for event in (*flows(witness, cgroup), *flows(witness, other_cgroup)):
        assert event.family == socket.AF_INET
        assert address_of(event, "local") == address_of(event, "remote") == "127.0.0.1"


class Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int64),  # int, and the padding at the end of struct msghdr
        ("sent", ctypes.c_uint32),
    )


TICK_NS = 10_000_000  # the longest that kernels are built with


def test_end_is_exact_of_a_short_flow_and_to_a_tick_of_a_long_one(witness: Witness, cgroup: Cgroup) -> None:
    """All ticks have packets of the long one: its last ones need not tell the time."""

    def work() -> None:
        for count in (3, 3000):
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
            ):
                reader.bind(("127.0.0.1", 0))
                sender.connect(reader.getsockname())
                for _ in range(count):
                    sender.send(b"x")

    run(cgroup, work)
    short, long = [flow for flow in flows(witness, cgroup, "END") if flow.packets_sent]
    assert (short.packets_sent, long.packets_sent) == (3, 3000)
    assert short.first_ns < short.last_ns < short.time_ns
    assert long.first_ns < long.last_ns
    assert 0 < long.time_ns - long.last_ns < TICK_NS + 20_000_000


def send_many(descriptor: int, count: int) -> None:
    text = ctypes.create_string_buffer(b"x" * 10, 10)
    part = struct.pack("@PN", ctypes.addressof(text), 10)
    held = ctypes.create_string_buffer(part, len(part))
    messages = (Message * count)(*[Message(parts=ctypes.addressof(held), part_count=1) for _ in range(count)])
    assert libc.sendmmsg(descriptor, messages, count, 0) == count


def send_segments(descriptor: int) -> None:
    """One call, one packet as far as the hook; four on the wire (UDP_SEGMENT)."""
    segment_bytes = struct.pack("@H", 10)
    own = socket.socket(fileno=os.dup(descriptor))
    own.sendmsg([b"x" * 40], [(socket.IPPROTO_UDP, 103, segment_bytes)])
    own.close()


def send_parts(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as own:
        own.sendmsg([b"x" * 7, b"y" * 3])


def write(descriptor: int) -> None:
    os.write(descriptor, b"x" * 10)


def send_by_ring(descriptor: int) -> None:
    ring = Uring()
    text = ctypes.create_string_buffer(b"x" * 10, 10)
    ring.do(SEND, descriptor, ctypes.addressof(text), 10, 0)
    ring.close()


# Packets, of ten bytes each.
SENDING: dict[str, tuple[Callable[[int], None], int]] = {
    "sendmsg": (send_parts, 1),
    "write": (write, 1),
    "sendmmsg": (partial(send_many, count=5), 5),
    "UDP_SEGMENT": (send_segments, 4),
    "io_uring": (send_by_ring, 1),
}


@pytest.mark.parametrize("way", SENDING)
def test_all_ways_to_send_are_counted(witness: Witness, cgroup: Cgroup, way: str) -> None:
    send, packets = SENDING[way]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))

        def work() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(other.getsockname())
                send(client.fileno())

        pid, status = run(cgroup, work)
    assert status == 0
    began, ended = flows(witness, cgroup)
    assert counted(ended) == (packets, packets * 10, 0, 0)
    assert began.owner_pid == ended.owner_pid == pid


def test_socket_that_another_process_got_and_uses(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    """Passed over a UNIX socket into another cgroup: the flow is of the process that sends."""
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))

        def make() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
                made.connect(other.getsockname())
                socket.send_fds(ours, [b"x"], [made.fileno()])

        def use() -> None:
            _, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
            os.write(descriptors[0], b"from another")

        run(cgroup, make)
        pid, status = run(other_cgroup, use)
    ours.close()
    theirs.close()
    assert status == 0
    assert flows(witness, cgroup) == []
    began, ended = flows(witness, other_cgroup)
    assert (began.owner_pid, ended.owner_pid) == (pid, pid)
    assert counted(ended) == (1, 12, 0, 0)


def test_own_network_namespace(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind(("127.0.0.1", 5353))
            own.sendto(b"to myself", ("127.0.0.1", 5353))
            own.recv(100)

    _, status = run(cgroup, work)
    assert status == 0
    (began, ended), (bound,) = flows(witness, cgroup), witness.events(cgroup.id, "BIND")
    assert counted(ended) == (1, 9, 1, 9)
    assert began.net_ns == ended.net_ns == bound.net_ns
    assert f"net:[{began.net_ns}]" != os.readlink("/proc/self/ns/net")
    assert began.net_cookie == bound.net_cookie > 0


@FAMILIES
def test_udp_lite_is_counted_as_udp_is(witness: Witness, cgroup: Cgroup, family: int, address: str) -> None:
    def work() -> None:
        with (
            socket.socket(family, socket.SOCK_DGRAM, UDP_LITE) as reader,
            socket.socket(family, socket.SOCK_DGRAM, UDP_LITE) as sender,
        ):
            reader.bind((address, 0))
            for size in (5, 7):
                sender.sendto(b"x" * size, reader.getsockname())
                reader.recv(100)

    pid, status = run(cgroup, work)
    assert status == 0
    ends = {counted(flow) for flow in flows(witness, cgroup, "END")}
    assert ends == {(2, 12, 0, 0), (0, 0, 2, 12)}
    assert {(flow.protocol, flow.owner_pid) for flow in flows(witness, cgroup)} == {(UDP_LITE, pid)}


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["UDP", "TCP"])
@FAMILIES
def test_bind(witness: Witness, cgroup: Cgroup, family: int, address: str, kind: socket.SocketKind) -> None:
    def work() -> None:
        with socket.socket(family, kind) as own:
            own.bind((address, 0))
            with suppress(OSError):
                own.bind((address, 0))  # refused: bound already

    pid, _ = run(cgroup, work)
    (bound,) = witness.events(cgroup.id, "BIND")
    assert (bound.owner_pid, bound.family) == (pid, family)
    assert bound.protocol == {socket.SOCK_DGRAM: 17, socket.SOCK_STREAM: 6}[kind]
    assert bound.local_port > 0
    assert address_of(bound, "local") == address


def echo_request(kind: int, sequence: int) -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, 0, sequence) + b"x" * 16


@pytest.mark.parametrize(
    ("family", "address", "protocol", "kind"),
    [(socket.AF_INET, "127.0.0.1", ICMP, 8), (socket.AF_INET6, "::1", ICMPV6, 128)],
    ids=["IPv4", "IPv6"],
)
def test_echo(witness: Witness, cgroup: Cgroup, family: int, address: str, protocol: int, kind: int) -> None:
    """Of the one that asks with its process; the kernel's answer as of its namespace."""

    def work() -> None:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        with open("/proc/sys/net/ipv4/ping_group_range", "w") as allowed:
            allowed.write("0 0")
        with socket.socket(family, socket.SOCK_DGRAM, protocol) as own:
            for number in range(3):
                own.sendto(echo_request(kind, number), (address, 0))
                own.recv(100)

    pid, status = run(cgroup, work)
    assert status == 0
    asked = [event for event in flows(witness, cgroup) if event.owner_pid]
    assert [event.kind for event in asked] == ["FLOW_START", "FLOW_END"]
    assert counted(asked[1]) == (3, 72, 3, 72)
    assert (asked[1].owner_pid, asked[1].protocol) == (pid, protocol)
    assert (asked[1].local_port, asked[1].remote_port) == (kind, 0)
    (answer,) = [event for event in flows(witness, cgroup, "START") if not event.owner_pid]
    assert answer.flags == {"KERNEL_SOCKET", "BY_NETNS"}
    assert (answer.net_ns, answer.is_ingress, answer.local_port) == (asked[0].net_ns, 0, kind)


def test_error_that_the_kernel_sends(witness: Witness, cgroup: Cgroup) -> None:
    """Port unreachable: sent by the kernel, for the pod of the namespace."""

    def work() -> None:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.connect(("127.0.0.1", 9))
            for _ in range(2):
                with suppress(ConnectionRefusedError):
                    own.send(b"x")
                    own.recv(1)

    run(cgroup, work)
    (error,) = [event for event in flows(witness, cgroup, "START") if event.protocol == ICMP]
    assert (error.local_port, error.remote_port) == (3, 3)
    assert error.flags == {"KERNEL_SOCKET", "BY_NETNS"}


def test_loader_hands_over_a_socket_of_connection_tracking() -> None:
    probes = asyncio.run(launch(["flow"], ring_bytes=1 << 16, cache=KEPT_PROBES.name))
    held = probes.tracking_fd
    assert os.readlink(f"/proc/self/fd/{held}").startswith("socket:")
    assert not os.get_inheritable(held)
    assert not os.get_blocking(held)
    probes.close()
    assert probes.tracking_fd == -1


@pytest.fixture
def hasty() -> Iterator[Witness]:
    """Flows are idle soon."""
    idle = {"FLOW_IDLE_NS": int(IDLE_S * 1e9)}
    probes = asyncio.run(launch(["flow"], ring_bytes=1 << 20, constants=idle))
    witness = Witness(probes)
    yield witness
    witness.close()


def test_a_flow_that_was_idle_begins_anew(hasty: Witness, cgroup: Cgroup) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))

        def work() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(other.getsockname())
                client.send(b"one")
                client.send(b"two")
                other.settimeout(2 * IDLE_S)
                other.recv(10)
                other.recv(10)
                with suppress(TimeoutError):
                    other.recv(10)
                client.send(b"three")

        assert run(cgroup, work)[1] == 0
    first, idle, second, closed = flows(hasty, cgroup)
    assert [event.kind for event in (first, idle, second, closed)] == ["FLOW_START", "FLOW_END"] * 2
    assert (counted(idle), idle.end_cause) == ((2, 6, 0, 0), CAUSES["PW_END_IDLE"])
    assert (counted(closed), closed.end_cause) == ((1, 5, 0, 0), CAUSES["PW_END_CLOSED"])
    assert first.first_ns == idle.first_ns < second.first_ns == closed.first_ns


@pytest.fixture
def roomy() -> Iterator[Witness]:
    witness = Witness.attach(["flow"], flow_ring_bytes=64 << 20)
    yield witness
    assert not any(witness.probes.lost())
    witness.close()


def test_more_flows_than_places_are_all_told(roomy: Witness, cgroup: Cgroup) -> None:
    """20,000 at once, where 16,384 have a place: what gives way is reported with what it had."""
    peers, packets = 20000, 2

    def work() -> None:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            for _ in range(packets):
                for number in range(peers):
                    with suppress(ConnectionRefusedError):
                        own.sendto(b"12345", (f"127.1.{number >> 8}.{number & 255}", 9))

    assert run(cgroup, work)[1] == 0
    seen = [event for event in flows(roomy, cgroup) if event.protocol == UDP]
    began = [event for event in seen if event.kind == "FLOW_START"]
    ended = [event for event in seen if event.kind == "FLOW_END"]
    evicted = [event for event in ended if event.end_cause == CAUSES["PW_END_EVICTED"]]
    table = table_of(roomy)
    left = [flow for flow in table if flow.socket_id == began[0].socket_id and not flow.end_cause]
    assert len({event.remote_address for event in began}) == peers
    assert len(evicted) >= peers - 16384
    assert sum(flow.packets_sent for flow in (*ended, *left)) == peers * packets
    assert sum(flow.bytes_sent for flow in (*ended, *left)) == 5 * peers * packets


def table_of(witness: Witness) -> list[SimpleNamespace]:
    """What stands in the map, as the collector reads it."""
    import mmap

    slot = LAYOUT.structs["pw_flow_slot"]
    size = 16384 * ctypes.sizeof(slot)
    with mmap.mmap(witness.probes.maps["flows"], size, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        slots = (slot * 16384).from_buffer_copy(mapped)
    return [
        SimpleNamespace(**{name: getattr(one.flow, name) for name, *_ in one.flow._fields_})
        for one in slots
        if one.flow.first_ns
    ]

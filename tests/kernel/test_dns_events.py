"""DNS as it passes: each packet with the process that sends or gets it, over UDP and TCP."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, Process, mount, private_mounts, run, unshare
from tests.kernel.test_network_events import complete, set_loopback_up
from tests.kernel.witness import Witness
from tests.reference import dns_messages as messages
from tests.reference.dns import parse

PORT = 53
FAMILIES = pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"]
)
ADDRESS = bytes([10, 1, 2, 3])
SOURCES = LAYOUT.enums["pw_owner_source"]


@pytest.fixture(scope="module")
def attached() -> Iterator[Witness]:
    witness = Witness.attach(["network", "flow", "cgroup"])
    yield witness
    witness.close()


def answered(question: bytes, content: bytes = ADDRESS) -> bytes:
    """To whatever is asked."""
    at_the_question = messages.pointer(messages.QUESTION_AT)
    return (
        question[:2]
        + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
        + question[12:]
        + messages.resource(at_the_question, messages.A, content)
    )


def dns(witness: Witness, cgroup: Cgroup) -> list[SimpleNamespace]:
    return witness.events(cgroup.id, "DNS")


def read(event: SimpleNamespace) -> dict[str, object]:
    assert event.payload_bytes == event.payload_total_bytes == len(event.tail)
    found = parse(event.tail)
    assert found is not None
    return found


def in_own_network(work: object) -> object:
    def inside() -> None:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        work()  # type: ignore[operator]

    return inside


@FAMILIES
def test_query_and_answer_by_udp(witness: Witness, cgroup: Cgroup, family: int, address: str) -> None:
    def work() -> None:
        with (
            socket.socket(family, socket.SOCK_DGRAM) as server,
            socket.socket(family, socket.SOCK_DGRAM) as client,
        ):
            server.bind((address, PORT))
            client.sendto(messages.query("db.example.org"), (address, PORT))
            question, asker = server.recvfrom(512)
            server.sendto(answered(question), asker)
            client.recv(512)

    pid, status = run(cgroup, in_own_network(work))  # type: ignore[arg-type]
    assert status == 0
    events = dns(witness, cgroup)
    assert [(event.is_ingress, event.remote_port == PORT) for event in events] == [
        (0, True),  # the client asks
        (1, False),  # the server is asked
        (0, False),
        (1, True),
    ]
    assert [read(event)["type"] for event in events] == ["query", "query", "answer", "answer"]
    assert {str(read(event)["question"]) for event in events} == {
        str({"name": "db.example.org", "type": "A", "class": "IN"})
    }
    assert {event.owner_pid for event in events} == {pid}
    assert {event.protocol for event in events} == {17}
    assert events[0].socket_id == events[3].socket_id != events[1].socket_id == events[2].socket_id
    assert len({event.net_ns for event in events}) == 1


@pytest.mark.parametrize("size", [500, 600, 1400, 4000])
def test_payload_is_bounded(witness: Witness, cgroup: Cgroup, size: int) -> None:
    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(messages.query("a.b").ljust(size, b"x"), ("127.0.0.1", PORT))

    run(cgroup, in_own_network(work))  # type: ignore[arg-type]
    (event,) = dns(witness, cgroup)
    assert event.payload_total_bytes == size
    assert event.payload_bytes == len(event.tail) == min(size, LAYOUT.constants["PW_DNS_BYTES"] - 1)
    assert event.tail == messages.query("a.b").ljust(size, b"x")[: event.payload_bytes]


@FAMILIES
def test_by_tcp(witness: Witness, cgroup: Cgroup, family: int, address: str) -> None:
    """Segments in their order, with the process that connected."""
    question = messages.query("tcp.example")

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            asked = connection.recv(512)
            told = answered(asked[2:])
            connection.sendall(struct.pack("!H", len(told)) + told)

    def work() -> None:
        with socket.create_server((address, PORT), family=family) as listener:
            serving = threading.Thread(target=serve, args=(listener,))
            serving.start()
            with socket.socket(family) as client:
                client.connect((address, PORT))
                client.sendall(struct.pack("!H", len(question)) + question)
                client.recv(512)
            serving.join()

    pid, status = run(cgroup, in_own_network(work))  # type: ignore[arg-type]
    assert status == 0
    complete(witness, cgroup, 2)
    events = dns(witness, cgroup)
    assert len(events) == 4
    assert {event.protocol for event in events} == {6}
    assert {event.owner_pid for event in events} == {pid}
    sent, _, _, got = events
    assert parse(sent.tail[2:]) == parse(question)
    assert parse(got.tail[2:]) == parse(answered(question))
    assert sent.sequence > 0


RESOLVE = """
import socket, sys
print(socket.getaddrinfo(sys.argv[1], 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
"""


def test_resolver_of_the_c_library(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup, tmp_path: os.PathLike[str]
) -> None:
    """What a program does: the query is its own, not the server's."""
    configuration = os.path.join(tmp_path, "resolv.conf")
    with open(configuration, "w") as file:
        file.write("nameserver 127.0.0.1\noptions attempts:1\n")

    def serve(server: socket.socket) -> None:
        while True:
            question, asker = server.recvfrom(512)
            server.sendto(answered(question), asker)

    def work() -> int:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        private_mounts()
        mount(configuration, os.path.realpath("/etc/resolv.conf"), "", 0x1000)  # MS_BIND
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", PORT))
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        command = [sys.executable, "-c", RESOLVE, "service.namespace.example."]
        asking = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=other_cgroup.enter)
        said, _ = asking.communicate()
        return int(said != b"10.1.2.3\n")

    process = Process(cgroup, work)
    assert process.wait() == 0
    asked, told = dns(witness, other_cgroup)
    assert (read(asked)["type"], read(told)["type"]) == ("query", "answer")
    assert read(told)["resolved_ip"] == ["10.1.2.3"]
    assert asked.owner_pid == told.owner_pid != process.pid
    assert {event.owner_pid for event in dns(witness, cgroup)} == {process.pid}


def test_other_ports_are_left_alone(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(messages.query("a.b"), ("127.0.0.1", 54))

    run(cgroup, in_own_network(work))  # type: ignore[arg-type]
    assert dns(witness, cgroup) == []

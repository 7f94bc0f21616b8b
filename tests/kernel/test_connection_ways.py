"""Ways round the usual connect(): TCP fast open, io_uring, IPv4 by IPv6, a socket that another gets."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct

from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, libc, run, unshare
from tests.kernel.test_network_events import (
    ROLES,
    SOURCES,
    Server,
    address_of,
    complete,
    echo,
    of_kind,
    set_loopback_up,
)
from tests.kernel.witness import Witness

FAST_OPEN_BOTH = "3"
SETUP, ENTER = 425, 426  # system calls of io_uring
CONNECT, SEND = 16, 26  # IORING_OP_*
SUBMISSIONS, COMPLETIONS, ENTRIES = 0, 0x8000000, 0x10000000  # offsets for mmap


def test_fast_open(witness: Witness, cgroup: Cgroup) -> None:
    """Data goes with the SYN: seen as any connection, with its bytes."""

    def work() -> None:
        unshare(CLONE_NEWNET)
        set_loopback_up()
        with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as setting:
            setting.write(FAST_OPEN_BOTH)
        with socket.socket() as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            for _ in range(2):  # the first gets the cookie
                with socket.socket() as client:
                    client.sendto(b"early", socket.MSG_FASTOPEN, listener.getsockname())
                    connection, _ = listener.accept()
                    with connection:
                        assert connection.recv(10) == b"early"

    pid, status = run(cgroup, work)
    assert status == 0
    events = complete(witness, cgroup, 4)
    kinds = [len(of_kind(events, kind)) for kind in ("TCP_CONNECT", "TCP_ACCEPT", "TCP_CLOSE")]
    assert kinds == [2, 2, 4]
    closed = of_kind(events, "TCP_CLOSE")
    assert {event.owner_pid for event in closed} == {pid}
    sent = [event.bytes_sent for event in closed if event.role == ROLES["PW_CLIENT"]]
    received = [event.bytes_received for event in closed if event.role == ROLES["PW_SERVER"]]
    assert (sent, received) == ([5, 5], [5, 5])


def test_socket_that_another_process_goes_on_with(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup
) -> None:
    """Of a client's socket the one who called connect() stays the owner, whoever uses it afterwards."""
    server = Server(cgroup, socket.AF_INET, "127.0.0.1", echo)
    ours, theirs = socket.socketpair()

    def connect() -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            socket.send_fds(ours, [b"x"], [client.fileno()])

    def use() -> None:
        _, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
        with socket.socket(fileno=descriptors[0]) as client:
            client.sendall(b"from another")
            client.shutdown(socket.SHUT_WR)
            client.recv(100)

    connected, _ = run(other_cgroup, connect)
    user, status = run(cgroup, use)
    server.process.wait()
    ours.close()
    theirs.close()
    assert status == 0
    (close,) = of_kind(complete(witness, other_cgroup, 1), "TCP_CLOSE")
    assert (close.owner_pid, close.owner_source) == (connected, SOURCES["PW_OWNER_BY_CALL"])
    assert close.bytes_sent == 12
    assert user not in {event.owner_pid for event in witness.events(None, "TCP_CLOSE")}


class Uring:
    """A ring of io_uring(7) for one request at a time."""

    def __init__(self) -> None:
        self._parameters = ctypes.create_string_buffer(120)
        self.descriptor = libc.syscall(SETUP, 4, self._parameters)
        assert self.descriptor >= 0
        places = struct.unpack_from("=10I10I", self._parameters, 40)
        self._tail, self._array, self._taken = places[1], places[6], places[10]
        size = self._array + 4 * 4
        self._ring = mmap.mmap(self.descriptor, max(size, 4096), offset=SUBMISSIONS)
        self._requests = mmap.mmap(self.descriptor, 4096, offset=ENTRIES)

    def do(
        self, operation: int, descriptor: int, address: int, length: int, offset: int, flags: int = 0
    ) -> None:
        """Submits, and waits until it is done."""
        length &= 0xFFFFFFFF
        request = struct.pack("=BBHiQQII", operation, 0, 0, descriptor, offset, address, length, flags)
        self._requests[: len(request)] = request
        (tail,) = struct.unpack_from("=I", self._ring, self._tail)
        struct.pack_into("=I", self._ring, self._array, 0)
        struct.pack_into("=I", self._ring, self._tail, tail + 1)
        assert libc.syscall(ENTER, self.descriptor, 1, 1, 1, None, 0) == 1
        struct.pack_into(
            "=I", self._ring, self._taken, tail + 1
        )  # its result, so that the next one waits too

    def close(self) -> None:
        os.close(self.descriptor)


def test_io_uring(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """connect() and send() that no system call of that name makes: the same records, of the same process."""
    server = Server(cgroup, socket.AF_INET, "127.0.0.1", echo)

    def work() -> None:
        ring = Uring()
        with socket.socket() as client:
            place = struct.pack(
                "!2s H 4s 8x", struct.pack("=H", socket.AF_INET), server.port, bytes([127, 0, 0, 1])
            )
            address, text = ctypes.create_string_buffer(place, 16), ctypes.create_string_buffer(b"by ring", 7)
            ring.do(CONNECT, client.fileno(), ctypes.addressof(address), 0, 16)
            ring.do(SEND, client.fileno(), ctypes.addressof(text), 7, 0)
            client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass
        ring.close()

    pid, status = run(other_cgroup, work)
    assert status == 0
    assert server.process.wait() == 0
    events = complete(witness, other_cgroup, 1)
    (connect,), (close,) = of_kind(events, "TCP_CONNECT"), of_kind(events, "TCP_CLOSE")
    assert (connect.owner_pid, close.owner_pid) == (pid, pid)
    assert connect.owner_source == SOURCES["PW_OWNER_BY_CALL"]
    assert close.bytes_sent == 7


def test_ipv4_by_an_ipv6_socket(witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    """connect() to ::ffff:127.0.0.1: both ends are told as IPv4, which it is on the wire."""
    server = Server(cgroup, socket.AF_INET, "127.0.0.1", echo)

    def work() -> None:
        with socket.socket(socket.AF_INET6) as client:
            client.connect(("::ffff:127.0.0.1", server.port))
            client.sendall(b"mapped")
            client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass

    pid, status = run(other_cgroup, work)
    assert (status, server.process.wait()) == (0, 0)
    events = complete(witness, other_cgroup, 1)
    (connect,), (close,) = of_kind(events, "TCP_CONNECT"), of_kind(events, "TCP_CLOSE")
    for event in (connect, close):
        assert (event.owner_pid, event.family) == (pid, socket.AF_INET)
        assert address_of(event, "local") == address_of(event, "remote") == "127.0.0.1"
    assert close.bytes_sent == 6

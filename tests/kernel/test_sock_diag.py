"""probes.sock_diag beside pyroute2's reading of the same sockets, and the counters of destroyed ones."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.diag import DiagSocket

from probes.sock_diag import DestroyedSockets, SocketDump, State, TcpSocket, sockets
from tests.polling import until

pytestmark = pytest.mark.kernel


@pytest.fixture
def destroyed() -> Iterator[DestroyedSockets]:
    made = DestroyedSockets(receive_bytes=8 << 20)
    yield made
    made.close()


def dump() -> dict[int, TcpSocket]:
    """By inode number."""
    made = SocketDump()
    found = {one.inode: one for one in made.read() if one.inode}
    made.close()
    return found


def by_pyroute2(family: int) -> dict[int, dict[str, object]]:
    with DiagSocket() as diag:
        diag.bind()
        return {one["idiag_inode"]: one for one in diag.get_sock_stats(family=family)}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_dump_has_what_pyroute2_reads(family: int) -> None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((loopback, 0), family=family, backlog=37) as server:
        clients = [socket.create_connection(server.getsockname()[:2]) for _ in range(31)]
        accepted = [server.accept()[0] for _ in clients]
        inodes = [_inode(one) for one in (server, *clients, *accepted)]
        ours, theirs = dump(), by_pyroute2(family)
        for one in (*clients, *accepted):
            one.close()
    for inode in inodes:
        mine, reference = ours[inode], theirs[inode]
        assert mine.cookie == reference["idiag_cookie"]
        assert mine.state == reference["idiag_state"]
        assert mine.uid == reference["idiag_uid"]
        assert (socket.inet_ntop(family, mine.local[0]), mine.local[1]) == (
            reference["idiag_src"],
            reference["idiag_sport"],
        )
        assert (socket.inet_ntop(family, mine.remote[0]), mine.remote[1]) == (
            reference["idiag_dst"],
            reference["idiag_dport"],
        )
        assert mine.cgroup_id == reference.get_attr("INET_DIAG_CGROUP_ID")  # type: ignore[attr-defined]
    listener = ours[inodes[0]]
    assert (listener.state, listener.backlog) == (State.LISTEN, 37)


def _inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def until_destroyed(destroyed: DestroyedSockets, cookies: set[int]) -> dict[int, TcpSocket]:
    found: dict[int, TcpSocket] = {}
    poll = select.poll()
    poll.register(destroyed, select.POLLIN)
    deadline = time.monotonic() + 20
    while not cookies <= set(found) and time.monotonic() < deadline:
        poll.poll(1000)
        while (received := destroyed.receive()) is not None:
            assert not received[1]
            found |= {one.cookie: one for one in received[0]}
    return {cookie: found[cookie] for cookie in cookies}


def test_a_destroyed_socket_has_its_counters(destroyed: DestroyedSockets) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        client.sendall(b"x" * 4999)
        accepted.recv(4999, socket.MSG_WAITALL)
        accepted.sendall(b"y" * 97)
        client.recv(97, socket.MSG_WAITALL)
        open_ones = dump()
        ours, theirs = open_ones[_inode(client)], open_ones[_inode(accepted)]
        client.shutdown(socket.SHUT_WR)
        accepted.recv(1)
        accepted.close()
    ended = until_destroyed(destroyed, {ours.cookie, theirs.cookie})
    for one, sent, received in ((ours, 4999, 97), (theirs, 97, 4999)):
        found = ended[one.cookie]
        assert (found.local, found.remote) == (one.local, one.remote)
        counters = found.counters
        assert counters is not None
        assert (counters.bytes_sent, counters.bytes_retransmitted) == (sent, 0)
        assert counters.bytes_received == received + 1  # a FIN counts
        assert counters.segments_in > 0
        assert counters.rtt_us > 0
    assert ended[ours.cookie].counters.bytes_acked == 4999 + 2  # type: ignore[union-attr]
    assert ended[theirs.cookie].counters.bytes_acked == 97 + 1  # type: ignore[union-attr]
    assert destroyed.dropped() == 0


def test_destroyed_sockets_without_room_are_counted() -> None:
    small = DestroyedSockets(receive_bytes=1)
    for _ in range(97):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    # The kernel tells of them by a worker, on which nothing here can wait.
    until(lambda: small.dropped() >= 90)
    received = []
    while (one := small.receive()) is not None:
        received.append(one)
    assert any(was_overrun for _, was_overrun in received)
    small.close()


@given(st.binary(max_size=300))
def test_what_is_no_socket_is_nothing(raw: bytes) -> None:
    assert isinstance(sockets(raw), list)

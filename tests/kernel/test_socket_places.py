"""The table of open TCP sockets: its places are left again, and where there is none left one gives way."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kernel.map_places import PLACES, MapPlaces
from tests.kernel.sandbox import Cgroup, libc, run
from tests.kernel.witness import Witness

STATE_BYTES = 80
CLIENT = 1  # PW_CLIENT
NOBODYS = 0xFFFF_0000_0000_0000  # no kernel has a socket there


class Table(MapPlaces):
    """The map `sockets`. struct socket_state begins with socket, since_ns, claims, role; at 56 is a pid."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness.probes.maps["sockets"], "<QQIB35xI", STATE_BYTES)

    def fill(self) -> None:
        for place in range(PLACES):
            if not self.head(place)[2]:
                self.put(place, NOBODYS + place, 1, 1, 0, 0)

    def places_where(self, condition: Callable[..., bool]) -> list[int]:
        return [place for place in range(PLACES) if condition(*self.head(place))]


@pytest.fixture
def witness() -> Iterator[Witness]:
    made = Witness.attach(["network"])
    yield made
    made.close()


def connect(times: int) -> None:
    """Both ends, without what would stay in TIME_WAIT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(times):
            with socket.create_connection(listener.getsockname()):
                accepted, _ = listener.accept()
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()


def test_each_connection_has_its_owner_when_all_places_are_taken(witness: Witness, cgroup: Cgroup) -> None:
    Table(witness).fill()
    pid, _ = run(cgroup, lambda: connect(53))
    counts = witness.counts(cgroup.id)
    assert (counts["TCP_CONNECT"], counts["TCP_ACCEPT"], counts["TCP_CLOSE"]) == (53, 53, 106)
    known = [event.owner_pid == pid for event in witness.events(cgroup.id)]
    # Others on the machine may take what was just left, and now and then one end takes the other's place.
    assert sum(known) > 0.9 * len(known)


def test_places_are_left_when_many_threads_connect_at_once(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(connect, [101] * 8))

    run(cgroup, work)
    assert witness.counts(cgroup.id)["TCP_CLOSE"] == 2 * 8 * 101
    heads = [Table(witness).head(place) for place in range(PLACES)]
    taken = [(kernel_socket, claims) for kernel_socket, _, claims, *_ in heads if kernel_socket or claims]
    assert len(taken) < 8 + open_sockets()  # those of others on the machine
    assert {claims for _, claims in taken} <= {1, 2}  # 2: it is being tried at this very moment


def disconnect(client: socket.socket) -> None:
    nowhere = ctypes.create_string_buffer(16)  # AF_UNSPEC
    assert libc.connect(client.fileno(), nowhere, len(nowhere)) == 0


def test_a_socket_that_has_a_place_takes_no_other(witness: Witness) -> None:
    """Also where there is a free one before its own."""
    table = Table(witness)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        [first] = table.places_where(lambda *state: state[3:] == (CLIENT, os.getpid()))
        kernel_socket = table.head(first)[0]
        disconnect(client)
        own = (
            next(place for place in range(first + 1, first + 8) if not table.head(place % PLACES)[2]) % PLACES
        )
        table.put(own, kernel_socket, 1, 1, 0, 0)
        client.connect(listener.getsockname())
        assert table.places_where(lambda has, *_: has == kernel_socket) == [own]
        assert table.head(own)[2:] == (1, CLIENT, os.getpid())


def open_sockets() -> int:
    """TCP sockets of this network namespace and, as far as there are processes in them, of others."""
    seen: dict[int, int] = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        for name in ("tcp", "tcp6"):
            try:
                namespace = os.stat(f"/proc/{process}/ns/net").st_ino
                with open(f"/proc/{process}/net/{name}") as table:
                    seen[namespace * 2 + (name == "tcp6")] = len(table.readlines())
            except OSError:
                continue
    return sum(seen.values())

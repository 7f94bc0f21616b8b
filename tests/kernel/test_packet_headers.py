"""UDP behind headers that few packets have, which are read in another way than those of all others."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.kernel.sandbox import Cgroup, run
from tests.kernel.test_flow_events import AF, counted, flows, half, started
from tests.kernel.test_network_events import address_of
from tests.kernel.witness import Witness


@pytest.fixture(scope="module")
def attached() -> Iterator[Witness]:
    witness = Witness.attach(["process", "network", "flow", "cgroup"])
    yield witness
    witness.close()


# Level, option and value for what stands between the address and UDP.
HEADERS_BETWEEN = {
    "IPv4": (socket.IPPROTO_IP, socket.IP_OPTIONS, b"\1\1\1\0"),  # does nothing thrice, ends
    "IPv6": (socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes((0, 0, 1, 4, 0, 0, 0, 0))),  # padding
}


@pytest.mark.parametrize("name", AF)
def test_options_of_the_address_are_not_payload(
    witness: Witness, cgroup: Cgroup, other_cgroup: Cgroup, name: str
) -> None:
    family, address = AF[name]
    server, port = started(cgroup, family, address, 2, half)

    def ask() -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.setsockopt(*HEADERS_BETWEEN[name])
            for _ in range(2):
                client.sendto(b"question", (address, port))
                client.recv(100)

    client, status = run(other_cgroup, ask)
    assert (status, server.wait()) == (0, 0)
    (_, ended), (_, gone) = flows(witness, cgroup), flows(witness, other_cgroup)
    assert counted(gone) == (2, 16, 2, 8)
    assert counted(ended) == (2, 8, 2, 16)
    assert (gone.owner_pid, gone.remote_port) == (client, port)
    assert {address_of(event, end) for event in (gone, ended) for end in ("local", "remote")} == {address}

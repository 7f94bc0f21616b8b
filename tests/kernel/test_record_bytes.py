"""A record's memory is what others left in the ring: each byte of it is written."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from probes.catalog import Dialect
from tests.kernel.sandbox import Cgroup, run
from tests.kernel.witness import Witness

RING_BYTES = 4096  # some twenty records
TURNS = 40
COUNTERS = (
    "bytes_sent", "bytes_acked", "bytes_received", "bytes_retransmitted",
    "retransmits", "rtt_us", "segments_in", "segments_out", "error",
)  # fmt: skip


def connect_by_ipv6() -> None:
    """Leaves records that have much in them."""
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
        listener.accept()[0] as server,
    ):
        client.sendall(b"\xff" * 10_000)
        assert server.recv(1 << 16)


def listen_by_ipv4() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(7)


def listening(witness: Witness, cgroup: Cgroup) -> SimpleNamespace:
    witness.forget()
    run(cgroup, connect_by_ipv6)
    witness.forget()
    run(cgroup, listen_by_ipv4)
    (listening,) = witness.events(cgroup.id, "TCP_LISTEN")
    return listening


@pytest.mark.parametrize("dialect", Dialect)
def test_a_record_has_nothing_of_those_before_it(dialect: Dialect, cgroup: Cgroup) -> None:
    witness = Witness.attach(["network"], ring_bytes=RING_BYTES, dialect=dialect)
    for _ in range(TURNS):
        found = listening(witness, cgroup)
        assert {name: getattr(found, name) for name in COUNTERS} == dict.fromkeys(COUNTERS, 0)
        assert (found.backlog, found.remote_port) == (7, 0)
        assert bytes(found.pad) == bytes(6)
        assert bytes(found.local_address) == socket.inet_aton("127.0.0.1") + bytes(12)
        assert bytes(found.remote_address) == bytes(16)
    witness.close()

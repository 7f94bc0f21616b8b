"""What the programs of packets take, by the kernel's own test runs: each packet of a node pays it."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator

import pytest

from probes import bpf
from tests.kernel.witness import Witness

PROG_TEST_RUN = 10
RUNS, TRIES = 20_000, 7
TCP, UDP = 6, 17
ETHERNET_IPV4, ETHERNET_IPV6 = (bytes(12) + struct.pack(">H", kind) for kind in (0x0800, 0x86DD))
PORTS = struct.pack(">HH", 5000, 6000)
PAYLOAD = PORTS + bytes(64)
PROGRAMS = ("cgroup_skb_egress", "cgroup_skb_ingress")


@pytest.fixture(scope="module")
def attached() -> Iterator[Witness]:
    witness = Witness.attach(["flow"])
    yield witness
    witness.close()


def by_ipv4(protocol: int) -> bytes:
    address = socket.inet_aton("127.0.0.1")
    fixed = (0x45, 0, 20 + len(PAYLOAD), 1, 0, 64, protocol, 0, address, address)
    return ETHERNET_IPV4 + struct.pack(">BBHHHBBH4s4s", *fixed) + PAYLOAD


def by_ipv6(protocol: int) -> bytes:
    address = socket.inet_pton(socket.AF_INET6, "::1")
    fixed = (6 << 28, len(PAYLOAD), protocol, 64, address, address)
    return ETHERNET_IPV6 + struct.pack(">IHBB16s16s", *fixed) + PAYLOAD


def run_ns(program: int, packet: bytes) -> int:
    """Of one run in the quickest of some tries: others on the machine make it slower only."""
    data = ctypes.create_string_buffer(packet, len(packet))
    request = struct.pack(
        "<IIIIQQII32x", program, 0, len(packet), 0, ctypes.addressof(data), 0, RUNS, 0
    )  # the last is the answer
    tries = [bpf.bpf(PROG_TEST_RUN, request)[1] for _ in range(TRIES)]
    return int(min(struct.unpack_from("<I", answer, 36)[0] for answer in tries))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_packet_of_ipv6_costs_no_more_calls_than_one_of_ipv4(
    attached: Witness, program: str, protocol: int
) -> None:
    """A call for each part of the header would be three times as much."""
    descriptor = attached.probes.programs[program]
    assert run_ns(descriptor, by_ipv6(protocol)) < 2 * run_ns(descriptor, by_ipv4(protocol))

"""The table of flows: what is due is reported once, and what the kernel is putting in is left alone."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collector._native import ffi, lib

from collector.native.containers import ContainerTable, Fragment
from collector.native.event_kinds import Kind, Scope
from collector.native.events import Drained, DrainEnd, EventEncoder, Ring, Tables
from collector.native.flow_table import FlowTable
from tests.reference import event_records as records
from tests.reference.events import encode
from tests.reference.kernel_ring import KernelRing

CGROUP = 7
SLOTS = 64
MANY_SLOTS = 2500  # more than are mapped at a time, which are 1,024
SECOND = 10**9
INTERVAL_NS, IDLE_NS = 30 * SECOND, 60 * SECOND
START_NS = 1000 * SECOND
CLOSED, EVICTED, CONTENDED = lib.PW_END_CLOSED, lib.PW_END_EVICTED, lib.PW_END_CONTENDED


class Map:
    """As the kernel has it: written here, mapped there."""

    def __init__(self, slots: int) -> None:
        self.fd = os.memfd_create("flows")
        size = slots * ffi.sizeof("struct pw_flow_slot")
        os.ftruncate(self.fd, size)
        self.memory = mmap.mmap(self.fd, size)
        self.slots = ffi.from_buffer("struct pw_flow_slot[]", self.memory)

    def put(self, at: int, **members: Any) -> Any:
        flow = self.slots[at].flow
        head = {"cgroup_id": CGROUP, "record_bytes": ffi.sizeof("struct pw_flow")}
        for name, value in head.items():
            setattr(flow.head, name, value)
        new = {"first_ns": START_NS, "last_ns": START_NS, "packets_sent": 1, "bytes_sent": 5, "protocol": 17}
        for name, value in {**new, "slot": at, "socket_id": at + 1, **members}.items():
            setattr(flow, name, value)
        return flow


class Rig:
    def __init__(self, slots: int = SLOTS) -> None:
        self.map = Map(slots)
        self.table = FlowTable(self.map.fd, slots, INTERVAL_NS, IDLE_NS)
        self.tables = Tables(ContainerTable(), ContainerTable())
        self.tables.network.set(CGROUP, Fragment(b"", 0, Scope.HOST))
        self.encoder = EventEncoder(1)
        self.encoder.watch(self.table)

    def scan(self, seconds: float, *, is_last: bool = False) -> Drained:
        now_ns = START_NS + int(seconds * SECOND)
        return self.encoder.scan(self.table, self.tables, now_ns, is_last=is_last)

    def kinds(self, seconds: float, *, is_last: bool = False) -> dict[Kind, int]:
        return self.scan(seconds, is_last=is_last).events

    def drain(self, *sent: bytes) -> Drained:
        with KernelRing(1 << 16) as kernel:
            for record in sent:
                assert kernel.submit(record)
            ring = Ring(kernel.ring_fd, 1 << 16)
            drained = self.encoder.drain(ring, self.tables, 1000)
            ring.close()
        return drained


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.table.close()
    os.close(made.map.fd)


@pytest.fixture
def large_rig() -> Iterator[Rig]:
    made = Rig(MANY_SLOTS)
    yield made
    made.table.close()
    os.close(made.map.fd)


def end(cause: int, **members: Any) -> bytes:
    fields = {"first_ns": START_NS, "cgroup_id": CGROUP, "end_cause": cause, "slot": 3}
    return records.record(lib.PW_FLOW_END, **{**fields, **members})


def test_one_that_goes_on_is_reported_every_interval_if_it_has_packets(rig: Rig) -> None:
    flow = rig.map.put(3)
    assert rig.kinds(29) == {}
    flow.packets_sent, flow.last_ns = 2, START_NS + 29 * SECOND
    assert rig.kinds(29.5) == {}
    assert rig.kinds(30) == {Kind.FLOW_UPDATE: 1}
    flow.last_ns = START_NS + 59 * SECOND
    assert rig.kinds(60) == {}
    flow.packets_received = 1
    assert rig.kinds(61) == {Kind.FLOW_UPDATE: 1}


def test_what_is_reported_is_what_stands_in_the_table(rig: Rig) -> None:
    flow = rig.map.put(3, packets_sent=9, bytes_sent=99, packets_received=2, family=2, owner_pid=77)
    told = rig.scan(31)
    record = bytearray(ffi.buffer(ffi.addressof(flow))[:])
    head = ffi.from_buffer("struct pw_head *", record)
    head.kind, head.time_ns = lib.PW_FLOW_UPDATE, START_NS + 31 * SECOND
    assert told.network.entries == encode(bytes(record), b"", 0, Scope.HOST, 1, 0)


def test_an_idle_one_ends_once(rig: Rig) -> None:
    rig.map.put(3)
    assert rig.kinds(60.9) == {}
    assert rig.kinds(61.1) == {Kind.FLOW_END: 1}
    assert rig.kinds(62) == {}
    assert rig.kinds(63, is_last=True) == {}
    assert rig.drain(end(EVICTED)).events == {}


def test_a_new_flow_in_the_same_place_is_another(rig: Rig) -> None:
    rig.map.put(3)
    assert rig.kinds(61.1) == {Kind.FLOW_END: 1}
    later = START_NS + 70 * SECOND
    rig.map.put(3, first_ns=later, last_ns=later)
    assert rig.kinds(129) == {}
    assert rig.kinds(132) == {Kind.FLOW_END: 1}


def test_an_end_out_of_the_ring_is_not_told_again(rig: Rig) -> None:
    rig.map.put(3)
    assert rig.drain(end(CLOSED)).events == {Kind.FLOW_END: 1}
    assert rig.kinds(62) == {}


def test_each_contended_packet_is_told(rig: Rig) -> None:
    rig.map.put(3)
    told = rig.drain(end(CONTENDED), end(CONTENDED))
    assert told.events == {Kind.FLOW_END: 2}
    assert rig.kinds(62) == {Kind.FLOW_END: 1}


def test_flows_of_a_socket_that_was_closed_end_at_the_next_look(rig: Rig) -> None:
    for at in (3, 4, 5):
        rig.map.put(at, socket_id=55 if at != 4 else 56)
    rig.map.put(6, socket_id=55).head.flags = lib.PW_KERNEL_SOCKET  # a namespace, not a socket
    assert rig.drain(records.record(lib.PW_FLOW_CLOSED, socket_id=55)).events == {}
    assert rig.kinds(1) == {Kind.FLOW_END: 2}
    assert rig.kinds(2) == {}


def test_places_in_all_parts_of_a_large_table_and_none_of_it_stays_mapped(large_rig: Rig) -> None:
    last = MANY_SLOTS - 1
    for at in (0, 1023, 1024, 2047, 2048, last):
        large_rig.map.put(at)
    assert large_rig.drain(end(lib.PW_END_CLOSED, slot=last)).events == {Kind.FLOW_END: 1}
    assert large_rig.kinds(100) == {Kind.FLOW_END: 5}
    assert Path("/proc/self/maps").read_text().count("memfd:flows") == 1  # the one of the test


def test_more_closed_sockets_than_are_noted_at_a_time(large_rig: Rig) -> None:
    """200: their flows end at the next look, whichever part of the table they are in, and no other does."""
    closed = range(0, MANY_SLOTS, MANY_SLOTS // 200)[:200]
    for at in range(MANY_SLOTS):
        large_rig.map.put(at)
    told = [records.record(lib.PW_FLOW_CLOSED, socket_id=at + 1) for at in closed]
    assert large_rig.drain(*told).events == {}
    assert large_rig.kinds(1) == {Kind.FLOW_END: 200}
    assert large_rig.kinds(2) == {}


@pytest.mark.parametrize("state", ["being written", "free", "over"])
def test_places_without_a_flow_that_goes_on(rig: Rig, state: str) -> None:
    rig.map.put(3, first_ns=0 if state == "free" else START_NS, end_cause=CLOSED if state == "over" else 0)
    rig.map.slots[3].version = 1 if state == "being written" else 2
    assert rig.kinds(100, is_last=True) == {}


def test_at_the_end_all_that_was_not_told(rig: Rig) -> None:
    rig.map.put(3)
    rig.map.put(4, packets_sent=2)
    assert rig.kinds(1, is_last=True) == {Kind.FLOW_UPDATE: 1}
    assert rig.kinds(1, is_last=True) == {}


def test_goes_on_where_an_output_was_full() -> None:
    rig = Rig()
    rig.encoder = EventEncoder(1, output_bytes=lib.PW_EVENT_OUTPUT_BYTES)
    rig.tables.network.set(CGROUP, Fragment(b"\xa1k\xda\xff\x00" + b"x" * 0xFF00, 1, Scope.HOST))
    for at in range(SLOTS):
        rig.map.put(at)
    told: list[Drained] = []
    while not told or told[-1].end is DrainEnd.FULL:
        told.append(rig.scan(100))
    assert len(told) > 1
    assert sum(one.events[Kind.FLOW_END] for one in told) == SLOTS


def test_what_is_no_map_is_told_by_the_systems_own_error() -> None:
    with pytest.raises(OSError, match="mmap of the table of flows"):
        FlowTable(-1, SLOTS, INTERVAL_NS, IDLE_NS)

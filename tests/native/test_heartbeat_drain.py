"""The drain takes the collector's own heartbeat out of the stream, and nothing that could pass for it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from collector._native import lib

from collector.native.containers import ContainerTable, Fragment
from collector.native.event_kinds import Kind, Scope
from collector.native.events import EventEncoder, Heartbeat, Tables
from tests.reference import event_records as records
from tests.reference.ring_memory import MemoryRing

CGROUP = 7
BEAT = Heartbeat(
    pid=77,
    pid_ns=4026531836,
    net_ns=4026531840,
    port=40000,
    bound_from_ns=900,
    from_ns=1000,
    until_ns=2000,
)
LOOPBACK = socket.inet_aton("127.0.0.1") + bytes(12)
CHILD = {"task_namespace_pid": 77, "task_pid_ns": 4026531836}
LISTENER = {"local_port": 40000, "net_ns": 4026531840, "time_ns": 1500, "local_address": LOOPBACK}


def drained(beat: Heartbeat, *made: bytes) -> tuple[frozenset[Kind], int, dict[Kind, int]]:
    """(heard, records shipped, counted)."""
    ring, tables = MemoryRing(1 << 16), Tables(ContainerTable(8), ContainerTable(8))
    for table in tables:
        assert table.set(CGROUP, Fragment(b"", 0, Scope.HOST))
    encoder = EventEncoder(1)
    encoder.expect(beat)
    for record in made:
        assert ring.submit(record)
    result = encoder.drain(ring, tables, 100)
    return encoder.heard(), result.process.records + result.network.records, result.events


def task_record(kind: int, **fields: Any) -> bytes:
    return records.record(kind, cgroup_id=CGROUP, **{**CHILD, **fields})


def tcp_record(kind: int, **fields: Any) -> bytes:
    return records.record(kind, cgroup_id=CGROUP, **{**LISTENER, **fields})


def test_all_of_it_is_heard_and_nothing_shipped() -> None:
    made = [task_record(kind) for kind in (lib.PW_FORK, lib.PW_EXEC, lib.PW_EXIT)]
    made += [tcp_record(kind) for kind in (lib.PW_TCP_LISTEN, lib.PW_TCP_UNLISTEN)]
    heard = frozenset({Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.LISTEN, Kind.UNLISTEN})
    assert drained(BEAT, *made) == (heard, 0, {})


def test_it_tells_the_cgroup_that_the_collector_is_in() -> None:
    ring, tables, encoder = MemoryRing(1 << 16), Tables(ContainerTable(8), ContainerTable(8)), EventEncoder(1)
    encoder.expect(BEAT)
    assert ring.submit(records.record(lib.PW_FORK, cgroup_id=8, task_namespace_pid=78))
    encoder.drain(ring, tables, 100)
    assert encoder.own_cgroup_id == 0
    assert ring.submit(tcp_record(lib.PW_TCP_LISTEN))
    encoder.drain(ring, tables, 100)
    assert encoder.own_cgroup_id == CGROUP
    encoder.expect(Heartbeat())
    assert encoder.own_cgroup_id == CGROUP


@pytest.mark.parametrize("change", [{"task_namespace_pid": 78}, {"task_pid_ns": 1}])
@pytest.mark.parametrize("kind", [lib.PW_FORK, lib.PW_EXEC, lib.PW_EXIT])
def test_other_processes_are_shipped(kind: int, change: dict[str, int]) -> None:
    assert drained(BEAT, task_record(kind, **change)) == (frozenset(), 1, {Kind(kind): 1})


@pytest.mark.parametrize(
    "change",
    [
        {"local_port": 40001},
        {"net_ns": 1},
        {"time_ns": 999},
        {"time_ns": 2001},
        {"local_address": socket.inet_aton("127.0.0.2") + bytes(12)},
        {"local_address": bytes(16)},
    ],
)
@pytest.mark.parametrize("kind", [lib.PW_TCP_LISTEN, lib.PW_TCP_UNLISTEN])
def test_other_listeners_are_shipped(kind: int, change: dict[str, Any]) -> None:
    assert drained(BEAT, tcp_record(kind, **change)) == (frozenset(), 1, {Kind(kind): 1})


def bind_record(**fields: Any) -> bytes:
    made = {**LISTENER, "time_ns": 950, "protocol": socket.IPPROTO_TCP, **fields}
    return records.record(lib.PW_BIND, cgroup_id=CGROUP, **made)


def test_that_its_port_was_bound_is_not_shipped() -> None:
    """The probe tells of it before the collector knows which port it has."""
    assert drained(BEAT, bind_record())[1] == 0


@pytest.mark.parametrize(
    "change", [{"time_ns": 899}, {"time_ns": 2001}, {"local_port": 1}, {"net_ns": 1}, {"protocol": 17}]
)
def test_that_others_bound_a_port_is_shipped(change: dict[str, int]) -> None:
    assert drained(BEAT, bind_record(**change))[1] == 1


def test_other_kinds_of_the_same_socket_are_shipped() -> None:
    assert drained(BEAT, tcp_record(lib.PW_TCP_ACCEPT))[1] == 1


def test_without_a_heartbeat_nothing_is_taken_out() -> None:
    none = [task_record(lib.PW_EXEC, task_namespace_pid=0, task_pid_ns=0)]
    none += [tcp_record(lib.PW_TCP_LISTEN, local_port=0, net_ns=0, time_ns=0)]
    assert drained(Heartbeat(), *none)[:2] == (frozenset(), 2)


def test_the_next_heartbeat_begins_anew() -> None:
    encoder = EventEncoder(1)
    ring, tables = MemoryRing(4096), Tables(ContainerTable(8), ContainerTable(8))
    encoder.expect(BEAT)
    ring.submit(task_record(lib.PW_FORK))
    encoder.drain(ring, tables, 100)
    assert encoder.heard() == {Kind.FORK}
    encoder.expect(BEAT._replace(pid=78))
    assert encoder.heard() == frozenset()

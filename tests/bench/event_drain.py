"""Kernel events from ring to msgpack, beside copying the same records.

User space can't write into a BPF ring buffer, so the ring is its memory layout
without the kernel (tests/reference/ring_memory.py). What a real ring adds is the
first touch of each cache line that another CPU wrote.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from collector._native import ffi, lib

from collector.identity.identity import Identity
from collector.inputs.event_plans import constant_pairs, identity_fields, pack_fragment, scope_of
from collector.native.containers import ContainerTable, Fragment
from collector.native.events import DrainEnd, EventEncoder, Tables
from collector.native.programs import Programs
from tests.bench.row import Row
from tests.reference import event_records as records
from tests.reference.ring_memory import MemoryRing

RING_BYTES = 1 << 20
CGROUPS = 200  # containers of a full node
SECONDS = 0.5
POD = Identity(
    "node1", "c" * 64, "containerd", "shop", "web-5c8c56666c-8w7j8", "0a6e-" * 7, "httpd", "httpd:2.4"
)

TASK: dict[str, Any] = {
    "task_start_ns": 4_200_000_000_000,
    "task_parent_start_ns": 4_100_000_000_000,
    "task_cap_effective": 0xA80425FB,
    "task_pid": 31337,
    "task_tid": 31337,
    "task_parent_pid": 31000,
    "task_namespace_pid": 17,
    "task_loginuid": 2**32 - 1,
    "task_comm": b"sh",
    "task_parent_comm": b"httpd",
}
TCP: dict[str, Any] = {
    "owner_start_ns": 4_200_000_000_000,
    "owner_pid": 31337,
    "socket_id": 2**40,
    "family": 2,
    "local_port": 41234,
    "remote_port": 443,
    "role": lib.PW_CLIENT,
    "owner_source": lib.PW_OWNER_BY_CALL,
    "local_address": bytes((10, 244, 1, 17)) + bytes(12),
    "remote_address": bytes((10, 96, 0, 1)) + bytes(12),
    "comm": b"sh",
}


def sample(kind: int, cgroup_id: int) -> bytes:
    """A record as it is on a node."""
    head: dict[str, Any] = {"time_ns": 5_000_000_000_000, "cgroup_id": cgroup_id}
    if kind == lib.PW_EXEC:
        args = b"/bin/sh\0-c\0pg_isready -U shop -d orders -h 127.0.0.1 -p 5432\0"
        return records.exec_record(
            args, b"busybox\0bin\0", b"data\0", b"/bin/sh", argc=3, inode=99, mode=0o100755, **TASK, **head
        )
    if kind <= lib.PW_EXIT:
        more: dict[str, Any] = {"duration_ns": 12_345_678} if kind == lib.PW_EXIT else {}
        return records.record(kind, **TASK, **more, **head)
    return records.record(kind, duration_ns=87_654_321, bytes_sent=900, bytes_received=4_100, **TCP, **head)


MIXES: dict[str, tuple[int, ...]] = {
    "exec": (lib.PW_EXEC,),
    "fork, exec and exit": (lib.PW_FORK, lib.PW_EXEC, lib.PW_EXIT),
    "connect and close": (lib.PW_TCP_CONNECT, lib.PW_TCP_CLOSE),
}


def filled_ring(kinds: tuple[int, ...], most: int = 1 << 30) -> tuple[MemoryRing, int]:
    """A full ring, or one with the most records that it shall have, and how many it has."""
    ring = MemoryRing(RING_BYTES)
    count = 0
    while count < most and ring.submit(sample(kinds[count % len(kinds)], 1000 + count % CGROUPS)):
        count += 1
    return ring, count


def rate(work: Callable[[], int]) -> float:
    """Units a second of CPU time (what others do on the machine is left out), for SECONDS."""
    done, started = 0, time.thread_time()
    while (elapsed := time.thread_time() - started) < SECONDS:
        done += work()
    return done / elapsed


def pod_fragment() -> Fragment:
    fragment, _ = pack_fragment(constant_pairs(identity_fields(POD)), scope_of(POD))
    return fragment


def known_tables() -> Tables:
    """Of the cgroups that the records are of, all containers of one pod."""
    tables = Tables(ContainerTable(), ContainerTable())
    fragment = pod_fragment()
    for cgroup_id in range(1000, 1000 + CGROUPS):
        for table in tables:
            table.set(cgroup_id, fragment)
    return tables


def encode_rate(ring: MemoryRing, count: int, *, tells_programs: bool = True) -> float:
    """Records a second through EventEncoder.drain, as the input calls it."""
    tables = known_tables()
    encoder = EventEncoder(1)
    if tells_programs:
        encoder.recall(Programs())
        encoder.drain(filled_ring((lib.PW_EXEC,), 1)[0], tables, 1)
    producer = ring.producer

    def drain_whole_ring() -> int:
        ring.set_positions(0, producer)
        seen = 0
        while True:
            drained = encoder.drain(ring, tables, 4096)
            seen += drained.process.records + drained.network.records
            if drained.end is DrainEnd.EMPTY:
                assert seen == count
                return seen

    return rate(drain_whole_ring)


def copy_rate(ring: MemoryRing, count: int) -> float:
    """The same records copied out of the ring, as the least that any reader does."""
    source, target = ffi.from_buffer(ring.memory), ffi.new("uint8_t[]", RING_BYTES)

    def copy() -> int:
        ffi.memmove(target, source + 8192, ring.producer)
        return count

    return rate(copy)


def run() -> list[Row]:
    rows = []
    for name, kinds in MIXES.items():
        ring, count = filled_ring(kinds)
        encoded, copied = encode_rate(ring, count), copy_rate(ring, count)
        rows.append(Row(f"encode {name}", encoded, "events/s", "memcpy of the records", copied))
        rows.append(Row(f"encode {name}", 1e6 / encoded, "us/event", "memcpy of the records", 1e6 / copied))
    return rows


if __name__ == "__main__":
    for row in run():
        print(f"{row.name:32} {row.value:12.4g} {row.unit:10} limit {row.limit_value:.4g} ({row.limit_name})")

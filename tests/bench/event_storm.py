"""Execs at 100,000 a second through a kernel's ring: what is lost, and what the collector spends on each.

Real processes can't be started that fast on a machine with few cores, so the ring is filled by a program of
ours (a socket filter, which BPF_PROG_TEST_RUN runs as often as it is told), from another process. It copies
the record of an exec as the probes do, and counts what finds the ring full as they do. The reader waits and
drains as collector.inputs.ebpf does, into records with the container's fields.
"""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from collector._native import lib

from collector.native.events import DrainEnd, EventEncoder, Ring
from collector.native.programs import Programs
from probes import bpf
from probes.catalog import MapType
from tests.bench.event_drain import CGROUPS, copy_rate, filled_ring, known_tables, sample
from tests.bench.row import Row

RATE = 100_000
SECONDS = 60.0
RING_BYTES = 4 << 20  # the default of Ring_Size
DRAIN_DELAY_S = 0.02
DRAIN_RECORDS = 4096
STEP_S = 0.001  # of the writer
MOST_LATE_S = 0.02
PROG_TYPE_SOCKET_FILTER = 1
MAP_UPDATE_ELEM, PROG_TEST_RUN = 2, 10
LOOKUP, RING_OUTPUT = 1, 130  # helpers


def instruction(operation: int, registers: int = 0, offset: int = 0, number: int = 0) -> bytes:
    """struct bpf_insn; `registers`: destination in the low half, source in the high one."""
    return struct.pack("<BBhi", operation, registers, offset, number)


def load_map(register: int, descriptor: int) -> bytes:
    return instruction(0x18, 0x10 | register, 0, descriptor) + instruction(0)


def value_of(descriptor: int) -> bytes:
    """r0 = the first value of an array; the program ends where there is none."""
    return b"".join(
        (
            instruction(0x62, 10, -4, 0),  # *(u32 *)(r10 - 4) = 0
            instruction(0xBF, 0xA2),  # r2 = r10
            instruction(0x07, 2, 0, -4),
            load_map(1, descriptor),
            instruction(0x85, 0, 0, LOOKUP),
            instruction(0x55, 0, 1, 0),  # if r0 != 0 skip
            instruction(0x95),
        )
    )


def writer_program(records: int, ring: int, lost: int, record_bytes: int) -> int:
    """A program that copies the value of `records` to the ring, or counts in `lost`."""
    code = (
        value_of(records),
        load_map(1, ring),
        instruction(0xBF, 0x02),  # r2 = r0
        instruction(0xB7, 3, 0, record_bytes),
        instruction(0xB7, 4, 0, 0),
        instruction(0x85, 0, 0, RING_OUTPUT),
        instruction(0x15, 0, 11, 0),  # to the end, if it fitted
        value_of(lost),
        instruction(0xB7, 1, 0, 1),
        instruction(0xDB, 0x10),  # lock *(u64 *)r0 += r1
        instruction(0xB7, 0),
        instruction(0x95),
    )
    return bpf.program_load("pw_storm", PROG_TYPE_SOCKET_FILTER, b"".join(code))


def run_program(program: int, times: int) -> None:
    packet = ctypes.create_string_buffer(64)  # of no interest
    bpf.bpf(
        PROG_TEST_RUN,
        struct.pack("<IIIIQQII", program, 0, len(packet), 0, ctypes.addressof(packet), 0, times, 0),
    )


def write(program: int, offered: int, cpu: int) -> None:
    """RATE a second, in steps of a millisecond. What the machine kept it from for longer than MOST_LATE_S is
    not made up for, as it would be no rate but a burst."""
    os.sched_setaffinity(0, {cpu})
    at, left = time.monotonic(), offered
    while left > 0:
        time.sleep(STEP_S)
        now = time.monotonic()
        due = min(left, int((now - at) * RATE), int(MOST_LATE_S * RATE))
        run_program(program, due)
        left -= due
        at = now


class Storm(NamedTuple):
    written: int
    elapsed_s: float
    read: int
    lost: int
    cpu_s: float  # of the reader


@contextmanager
def maps(record: bytes) -> Iterator[tuple[int, int, int]]:
    """(the record, the ring, the count of what is lost)."""
    with ExitStack() as stack:
        made = (
            bpf.map_create(MapType.ARRAY.value, "pw_record", 4, len(record), 1),
            bpf.map_create(MapType.RINGBUF.value, "pw_ring", 0, 0, RING_BYTES),
            bpf.map_create(MapType.ARRAY.value, "pw_lost", 4, 8, 1, bpf.MAP_FLAG_MMAPABLE),
        )
        for descriptor in made:
            stack.callback(os.close, descriptor)
        key, value = ctypes.c_uint32(0), ctypes.create_string_buffer(record, len(record))
        where = (ctypes.addressof(key), ctypes.addressof(value))
        bpf.bpf(MAP_UPDATE_ELEM, struct.pack("<I4xQQQ", made[0], *where, 0))
        yield made


def lost_records(descriptor: int) -> int:
    with mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as counts:
        return int(struct.unpack_from("=Q", counts)[0])


def read_until_ended(ring: Ring, ring_fd: int, writer: BaseProcess) -> int:
    """Records that were drained and encoded."""
    encoder, tables, seen = EventEncoder(1), known_tables(), 0
    encoder.recall(Programs())
    with select.epoll() as epoll:
        epoll.register(ring_fd, select.EPOLLIN | select.EPOLLET)
        has_ended = False
        while not has_ended:
            has_ended = not writer.is_alive()  # before the last drain
            if not has_ended and epoll.poll(DRAIN_DELAY_S) and ring.fill_bytes < RING_BYTES // 2:
                epoll.poll(DRAIN_DELAY_S)
            end = None
            while end is not DrainEnd.EMPTY:
                drained = encoder.drain(ring, tables, DRAIN_RECORDS)
                seen += drained.process.records
                end = drained.end
    return seen


def storm(seconds: float) -> Storm:
    record = sample(lib.PW_EXEC, 1000 + CGROUPS // 2)
    offered = int(RATE * seconds)
    with maps(record) as (records, ring_fd, lost):
        program = writer_program(records, ring_fd, lost, len(record))
        ring = Ring(ring_fd, RING_BYTES)
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cpus)})
        started, cpu_s = time.monotonic(), time.process_time()
        writer = multiprocessing.get_context("fork").Process(target=write, args=(program, offered, min(cpus)))
        writer.start()
        seen = read_until_ended(ring, ring_fd, writer)
        elapsed_s = time.monotonic() - started
        found = Storm(offered, elapsed_s, seen, lost_records(lost), time.process_time() - cpu_s)
        os.sched_setaffinity(0, cpus)
        assert writer.exitcode == 0
        ring.close()
        os.close(program)
    assert found.read + found.lost == found.written
    return found


def run() -> list[Row]:
    found = storm(SECONDS)
    ring, count = filled_ring((lib.PW_EXEC,))
    copied = copy_rate(ring, count)
    return [
        Row("execs offered to the ring", found.written / found.elapsed_s, "events/s", "asked for", RATE),
        Row("execs lost of them", found.lost, "events", "offered", found.written),
        Row(
            "exec read and encoded", found.cpu_s / found.read * 1e6, "us/event", "memcpy of it", 1e6 / copied
        ),
    ]


if __name__ == "__main__":
    for row in run():
        print(f"{row.name:32} {row.value:12.4g} {row.unit:10} limit {row.limit_value:.4g} ({row.limit_name})")

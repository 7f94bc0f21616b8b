"""Real processes as fast as one processor starts them: what is lost, and what the collector spends.

tests/bench/event_storm.py fills a ring faster than any machine starts processes; here the records are the
probes' own, of fork, exec and exit, in order, with a table of programs that changes with each.
"""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from collector.native.event_kinds import Kind
from collector.native.events import DrainEnd, EventEncoder, Ring
from collector.native.programs import Programs
from probes.launch import Attached, launch
from tests.bench.event_drain import known_tables, pod_fragment
from tests.bench.event_storm import DRAIN_DELAY_S, DRAIN_RECORDS, RING_BYTES
from tests.bench.probe_cost import compiled
from tests.bench.row import Row
from tests.kernel.sandbox import Cgroup, unified_mount

PROCESSES = 30_000
OF_EACH = (Kind.FORK, Kind.EXEC, Kind.EXIT)


class Storm(NamedTuple):
    elapsed_s: float
    read: int
    lost: int
    cpu_s: float  # of the reader


@contextmanager
def attached() -> Iterator[Attached]:
    probes = asyncio.run(launch(("process", "cgroup"), ring_bytes=RING_BYTES))
    try:
        yield probes
    finally:
        probes.close()


def begin(cgroup: Cgroup, cpu: int) -> None:
    """In the child, before it executes the workload."""
    cgroup.enter()
    os.sched_setaffinity(0, {cpu})


def read_until_ended(probes: Attached, cgroup: Cgroup, storm: subprocess.Popen[bytes]) -> Counter[Kind]:
    """Records that were drained and encoded; those of what else the machine does among them."""
    ring, encoder, tables = Ring(probes.ring_fd, RING_BYTES), EventEncoder(1), known_tables()
    encoder.recall(Programs())
    tables.process.set(cgroup.id, pod_fragment())
    seen: Counter[Kind] = Counter()
    with select.epoll() as epoll:
        epoll.register(probes.ring_fd, select.EPOLLIN | select.EPOLLET)
        has_ended = False
        while not has_ended:
            has_ended = storm.poll() is not None  # before the last drain
            if not has_ended and epoll.poll(DRAIN_DELAY_S) and ring.fill_bytes < RING_BYTES // 2:
                epoll.poll(DRAIN_DELAY_S)
            end = None
            while end is not DrainEnd.EMPTY:
                drained = encoder.drain(ring, tables, DRAIN_RECORDS)
                seen.update(drained.events)
                end = drained.end
    ring.close()
    return seen


def storm(processes: int) -> Storm:
    cgroup, cpus = Cgroup(unified_mount() / f"podwitness-bench-{os.getpid()}"), os.sched_getaffinity(0)
    cgroup.path.mkdir()
    with compiled() as programs, attached() as probes:
        os.sched_setaffinity(0, {max(cpus)})
        started, cpu_s = time.monotonic(), time.process_time()
        running = subprocess.Popen(
            [str(programs / "workload"), "exec", str(programs / "least")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: begin(cgroup, min(cpus)),
        )
        assert running.stdin
        running.stdin.write(b"%d\n" % processes)
        running.stdin.close()
        seen = read_until_ended(probes, cgroup, running)
        elapsed_s, cpu_s = time.monotonic() - started, time.process_time() - cpu_s
        os.sched_setaffinity(0, cpus)
        lost = probes.lost()
        assert running.returncode == 0
    cgroup.remove()
    for kind in OF_EACH:
        assert seen[kind] + lost[kind] >= processes, (kind, seen[kind], lost[kind])
    return Storm(elapsed_s, sum(seen.values()), sum(lost[kind] for kind in OF_EACH), cpu_s)


def run() -> list[Row]:
    found = storm(PROCESSES)
    return [
        Row("real processes a second", PROCESSES / found.elapsed_s, "processes/s"),
        Row("records of them lost", found.lost, "events", "read", found.read),
        Row("record read and encoded", found.cpu_s / found.read * 1e6, "us/event"),
    ]


if __name__ == "__main__":
    for row in run():
        print(f"{row.name:32} {row.value:12.4g} {row.unit}")

"""The log core alone: bytes of files in memory to entries, one process, one core.

`python -m tests.bench.log_core` prints its table. Beside each figure stands what the bytes cost at
least: finding their newlines (the speed) and reading them from the page cache (the CPU time).
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from collector.native.logs import INPUT_BYTES, LogStream
from collector.plan import CRI_JOINED_LAYOUT, CRI_LAYOUT, Field, Framing, LogPlan, Merge, Op
from tests.bench.node_logs import write_node_logs
from tests.bench.row import Row

TOTAL_BYTES = 128 << 20
ROUNDS = 3
MB = 1e6
GIB = 1 << 30

KUBERNETES = {
    "pod_name": "web-0-7c5ddbdf54-x2x8p",
    "namespace_name": "team-0",
    "pod_id": "b5a7a1de-6f0e-4a2b-9d43-2f1f6d3c9e10",
    "host": "node-17.example.internal",
    "container_name": "app",
    "docker_id": "4f" * 32,
    "container_hash": "registry.example.internal/team-0/web@sha256:" + "9c" * 32,
    "container_image": "registry.example.internal/team-0/web:1.42.0",
    "labels": {
        "app.kubernetes.io/name": "web",
        "app.kubernetes.io/part-of": "shop",
        "pod-template-hash": "7c5ddbdf54",
    },
}
JOINED = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)
PLANS = {
    "CRI": LogPlan(Framing.CRI, CRI_LAYOUT),
    "CRI joined": JOINED,
    "CRI joined, merged, kubernetes": JOINED.then(
        Merge(keep=False), Field(Op.APPEND, "kubernetes", KUBERNETES)
    ),
}


def encode(data: memoryview, plan: LogPlan) -> int:
    """Records of one file, read in steps as the follower of files does; the entries are dropped."""
    stream = LogStream(plan)
    records = offset = 0
    while offset < len(data):
        batch = stream.encode(
            data[offset : offset + INPUT_BYTES], offset, 0, end=offset + INPUT_BYTES >= len(data)
        )
        records += batch.records
        offset += batch.consumed
    stream.close()
    return records


NEWLINES = """
#include <string.h>
size_t newlines(const char *at, size_t bytes) {
  size_t count = 0;
  for (const char *end = at + bytes; (at = memchr(at, '\\n', (size_t)(end - at))); at++)
    count++;
  return count;
}
"""


def newline_scan(folder: Path) -> Callable[[bytes], int]:
    """A loop of memchr in C."""
    library = folder / "newlines.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-xc", "-", "-o", str(library)]
    subprocess.run(command, input=NEWLINES, text=True, check=True)
    count = ctypes.CDLL(str(library)).newlines
    count.argtypes, count.restype = [ctypes.c_char_p, ctypes.c_size_t], ctypes.c_size_t
    return lambda data: int(count(data, len(data)))


def read(paths: list[Path]) -> None:
    buffer = bytearray(INPUT_BYTES)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def copy(files: list[bytes]) -> None:
    buffer = bytearray(INPUT_BYTES)
    for data in files:
        view = memoryview(data)
        for at in range(0, len(data) - INPUT_BYTES, INPUT_BYTES):
            buffer[:] = view[at : at + INPUT_BYTES]


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of one round."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        logs = write_node_logs(Path(folder), TOTAL_BYTES)
        files = [log.path.read_bytes() for log in logs]
        scan = newline_scan(Path(folder))
        works: dict[str, Callable[[], object]] = {
            "read": lambda: read([log.path for log in logs]),
            "scan": lambda: [scan(data) for data in files],
            "copy": lambda: copy(files),
        }
        for name, plan in PLANS.items():
            works[name] = lambda plan=plan: sum(encode(memoryview(data), plan) for data in files)  # type: ignore[misc]
        rounds = [{name: measured(work) for name, work in works.items()} for _ in range(ROUNDS)]
    size = sum(map(len, files))
    _check_count(files, sum(log.records for log in logs))
    return _rows(rounds, size)


def _check_count(files: list[bytes], records: int) -> None:
    found = sum(encode(memoryview(data), JOINED) for data in files)
    if found != records:
        raise AssertionError(f"{found} records of {records}: a figure of wrong work is none")


def _rows(rounds: list[dict[str, tuple[float, float]]], size: int) -> list[Row]:
    wall = {name: statistics.median(taken[name][0] for taken in rounds) for name in rounds[0]}
    cpu = {name: statistics.median(taken[name][1] for taken in rounds) for name in rounds[0]}
    speed = {name: size / MB / seconds for name, seconds in wall.items()}
    cost = {name: seconds * GIB / size for name, seconds in cpu.items()}
    rows = [Row("memcpy", speed["copy"], "MB/s", "newline scan", speed["scan"])]
    for name in PLANS:
        rows.append(Row(name, speed[name], "MB/s", "newline scan", speed["scan"]))
        rows.append(Row(name, cost[name], "CPU-s/GiB", "read from page cache", cost["read"]))
    return rows


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from rich.console import Console

    from tests.bench.__main__ import table

    Console(width=160).print(table([("log_core", row) for row in run()]))

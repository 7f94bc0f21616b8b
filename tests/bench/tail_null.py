"""How fast files are followed when nobody takes the records, beside `cat` of the same files.

The logs of 20 pods are read from their heads and encoded; an intake throws the
chunks away. Idle: 200 followed files to which nothing is written.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from collector.delivery.chunk import Chunk
from tests.bench.node_logs import write_node_logs
from tests.bench.row import Row
from tests.tail_follower import Follower, make_follower, running

TOTAL_BYTES = 512 << 20
REPETITIONS = 3
IDLE_FILES = 200
IDLE_S = 10.0
APPENDS = 200
APPEND_EVERY_S = 0.03  # slower than Tail reads under load


class Measured(NamedTuple):
    mb_per_s: float
    cpu_s_per_gib: float


def run() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logs = write_node_logs(folder / "pods", TOTAL_BYTES)
        size_bytes = sum(log.bytes for log in logs)
        records = sum(log.records for log in logs)
        for parser, keys in (("cri", {"Parser": "cri"}), ("multiline cri", {"multiline.parser": "cri"})):
            files = [log.path for log in logs]
            cat = _median(measure_cat(files, size_bytes) for _ in range(REPETITIONS))
            ours = _median(_tail(folder, keys, size_bytes, records) for _ in range(REPETITIONS))
            rows.append(Row(f"{parser} to null: read", ours.mb_per_s, "MB/s", "cat FILES", cat.mb_per_s))
            rows.append(
                Row(f"{parser} to null: CPU", ours.cpu_s_per_gib, "CPU-s/GiB", "cat FILES", cat.cpu_s_per_gib)
            )
    with tempfile.TemporaryDirectory() as name:
        rows.append(Row(f"idle, {IDLE_FILES} followed files", asyncio.run(_idle(Path(name))), "% of a core"))
    with tempfile.TemporaryDirectory() as name:
        waits_ms = sorted(asyncio.run(_waits_ms(Path(name))))
        rows.append(Row("append to chunk, idle, median", statistics.median(waits_ms), "ms"))
        rows.append(Row("append to chunk, idle, p99", waits_ms[len(waits_ms) * 99 // 100], "ms"))
    return rows


def _median(measured: Iterator[Measured]) -> Measured:
    return Measured(*map(statistics.median, zip(*measured, strict=True)))


def measure_cat(files: list[Path], size_bytes: int) -> Measured:
    with _clock(size_bytes, resource.RUSAGE_CHILDREN) as measured:
        subprocess.run(["cat", *map(str, files)], stdout=subprocess.DEVNULL, check=True)
    return measured[0]


def _tail(folder: Path, keys: dict[str, str], size_bytes: int, records: int) -> Measured:
    follower = make_follower(folder, keys, Path=f"{folder}/pods/*/*/*.log", Read_from_Head="On")
    with _clock(size_bytes, resource.RUSAGE_SELF) as measured:
        asyncio.run(_until_read(follower, size_bytes))
    return measured[0]


async def _until_read(follower: Follower, size_bytes: int) -> None:
    read_bytes = 0
    done = asyncio.Event()

    def throw_away(chunk: Chunk) -> bool:
        nonlocal read_bytes
        read_bytes += chunk.raw_bytes
        if read_bytes >= size_bytes:
            done.set()
        return True

    follower.intake.offer = throw_away  # type: ignore[method-assign]
    async with running(follower):
        await done.wait()


@contextmanager
def _clock(size_bytes: int, who: int) -> Iterator[list[Measured]]:
    measured: list[Measured] = []
    before, start_s = resource.getrusage(who), time.perf_counter()
    yield measured
    elapsed_s, after = time.perf_counter() - start_s, resource.getrusage(who)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    measured.append(Measured(size_bytes / 1e6 / elapsed_s, cpu_s * (1 << 30) / size_bytes))


async def _idle(folder: Path) -> float:
    for number in range(IDLE_FILES):
        (folder / f"{number}.log").write_bytes(b"a line\n")
    async with running(make_follower(folder, Path=f"{folder}/*.log", Refresh_Interval="10")):
        before_s = time.process_time()
        await asyncio.sleep(IDLE_S)
        return (time.process_time() - before_s) / IDLE_S * 100


async def _waits_ms(folder: Path) -> list[float]:
    """How long each of some lines, written one at a time, waits to be handed over."""
    waits_ms = []
    handed = asyncio.Event()

    def take(chunk: Chunk) -> bool:
        waits_ms.append((time.perf_counter() - written_s) * 1000)
        handed.set()
        return True

    follower = make_follower(folder, Path=f"{folder}/*.log")
    follower.intake.offer = take  # type: ignore[method-assign]
    async with running(follower):
        with (folder / "a.log").open("wb", buffering=0) as log:
            for _ in range(APPENDS):
                await asyncio.sleep(APPEND_EVERY_S)
                handed.clear()
                written_s = time.perf_counter()
                log.write(b"a line\n")
                await handed.wait()
    return waits_ms


if __name__ == "__main__":
    for row in run():
        print(f"{row.name}: {row.value:.3g} {row.unit}; {row.limit_name}: {row.limit_value:.3g}")

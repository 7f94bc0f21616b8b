"""What the probes cost those that they watch: the same work with and without them, in pairs.

`python -m tests.bench.probe_cost` as root. The machine may be busy: the ratios in one run mean something.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from probes import bpf
from probes.catalog import SUBJECTS, Dialect
from probes.launch import Attached, launch
from tests.bench.row import Row
from tests.kernel.ring_reader import RingReader

SOURCES = Path(__file__).parent
RING_BYTES = 8 << 20
DRAIN_DELAY_S = 0.02  # as the collector: wait after a notification, then take what has come
PAIRS = 7
STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")


class Work(NamedTuple):
    argument: str
    times: int
    name: str


WORKS = (
    Work("exec", 1000, "fork + exec + exit"),
    Work("tcp", 6000, "TCP connection, both ends"),
    Work("io", 40000, "64 bytes each way"),
)


class Cost(NamedTuple):
    cpu_us: float
    elapsed_us: float


@contextmanager
def workload() -> Iterator[tuple[Path, Path]]:
    """The compiled workload, and a program that does nothing for it to execute."""
    with tempfile.TemporaryDirectory() as directory:
        built = [Path(directory) / name for name in ("workload", "nothing")]
        sources = [SOURCES / "probe_workload.c", SOURCES.parent / "kernel" / "workloads" / "nothing.c"]
        for source, program in zip(sources, built, strict=True):
            subprocess.run(["gcc", "-O2", "-static", str(source), "-o", str(program)], check=True)
        yield built[0], built[1]


def measure(programs: tuple[Path, Path], work: Work) -> Cost:
    command = [str(programs[0]), work.argument, str(work.times), str(programs[1])]
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {0})
    ).stdout.split()
    return Cost(float(said[0]), float(said[1]))


def drain_like_the_collector(descriptor: int, stop: int) -> None:
    """Waits DRAIN_DELAY_S after a notification, less if another comes; asleep while nothing happens."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    reader = RingReader(descriptor)
    with select.epoll() as epoll:
        epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
        epoll.register(stop, select.EPOLLIN)
        while stop not in (ready := {found for found, _ in epoll.poll()}):
            assert ready == {descriptor}
            epoll.poll(DRAIN_DELAY_S)
            reader.discard()
    reader.close()


class Watch:
    """Probes with a reader, which is a process of its own on another CPU. Can be detached for a while."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.probes: Attached = asyncio.run(launch(SUBJECTS, ring_bytes=RING_BYTES, dialect=dialect))
        stop, self._stop = os.pipe()
        self._reader = multiprocessing.get_context("fork").Process(
            target=drain_like_the_collector, args=(self.probes.ring_fd, stop)
        )
        self._reader.start()
        os.close(stop)

    def detach(self) -> None:
        while self.probes.links:
            os.close(self.probes.links.popitem()[1])

    def attach(self) -> None:
        for tracepoint, program in self.probes.programs.items():
            name = tracepoint if self.dialect is Dialect.RAW_TP else None
            self.probes.links[tracepoint] = bpf.raw_tracepoint_open(program, name)

    def run_times_ns(self) -> int:
        """In all programs, as far as statistics were kept."""
        total = 0
        for descriptor in self.probes.programs.values():
            for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().split("\n"):
                if line.startswith("run_time_ns:"):
                    total += int(line.split()[1])
        return total

    def close(self) -> None:
        os.write(self._stop, b"x")
        os.close(self._stop)
        self._reader.join()
        self.probes.close()


@contextmanager
def program_statistics() -> Iterator[None]:
    before = STATISTICS.read_text()
    STATISTICS.write_text("1")
    try:
        yield
    finally:
        STATISTICS.write_text(before)


def in_programs_us(watch: Watch, programs: tuple[Path, Path], work: Work) -> float:
    """Time in the programs for one. Others on the machine add to it: the least of some runs."""
    least = float("inf")
    watch.attach()
    with program_statistics():
        for _ in range(3):
            before = watch.run_times_ns()
            measure(programs, work)
            least = min(least, (watch.run_times_ns() - before) / work.times / 1000)
    watch.detach()
    return least


def paired(watch: Watch, programs: tuple[Path, Path], work: Work) -> tuple[Cost, Cost]:
    """(without, with), of the pair whose ratio of CPU is the middle one."""
    pairs = []
    for _ in range(PAIRS):
        without = measure(programs, work)
        watch.attach()
        pairs.append((without, measure(programs, work)))
        watch.detach()
    pairs.sort(key=lambda pair: pair[1].cpu_us / pair[0].cpu_us)
    return pairs[len(pairs) // 2]


def load_times() -> tuple[float, float]:
    """(elapsed, CPU) seconds from launch() to attached probes."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    asyncio.run(launch(SUBJECTS, ring_bytes=RING_BYTES)).close()
    elapsed = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime


def rows_of(work: Work, programs: tuple[Path, Path], typed: Watch, raw: Watch) -> Iterator[Row]:
    without, watched = paired(typed, programs, work)
    yield Row(f"{work.name}, CPU", watched.cpu_us, "us", "without probes", without.cpu_us)
    as_raw = in_programs_us(raw, programs, work)
    yield Row(
        f"{work.name}, in the programs", in_programs_us(typed, programs, work), "us", "as raw_tp", as_raw
    )


def run() -> list[Row]:
    elapsed, cpu = load_times()
    rows = [
        Row("compile and attach all probes, elapsed", elapsed, "s"),
        Row("compile and attach all probes, CPU", cpu, "s"),
    ]
    typed, raw = Watch(Dialect.TP_BTF), Watch(Dialect.RAW_TP)
    typed.detach()
    raw.detach()
    with workload() as programs:
        for work in WORKS:
            rows.extend(rows_of(work, programs, typed, raw))
    rows.append(Row("records lost meanwhile", sum(typed.probes.lost() + raw.probes.lost()), ""))
    typed.close()
    raw.close()
    return rows


def main() -> None:
    for row in run():
        limit = f"{row.limit_name} {row.limit_value:.2f} ({row.ratio:.3f})" if row.ratio else ""
        print(f"{row.name:48} {row.value:10.2f} {row.unit:3} {limit}")


if __name__ == "__main__":
    main()

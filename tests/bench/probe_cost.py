"""What the probes cost those that they watch: the same work with and without them, in pairs.

`python -m tests.bench.probe_cost` as root. The machine may be busy: the ratios in one run mean something.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import select
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from collector.inputs.event_drain import boot_ns
from collector.inputs.event_pace import Pace
from collector.native.limits import Limits
from probes import bpf
from probes.catalog import Dialect, hooks_of
from probes.launch import Attached, launch
from probes.loader import attach
from tests.bench.call_cost import DEFAULT
from tests.bench.row import Row
from tests.kernel.ring_reader import RingReader

SOURCES = Path(__file__).parent
RING_BYTES = 8 << 20
DRAIN_DELAY_S = 0.02  # as the collector: wait after a notification, then take what has come
PAIRS = 5
TRIES = 3
ENABLE_STATS = 32  # command of bpf(2)


class Work(NamedTuple):
    argument: str
    times: int
    name: str


WORKS = (
    Work("exec", 1000, "fork + exec + exit"),
    Work("tcp", 6000, "TCP connection, both ends"),
    Work("io", 40000, "64 bytes each way"),
    Work("udp", 40000, "64 bytes each way by UDP"),
)


WATCHED = [*DEFAULT, "flow"]


class Runs(NamedTuple):
    number: int
    time_ns: int


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


def read_bytes(readers: Sequence[RingReader]) -> int:
    filled = [reader.positions() for reader in readers]
    for reader in readers:
        reader.discard()
    return sum(end - at for at, end in filled)


def drain_like_the_collector(descriptors: Sequence[int], limits: Limits, stop: int) -> None:
    """Waits DRAIN_DELAY_S after a notification, less if another comes; while much comes it looks by the
    clock; asleep while nothing happens."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    readers = [RingReader(descriptor) for descriptor in descriptors]
    pace = Pace(DRAIN_DELAY_S)
    with select.epoll() as epoll:
        for descriptor in descriptors:
            epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
        epoll.register(stop, select.EPOLLIN)
        while stop not in (ready := {found for found, _ in epoll.poll()}):
            assert ready <= set(descriptors)
            epoll.poll(DRAIN_DELAY_S)
            while promised_s := pace.note(read_bytes(readers), time.monotonic()):
                limits.promise_look(boot_ns() + int(promised_s * 1e9))
                time.sleep(DRAIN_DELAY_S)
    for reader in readers:
        reader.close()


class Watch:
    """Probes with a reader, which is a process of its own on another CPU. They are attached only for a while:
    another Watch's reader would inherit the links, and nothing were ever detached."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.probes: Attached = asyncio.run(launch(WATCHED, ring_bytes=RING_BYTES, dialect=dialect))
        self.detach()  # the own reader would inherit them, too
        self.limits = Limits(self.probes.rates_fd, self.probes.limits_fd)
        stop, self._stop = os.pipe()
        self._reader = multiprocessing.get_context("fork").Process(
            target=drain_like_the_collector,
            args=((self.probes.ring_fd, self.probes.flow_ring_fd), self.limits, stop),
            daemon=True,
        )
        self._reader.start()
        os.close(stop)

    def detach(self) -> None:
        while self.probes.links:
            os.close(self.probes.links.popitem()[1])

    def attach(self) -> None:
        for hook in hooks_of(WATCHED):
            program = self.probes.programs[hook.tracepoint]
            self.probes.links[hook.tracepoint] = attach(hook, self.dialect, program)

    def runs(self) -> dict[str, Runs]:
        """Of each program, as far as statistics were kept."""
        return {name: runs_of(descriptor) for name, descriptor in self.probes.programs.items()}

    def close(self) -> None:
        os.write(self._stop, b"x")
        os.close(self._stop)
        self._reader.join()
        self.probes.close()


@contextmanager
def program_statistics() -> Iterator[None]:
    """As the sysctl kernel.bpf_stats_enabled, but it ends with us and nobody else can end it."""
    run_time = 0
    held, _ = bpf.bpf(ENABLE_STATS, struct.pack("<II", run_time, 0))
    try:
        yield
    finally:
        os.close(held)


def runs_of(program: int) -> Runs:
    info = Path(f"/proc/self/fdinfo/{program}").read_text()
    fields = dict(line.split(":\t") for line in info.strip().split("\n"))
    return Runs(int(fields["run_cnt"]), int(fields["run_time_ns"]))


def in_programs_us(watch: Watch, programs: tuple[Path, Path], work: Work) -> float:
    """Time in the programs for one piece of work: what a run takes in the best of some tries, as often as it
    happens for one. What others on the machine do meanwhile is much less, and rounded off."""
    least_us: dict[str, float] = {}
    watch.attach()
    with program_statistics():
        for _ in range(TRIES):
            before = watch.runs()
            measure(programs, work)
            for name, after in watch.runs().items():
                number, time_ns = after.number - before[name].number, after.time_ns - before[name].time_ns
                each_us = time_ns / max(1, number) / 1000 * round(number / work.times)
                least_us[name] = min(each_us, least_us.get(name, each_us))
    watch.detach()
    return sum(least_us.values())


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
    asyncio.run(launch(WATCHED, ring_bytes=RING_BYTES)).close()
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

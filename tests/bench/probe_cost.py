"""What the probes cost those that they watch: the same work with and without them, in many short rounds.

`python -m tests.bench.probe_cost [NAME...]` as root. The machine may be busy: the work runs before all else
on its processor, and the least and most beside a difference say how sure it is. What empty programs cost at
the same hooks is the kernel's part of it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self

from probes import bpf
from probes.catalog import HOOKS, Dialect
from probes.launch import launch
from tests.bench.call_cost import DEFAULT
from tests.bench.paired import difference, measure_pair
from tests.bench.probe_nothing import Nothing
from tests.bench.probe_watch import RING_BYTES, WATCHED, Watch
from tests.bench.row import Row
from tests.kernel.sandbox import Cgroup, unified_mount

SOURCES = Path(__file__).parent
PAIRS = 30
# While the probes are attached or not, four times a pair. So short that most are left alone by what else the
# machine does; a look of the reader's, 20 ms apart, is in some of them only.
ROUNDS = 20
ROUND_S = 0.005
SETTLE_S = 0.02  # after the probes came or went: the reader finds its pace, memory and branches are warm
STATISTICS_S = 0.2
TRIES = 3
ENABLE_STATS = 32  # command of bpf(2)
BEFORE_ALL_ELSE = os.sched_param(1)


class Work(NamedTuple):
    """`in_container`: by the first process of a cgroup, whose records tell a tree as the probes have seen it
    begin. Else by one that is older than the probes."""

    argument: str
    name: str
    subjects: tuple[str, ...]
    in_container: bool = False


EVERYTHING, BY_DEFAULT = tuple(WATCHED), tuple(DEFAULT)
# What each work is to execute; options of the compiler.
PROGRAMS = {"workload": (), "least": ("-nostartfiles",), "chain": ("-nostartfiles",)}
EXECUTED = {"exec": "least", "chain": "chain"}
WORKS = (
    Work("chain", "exec", EVERYTHING),
    Work("exec", "vfork + exec + exit", EVERYTHING),
    Work("tcp", "TCP connection, both ends", EVERYTHING),
    Work("tcp", "TCP connection, both ends, by default", BY_DEFAULT),
    Work("tcp6", "TCP connection by IPv6, both ends", EVERYTHING),
    Work("io", "64 bytes each way", EVERYTHING),
    Work("udp", "64 bytes each way by UDP", EVERYTHING),
    Work("udp", "64 bytes each way by UDP, in a container", EVERYTHING, in_container=True),
)


class Runs(NamedTuple):
    number: int
    time_ns: int


class Cost(NamedTuple):
    cpu_us: float
    elapsed_us: float


@contextmanager
def compiled() -> Iterator[Path]:
    """Where the PROGRAMS are: the workload, and what it executes."""
    with tempfile.TemporaryDirectory() as directory:
        for name, options in PROGRAMS.items():
            source, program = SOURCES / f"probe_{name}.c", Path(directory) / name
            subprocess.run(["gcc", "-O2", "-static", *options, str(source), "-o", str(program)], check=True)
        yield Path(directory)


@contextmanager
def new_cgroup() -> Iterator[Cgroup]:
    made = Cgroup(unified_mount() / f"podwitness-bench-{os.getpid()}")
    made.path.mkdir()
    try:
        yield made
    finally:
        made.remove()


def become_first() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_FIFO, BEFORE_ALL_ELSE)


class Worker:
    """The workload, waiting for how often it shall do its work."""

    def __init__(self, programs: Path, work: Work, cgroup: Cgroup | None = None) -> None:
        executed = programs / EXECUTED.get(work.argument, "least")

        def begin() -> None:
            if cgroup is not None:
                cgroup.enter()
            become_first()

        self._process = subprocess.Popen(
            [str(programs / "workload"), work.argument, str(executed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=begin,
        )
        self.do(100)
        self._each_s = self.do(1000).elapsed_us / 1e6

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def times_in(self, wanted_s: float) -> int:
        return max(1, int(wanted_s / self._each_s))

    def do(self, times: int) -> Cost:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()
        return Cost(*map(float, self._process.stdout.readline().split()))


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


def runs(watch: Watch) -> dict[str, Runs]:
    """Of each program, as far as statistics were kept."""
    return {name: runs_of(descriptor) for name, descriptor in watch.probes.programs.items()}


def in_programs_us(watch: Watch, worker: Worker, subjects: Collection[str]) -> float:
    """Time in the programs for one piece of work: what a run takes in the best of some tries, as often as it
    happens for one. What others on the machine do meanwhile is much less, and rounded off."""
    least_us: dict[str, float] = {}
    times = worker.times_in(STATISTICS_S)
    watch.attach(subjects)
    with program_statistics():
        for _ in range(TRIES):
            before = runs(watch)
            worker.do(times)
            for name, after in runs(watch).items():
                number, time_ns = after.number - before[name].number, after.time_ns - before[name].time_ns
                each_us = time_ns / max(1, number) / 1000 * round(number / times)
                least_us[name] = min(each_us, least_us.get(name, each_us))
    watch.detach()
    return sum(least_us.values())


def paired(watch: Watch | Nothing, worker: Worker, work: Work, name: str) -> Row:
    def rounds_us() -> list[float]:
        worker.do(worker.times_in(SETTLE_S))
        return [worker.do(worker.times_in(ROUND_S)).cpu_us for _ in range(ROUNDS)]

    def watched_us() -> list[float]:
        watch.attach(work.subjects)
        taken_us = rounds_us()
        watch.detach()
        return taken_us

    pairs = [measure_pair(rounds_us, watched_us) for _ in range(PAIRS)]
    added, without_us = difference([pair.added for pair in pairs]), median(pair.without for pair in pairs)
    return Row(f"{work.name}, {name}", added.middle, "us", "without probes", without_us, added[1:])


def load_times() -> tuple[float, float]:
    """(elapsed, CPU) seconds from launch() to attached probes."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    asyncio.run(launch(WATCHED, ring_bytes=RING_BYTES)).close()
    elapsed = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime


@contextmanager
def worker_of(work: Work, programs: Path, watches: Sequence[Watch]) -> Iterator[Worker]:
    if not work.in_container:
        with Worker(programs, work) as worker:
            yield worker
        return
    for watch in watches:
        watch.attach()
    with new_cgroup() as cgroup:
        worker = Worker(programs, work, cgroup)
        for watch in watches:
            watch.detach()
        with worker:
            yield worker


def rows_of(work: Work, programs: Path, typed: Watch, raw: Watch, nothing: Nothing) -> Iterator[Row]:
    with worker_of(work, programs, (typed, raw)) as worker:
        yield paired(typed, worker, work, "dearer by")
        yield paired(nothing, worker, work, "by empty programs")
        spent_us, as_raw_us = (in_programs_us(watch, worker, work.subjects) for watch in (typed, raw))
        yield Row(f"{work.name}, in the programs", spent_us, "us", "as raw_tp", as_raw_us)


def run(wanted: Collection[str] = ()) -> list[Row]:
    elapsed, cpu = load_times()
    rows = [
        Row("compile and attach all probes, elapsed", elapsed, "s"),
        Row("compile and attach all probes, CPU", cpu, "s"),
    ]
    typed, raw = Watch(Dialect.TP_BTF), Watch(Dialect.RAW_TP)
    nothing = Nothing([hook for hook in HOOKS if hook.tracepoint in typed.probes.programs])
    with compiled() as programs:
        for work in WORKS:
            if not wanted or work.argument in wanted:
                rows.extend(rows_of(work, programs, typed, raw, nothing))
    rows.append(Row("records lost meanwhile", sum(typed.probes.lost() + raw.probes.lost()), ""))
    for attached in (typed, raw, nothing):
        attached.close()
    return rows


def main() -> None:
    for row in run(sys.argv[1:]):
        limit = f"{row.limit_name} {row.limit_value:.2f} ({row.ratio:.3f})" if row.ratio else ""
        between = "{:.2f} to {:.2f}".format(*row.between) if row.between else ""
        print(f"{row.name:54} {row.value:8.2f} {row.unit:3} {between:16} {limit}")


if __name__ == "__main__":
    main()

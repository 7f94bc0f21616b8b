"""The whole agent on the logs of a node: speed, CPU, memory, and whether every record arrives as it was.

The agent runs as it does on a node and is idle when the logs of 20 pods appear; what starting costs is not
counted. `BENCH_BYTES` is how much they have, 1 GiB unless set. The content of all records is compared in a
run of its own, with acks.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from tests.bench import forward_send
from tests.bench.forward_sink import RunningSink, running_sink
from tests.bench.node_host import Host, pod_of
from tests.bench.node_logs import Kind, PodLog, of_other_pods, write_node_logs
from tests.bench.record_comparison import Compared, compare_all
from tests.bench.row import Row
from tests.bench.running_agent import (
    KUBERNETES,
    NODE,
    NULL,
    TAIL,
    TIMEOUT_S,
    RunningAgent,
    forward,
    running_agent,
)
from tests.bench.tail_null import measure_cat
from tests.certificates import Authority

TOTAL_BYTES = int(os.environ.get("BENCH_BYTES", 1 << 30))
KIND_BYTES = TOTAL_BYTES // 4
ROUNDS = 3
ROUNDS_OF_ONE = 4
FIRST_SEED = 100  # of pods beside those of write_node_logs
MB, GIB = 1e6, 1 << 30

# Together with the kubernetes map as much as a filter with labels and annotations adds.
EXTRA = {
    "cluster": "production-eu-west-1",
    "environment": "production",
    "labels": "app.kubernetes.io/name=web,app.kubernetes.io/instance=web-0,app.kubernetes.io/part-of=shop,"
    "app.kubernetes.io/managed-by=argo,pod-template-hash=7c5ddbdf54,topology.kubernetes.io/zone=eu-west-1b",
}
FILTERS = KUBERNETES + "[FILTER]\n    Name modify\n    Match kube.*\n"
FILTERS += "".join(f"    Add {key} {value}\n" for key, value in EXTRA.items())


class Measured(NamedTuple):
    mb_per_s: float
    cpu_s_per_gib: float
    peak_mib: float
    sent_ratio: float  # bytes sent for each byte of log


class Node:
    """Logs of one kind that appear before an agent, and vanish again."""

    def __init__(self, folder: Path, total_bytes: int, kind: Kind = Kind.MIX) -> None:
        self.host = Host(folder)
        self._set_logs(write_node_logs(self.host.waiting, total_bytes, kind=kind))

    def _set_logs(self, logs: list[PodLog]) -> None:
        self.logs = logs
        self.bytes = sum(log.bytes for log in logs)
        self.records = sum(log.records for log in logs)

    def change_pods(self, seed: int) -> None:
        """Other pods log the same. An agent that goes on following a file does not read it again."""
        former = self.logs
        self._set_logs(of_other_pods(former, seed=seed))
        for log in former:
            shutil.rmtree(log.path.parents[1])

    @property
    def tail(self) -> str:
        return TAIL.format(root=self.host.root)

    def measure(self, agent: RunningAgent, wait: Callable[[], tuple[float, int]]) -> Measured:
        """`wait` gives when all records had arrived, and how many bytes they were."""
        cpu_s, start_s = agent.cpu_s, time.monotonic()
        self.host.appear(self.logs)
        end_s, sent_bytes = wait()
        cpu_s = agent.cpu_s - cpu_s
        measured = Measured(
            self.bytes / MB / (end_s - start_s),
            cpu_s * GIB / self.bytes,
            agent.peak_mib,
            sent_bytes / self.bytes,
        )
        self.host.vanish(self.logs)
        return measured

    def to_null(self) -> Measured:
        with running_agent(self.host.root, self.tail, NULL) as agent:
            return self.measure(agent, lambda: (agent.wait_delivered(self.records), 0))

    def to_sink(self, sink: RunningSink, ca: Path | None = None, *, acks: bool = False) -> Measured:
        with self._sending(sink, ca, acks=acks) as agent:
            return self._measure_sent(agent, sink)

    def peaks_mib(self, sink: RunningSink, rounds: int) -> list[float]:
        """Of each round of one agent, in which as much is sent each time."""
        peaks = []
        with self._sending(sink, acks=True) as agent:
            for number in range(rounds):
                agent.forget_peak()
                peaks.append(self._measure_sent(agent, sink).peak_mib)
                self.change_pods(FIRST_SEED + number)
        return peaks

    def _sending(
        self, sink: RunningSink, ca: Path | None = None, *, acks: bool
    ) -> AbstractContextManager[RunningAgent]:
        return running_agent(self.host.root, self.tail, FILTERS, forward(sink.port, ca, acks=acks))

    def _measure_sent(self, agent: RunningAgent, sink: RunningSink) -> Measured:
        def wait() -> tuple[float, int]:
            taken = sink.wait(TIMEOUT_S)
            if taken.records != self.records:
                raise AssertionError(f"{taken.records} of {self.records} records arrived")
            return taken.end_s, taken.bytes

        sink.want(self.records)
        return self.measure(agent, wait)

    def compare(self, folder: Path) -> list[Compared]:
        """Sent once more, kept, and compared record by record."""
        with running_sink(folder=folder) as sink:
            self.to_sink(sink, acks=True)
        kept = {folder / _tag_of(self.host, log): self.waiting(log) for log in self.logs}
        return compare_all(kept, NODE, EXTRA)

    def waiting(self, log: PodLog) -> PodLog:
        return log._replace(path=self.host.waiting / pod_of(log) / "app/0.log")


def _tag_of(host: Host, log: PodLog) -> str:
    return "kube." + str(host.link(log)).lstrip("/").replace("/", ".")


def _median(measured: list[Measured]) -> Measured:
    return Measured(*(statistics.median(values) for values in zip(*measured, strict=True)))


def run() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        node = Node(folder, TOTAL_BYTES)
        rows += _null_rows(node)
        authority = Authority.make(folder / "ca")
        for way, tls in (("forward", None), ("forward with TLS", authority)):
            with running_sink(tls) as sink:
                ca = tls.certificate if tls else None
                measured = _median([node.to_sink(sink, ca) for _ in range(ROUNDS)])
            rows += _forward_rows(f"tail, kubernetes, Merge_Log to {way}", measured, tls)
        (folder / "kept").mkdir()
        rows += _content_rows(node.compare(folder / "kept"), node.records)
        with running_sink() as sink:
            rows.append(_last_peak_row(node.peaks_mib(sink, ROUNDS_OF_ONE)))
    for kind in (Kind.JSON, Kind.TEXT, Kind.LONG):
        with tempfile.TemporaryDirectory() as name, running_sink() as sink:
            measured = _median([Node(Path(name), KIND_BYTES, kind).to_sink(sink)])
            rows += _forward_rows(f"all {kind.value}, to forward", measured, None)
    return rows


def _null_rows(node: Node) -> list[Row]:
    cat = measure_cat([log.path for log in node.logs], node.bytes)
    ours = _median([node.to_null() for _ in range(ROUNDS)])
    name = "tail, multiline cri to null"
    return [
        Row(name, ours.mb_per_s, "MB/s", "cat FILES", cat.mb_per_s),
        Row(name, ours.cpu_s_per_gib, "CPU-s/GiB", "cat FILES", cat.cpu_s_per_gib),
        Row(f"{name}: peak memory", ours.peak_mib, "MiB"),
    ]


def _forward_rows(name: str, ours: Measured, tls: Authority | None) -> list[Row]:
    bare = forward_send.measure_bare(tls)
    limit = f"send {ours.sent_ratio:.2f} times the bytes"
    return [
        Row(name, ours.mb_per_s, "MB/s", limit, bare.mb_per_s / ours.sent_ratio),
        Row(name, ours.cpu_s_per_gib, "CPU-s/GiB", limit, bare.cpu_s_per_gib * ours.sent_ratio),
        Row(f"{name}: peak memory", ours.peak_mib, "MiB"),
    ]


def _last_peak_row(peaks_mib: list[float]) -> Row:
    name = f"with acks, {len(peaks_mib)} times as much by one agent: peak memory of the last"
    return Row(name, peaks_mib[-1], "MiB", "the first", peaks_mib[0])


def _content_rows(compared: list[Compared], records: int) -> list[Row]:
    differences = [one.first_difference for one in compared if one.first_difference]
    if differences:
        raise AssertionError("\n".join(differences))
    same = sum(one.records for one in compared)
    return [Row("records that arrived in order with their content", same, "records", "written", records)]

"""The agent following files: idle, from append to receipt, many files of which few grow, an audit log.

A line that is timed has the time of its write in it, and the receiver compares; both read CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.forward_sink import RunningSink, running_sink
from tests.bench.node_host import Host, pod_of
from tests.bench.node_logs import PodLog, blocks, pod_directory
from tests.bench.row import Row
from tests.bench.running_agent import KUBERNETES, NULL, TAIL, TIMEOUT_S, RunningAgent, forward, running_agent

ACTIVE = 20
IDLE_FILES = 200
IDLE_S = 10.0
APPENDS = 300
APPEND_EVERY_S = 0.03
LOAD_MB_PER_S = 50.0
MANY_MB_PER_S = 20.0
MANY_S = 20.0  # two Refresh_Intervals
WRITE_EVERY_S = 0.02
AUDIT_EVENTS = 200_000
TIME = "2026-01-01T00:00:00.123456789Z"
MB, GIB = 1e6, 1 << 30


def run() -> list[Row]:
    rows = []
    with node(IDLE_FILES) as host:
        rows += _idle_rows(host)
    rows += _wait_rows("idle", 0.0)
    rows += _wait_rows(f"beside {LOAD_MB_PER_S:.0f} MB/s", LOAD_MB_PER_S)
    costs = {count: _cost_of_many(count) for count in (10, ACTIVE, 1_000, 10_000)}
    for count, (cpu_s_per_gib, resident_mib) in costs.items():
        name = f"{count} files of which {min(count, ACTIVE)} grow by {MANY_MB_PER_S:.0f} MB/s"
        rows.append(Row(name, cpu_s_per_gib, "CPU-s/GiB", f"{ACTIVE} files", costs[ACTIVE][0]))
        rows.append(Row(f"{name}: memory", resident_mib, "MiB"))
    return rows + _audit_rows()


@contextmanager
def node(files: int) -> Iterator[Host]:
    """A host with that many pods, each with a log of one line."""
    with tempfile.TemporaryDirectory() as name:
        host = Host(Path(name))
        logs = []
        for pod in range(files):
            path = host.waiting / pod_directory(pod, 7) / "app" / "0.log"
            path.parent.mkdir(parents=True)
            path.write_text(f"{TIME} stdout F begins\n")
            logs.append(PodLog(path, 1, path.stat().st_size))
        host.appear(logs)
        yield host


def logs_of(host: Host, count: int) -> list[Path]:
    return sorted(host.pods.glob("*/app/0.log"))[:count]


def _idle_rows(host: Host) -> list[Row]:
    with (
        running_sink() as sink,
        running_agent(host.root, TAIL.format(root=host.root), KUBERNETES, forward(sink.port)) as agent,
    ):
        time.sleep(2)
        percent = busy_s(agent, IDLE_S) / IDLE_S * 100
        return [
            Row(f"idle, {IDLE_FILES} followed files", percent, "% of a core"),
            Row(f"idle, {IDLE_FILES} followed files: memory", agent.resident_mib, "MiB"),
        ]


def busy_s(agent: RunningAgent, for_s: float) -> float:
    cpu_s = agent.cpu_s
    time.sleep(for_s)
    return agent.cpu_s - cpu_s


def _wait_rows(name: str, mb_per_s: float) -> list[Row]:
    with node(ACTIVE + 1) as host:
        *others, probe = logs_of(host, ACTIVE + 1)
        tag = pod_of(PodLog(probe, 0, 0)).split("_")[1]
        with (
            running_sink(probe=tag) as sink,
            running_agent(host.root, TAIL.format(root=host.root), KUBERNETES, forward(sink.port)),
            growing(others, mb_per_s),
        ):
            waits_ms = _timed(probe, sink)
    median, p99 = statistics.median(waits_ms), waits_ms[len(waits_ms) * 99 // 100]
    return [
        Row(f"append to receipt, {name}: median", median, "ms"),
        Row(f"append to receipt, {name}: p99", p99, "ms"),
    ]


def _timed(probe: Path, sink: RunningSink) -> list[float]:
    """Milliseconds that each of the lines waited, in order of length."""
    sink.want_stamps(APPENDS)
    with probe.open("ab", buffering=0) as log:
        for _ in range(APPENDS):
            time.sleep(APPEND_EVERY_S)
            log.write(f"{TIME} stdout F at={time.monotonic_ns()}.\n".encode())
    return sorted(sink.wait(TIMEOUT_S).waits_ms)


@contextmanager
def growing(files: list[Path], mb_per_s: float) -> Iterator[None]:
    """A process appends to the files, so much together."""
    if not mb_per_s:
        yield
        return
    process = multiprocessing.get_context("fork").Process(target=_grow, args=(files, mb_per_s), daemon=True)
    process.start()
    try:
        time.sleep(1)
        yield
    finally:
        process.terminate()
        process.join()


def _grow(files: list[Path], mb_per_s: float) -> None:
    piece_bytes = int(mb_per_s * MB * WRITE_EVERY_S / len(files))
    pieces = [next(blocks(piece_bytes, seed=number))[0] for number in range(len(files))]
    opened = [path.open("ab", buffering=0) for path in files]
    next_s = time.monotonic()
    while True:
        for file, piece in zip(opened, pieces, strict=True):
            file.write(piece)
        next_s += WRITE_EVERY_S
        time.sleep(max(0.0, next_s - time.monotonic()))


def _cost_of_many(count: int) -> tuple[float, float]:
    """CPU seconds for each GiB that the files which grow do so by, and resident MiB."""
    with tempfile.TemporaryDirectory() as name:
        root, folder = Path(name), Path(name) / "logs"
        folder.mkdir()
        files = [folder / f"{number}.log" for number in range(count)]
        for path in files:
            path.write_text(f"{TIME} stdout F begins\n")
        keys = (
            "Name tail",
            "Tag many.*",
            f"Path {folder}/*.log",
            "multiline.parser cri",
            "Read_from_Head On",
        )
        with running_agent(root, "[INPUT]\n" + "".join(f"    {key}\n" for key in keys), NULL) as agent:
            agent.wait_delivered(count)
            with growing(files[:ACTIVE], MANY_MB_PER_S):
                before = sum(path.stat().st_size for path in files[:ACTIVE])
                cpu_s = busy_s(agent, MANY_S)
                grown = sum(path.stat().st_size for path in files[:ACTIVE]) - before
            return cpu_s * GIB / grown, agent.resident_mib


def audit_event(number: int) -> bytes:
    """An event of the API server as its log backend writes it, level Metadata."""
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"{number:08x}-6a4d-4a3e-9d5f-0c2f7f1f5a11",
        "stage": "ResponseComplete",
        "requestURI": f"/api/v1/namespaces/team-{number % 5}/pods/web-{number}?timeout=10s",
        "verb": "get",
        "user": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "groups": ["system:serviceaccounts", "system:authenticated"],
        },
        "sourceIPs": ["10.0.0.17"],
        "userAgent": "kube-controller-manager/v1.34.0 (linux/amd64) kubernetes/4dd2a1e",
        "objectRef": {"resource": "pods", "namespace": f"team-{number % 5}", "name": f"web-{number}"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.123456Z",
        "stageTimestamp": "2026-01-01T00:00:00.130012Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
    }
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _audit_rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as name, running_sink() as sink:
        root = Path(name)
        waiting, path = root / "waiting", root / "audit" / "audit.log"
        path.parent.mkdir()
        waiting.write_bytes(b"".join(map(audit_event, range(AUDIT_EVENTS))))
        keys = ("Name tail", "Tag audit.*", f"Path {path}", "Parser json", "Read_from_Head On")
        tail = "[INPUT]\n" + "".join(f"    {key}\n" for key in keys)
        added = "[FILTER]\n    Name modify\n    Match audit.*\n    Add k8s.audit.log true\n"
        with running_agent(root, tail, added, forward(sink.port)) as agent:
            sink.want(AUDIT_EVENTS)
            cpu_s, start_s, size = agent.cpu_s, time.monotonic(), waiting.stat().st_size
            waiting.rename(path)
            end_s = sink.wait(TIMEOUT_S).end_s
            cpu_s = agent.cpu_s - cpu_s
    percent = cpu_s / (size / MB / 100) * 100
    return [
        Row("audit log, Parser json to forward", size / MB / (end_s - start_s), "MB/s"),
        Row("audit log, Parser json to forward: at 100 MB/s", percent, "% of a core"),
    ]

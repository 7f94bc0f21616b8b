"""What the whole agent holds in memory while it has nothing to do, with all that it can watch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.agent.agent import Agent
from tests.bench.agent_follow import IDLE_FILES, node
from tests.bench.forward_sink import running_sink
from tests.bench.row import Row
from tests.bench.running_agent import KUBERNETES, MIB, NULL, TAIL, forward, running_agent

ALL = "[INPUT]\n    Name ebpf\n    Tag kernel.*\n    Trace process network flow privilege syscalls\n"
WATCHED_S = 5.0  # a few heartbeats, and what was there before has been told


def resident_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss / MIB)


def empty_python_mib() -> float:
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = resident_mib(psutil.Process(child.pid))
        child.communicate(b"\n")
    return found


def everything_mib() -> float:
    with node(IDLE_FILES) as host, running_sink() as sink:
        sections = (ALL, TAIL.format(root=host.root), KUBERNETES, forward(sink.port, acks=True))
        with running_agent(host.root, *sections, settled_s=WATCHED_S) as agent:
            return resident_mib(agent.processes[0])


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "podwitness.conf")
        config.write_text(ALL + NULL)
        with Agent("-c", str(config)) as agent:
            agent.wait_until_probes()
            collector = psutil.Process(agent.process.pid)
            collector.cpu_percent()
            cpu_percent = collector.cpu_percent(WATCHED_S)
            held = resident_mib(collector)
            starters = sum(resident_mib(child) for child in collector.children())
            assert agent.stop() == 0
    return [
        Row("collector, resident", held, "MiB", "empty Python", empty_python_mib()),
        Row(f"collector that follows {IDLE_FILES} files too and sends", everything_mib(), "MiB"),
        Row("its starter, resident", starters, "MiB"),
        Row("collector, CPU while nothing is to be done", cpu_percent, "% of a core"),
    ]


if __name__ == "__main__":
    for row in run():
        print(f"{row.name:48} {row.value:10.2f} {row.unit:12} {row.limit_name} {row.limit_value:.2f}")

"""10,000 logs, each in its own pod's directory, beside 20 of the same: what it costs that most say nothing.

With `DB`, the filter kubernetes and links, as on a node. Of each number of logs 20 grow.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from tests.bench.agent_follow import ACTIVE, GIB, busy_s, growing, logs_of, node
from tests.bench.row import Row
from tests.bench.running_agent import KUBERNETES, NULL, TAIL, running_agent

MANY = 10_000
MB_PER_S = 20.0
# Two looks at everything, which come each Refresh_Interval.
WATCHED_S = 20.0
ASKED_S = 0.25  # how often whether all was delivered


class Cost(NamedTuple):
    start_s: float  # until a line of each was delivered
    start_cpu_s: float
    idle_percent: float
    cpu_s_per_gib: float
    resident_mib: float


def run() -> list[Row]:
    few, many = measure(ACTIVE), measure(MANY)
    name = f"{MANY:,} pods of which {ACTIVE} log"
    least = f"{ACTIVE} pods"
    return [
        Row(f"{name}: {MB_PER_S:.0f} MB/s", many.cpu_s_per_gib, "CPU-s/GiB", least, few.cpu_s_per_gib),
        Row(f"{name}: idle", many.idle_percent, "% of a core", least, few.idle_percent),
        Row(f"{name}: memory", many.resident_mib, "MiB", least, few.resident_mib),
        Row(f"{name}: start", many.start_s, "s", least, few.start_s),
        Row(f"{name}: CPU of the start", many.start_cpu_s, "s", least, few.start_cpu_s),
    ]


def measure(pods: int) -> Cost:
    with node(pods) as host:
        tail = TAIL.format(root=host.root)
        start_s = time.monotonic()
        with running_agent(host.root, tail, KUBERNETES, NULL, settled_s=0.0) as agent:
            start_s = agent.wait_delivered(pods, ASKED_S) - start_s
            start_cpu_s = agent.cpu_s
            time.sleep(2)
            idle_percent = busy_s(agent, WATCHED_S) / WATCHED_S * 100
            active = logs_of(host, ACTIVE)
            with growing(active, MB_PER_S):
                before = size_of(active)
                cpu_s = busy_s(agent, WATCHED_S)
                grown = size_of(active) - before
            return Cost(start_s, start_cpu_s, idle_percent, cpu_s * GIB / grown, agent.resident_mib)


def size_of(logs: list[Path]) -> int:
    return sum(log.stat().st_size for log in logs)

"""What can be seen of an output's place in the spool."""

from __future__ import annotations

import time

from collector.delivery.outlet import Outlet
from collector.service.metrics import Metrics


def set_gauges(metrics: Metrics, outlet: Outlet, used_bytes: int, oldest_ns: int) -> None:
    """`oldest_ns`: wall clock of what has been there for longest, 0 when nothing is."""
    name, limit_bytes = outlet.name, outlet.route.spool_limit_bytes
    age_s = (time.time_ns() - oldest_ns) / 1e9 if oldest_ns else 0.0
    free = max(0.0, 100.0 * (1 - used_bytes / limit_bytes))
    chunks = sum(amount.chunks for amount in outlet.shelf.behind.values())
    metrics.set("podwitness_spool_oldest_seconds", name, to=max(0.0, age_s))
    metrics.set("podwitness_spool_bytes", name, to=used_bytes)
    metrics.set("podwitness_spool_limit_bytes", name, to=limit_bytes)
    metrics.set("fluentbit_output_chunk_available_capacity_percent", name, to=free)
    metrics.set("podwitness_spool_chunks", name, to=chunks)

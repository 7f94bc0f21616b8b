"""What is said when podwitness ends: what it saw, what it lost, what it cost."""

from __future__ import annotations

import resource
from pathlib import Path

from collector.service.metrics import Metrics

COUNTED = {  # metric -> how its rows are called
    "fluentbit_input_records_total": "records of",
    "podwitness_kernel_events_total": "kernel events",
}
LOST = ("podwitness_lost_records_total", "podwitness_kernel_events_lost_total")


def summary(metrics: Metrics, seconds: float) -> str:
    """A few lines for a person."""
    # The terminal has just shown ^C.
    lines = ["", f"podwitness ran for {seconds:.1f} s."]
    lines += [f"  {label}" for label in _rows(metrics)]
    lines.append(f"  lost: {_losses(metrics) or 'nothing'}")
    lines.append(
        f"  memory {resident_mib():.1f} MiB resident, {peak_mib():.1f} MiB at its peak; {_cpu(seconds)}"
    )
    return "\n".join(lines)


def _rows(metrics: Metrics) -> list[str]:
    found: dict[str, list[str]] = {}
    for metric, labels, value in metrics.samples():
        # Changes of cgroups are not shipped, so they are no records.
        if metric.name in COUNTED and value and not any(label.startswith("cgroup") for label in labels):
            found.setdefault(metric.name, []).append(f"{' '.join(labels)} {value:.0f}")
    return [f"{COUNTED[name]}: {', '.join(sorted(rows))}" for name, rows in found.items()]


def _losses(metrics: Metrics) -> str:
    rows = [
        f"{value:.0f} {' '.join(labels)}"
        for metric, labels, value in metrics.samples()
        if metric.name in LOST and value
    ]
    return ", ".join(sorted(rows))


def _cpu(seconds: float) -> str:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = own.ru_utime + own.ru_stime
    loader = children.ru_utime + children.ru_stime
    share = 100 * spent / seconds if seconds else 0.0
    return f"CPU {spent:.2f} s ({share:.1f} % of a core) and {loader:.2f} s for compiling the probes"


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

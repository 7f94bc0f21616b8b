"""The metrics as text for Prometheus (format 0.0.4) and as Fluent Bit's JSON."""

from __future__ import annotations

from collections import defaultdict

from collector.service.metrics import Metric, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4"


def prometheus_text(metrics: Metrics, now_ms: int | None = None) -> str:
    """All samples, grouped by metric in the order of their names; with `now_ms` each has that time.

    Fluent Bit's version 1 endpoint gives every sample a time in milliseconds.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    rows: dict[str, Metric] = {}
    time = "" if now_ms is None else f" {now_ms}"
    for metric, labels, value in metrics.samples():
        rows[metric.name] = metric
        pairs = ",".join(
            f'{name}="{_escape(text)}"' for name, text in zip(metric.labels, labels, strict=True)
        )
        label_set = f"{{{pairs}}}" if pairs else ""
        groups[metric.name].append(f"{metric.name}{label_set} {_number(value)}{time}\n")
    parts: list[str] = []
    for name in sorted(groups):
        meaning = rows[name].meaning.replace("\\", "\\\\").replace("\n", "\\n")
        parts.append(f"# HELP {name} {meaning}\n# TYPE {name} {rows[name].kind}\n")
        parts += sorted(groups[name])
    return "".join(parts)


def _escape(label: str) -> str:
    escaped = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    # File names need not be UTF-8, the format must be.
    return escaped.encode(errors="replace").decode()


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def fluent_bit_json(metrics: Metrics) -> dict[str, dict[str, dict[str, int]]]:
    """What Fluent Bit shows at /api/v1/metrics: `{"input": {name: {"records": n}}, "filter": ..., ...}`."""
    found: dict[str, dict[str, dict[str, int]]] = {"input": {}, "filter": {}, "output": {}}
    for metric, labels, value in metrics.samples():
        first, _, rest = metric.name.removeprefix("fluentbit_").partition("_")
        if metric.name.startswith("fluentbit_") and first in found and metric.labels == ("name",):
            counters = found[first].setdefault(labels[0], {})
            counters[rest.removesuffix("_total")] = int(value)
    return found

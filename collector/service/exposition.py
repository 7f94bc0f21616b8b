"""The metrics as text for Prometheus (format 0.0.4), and in Fluent Bit's own two forms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from collector.service.metrics import Histogram, Metric, Metrics

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
        label_set = _label_set(metric.labels, labels)
        groups[metric.name].append(f"{metric.name}{label_set} {_number(value)}{time}\n")
    for metric, labels, found in metrics.histograms():
        rows[metric.name] = metric
        groups[metric.name] += [f"{line}{time}\n" for line in _histogram_lines(metric, labels, found)]
    parts: list[str] = []
    for name in sorted(groups):
        meaning = rows[name].meaning.replace("\\", "\\\\").replace("\n", "\\n")
        parts.append(f"# HELP {name} {meaning}\n# TYPE {name} {rows[name].kind}\n")
        parts += groups[name] if rows[name].kind == "histogram" else sorted(groups[name])
    return "".join(parts)


def _histogram_lines(metric: Metric, labels: tuple[str, ...], found: Histogram) -> Iterator[str]:
    bounds = [*map(_number, metric.bounds), "+Inf"]
    for bound, count in zip(bounds, found.cumulative, strict=True):
        yield f"{metric.name}_bucket{_label_set((*metric.labels, 'le'), (*labels, bound))} {count}"
    label_set = _label_set(metric.labels, labels)
    yield f"{metric.name}_sum{label_set} {_number(found.total)}"
    yield f"{metric.name}_count{label_set} {sum(found.counts)}"


def cmetrics_text(metrics: Metrics, now_ns: int) -> str:
    """What Fluent Bit shows at /api/v2/metrics: `TIME name{label="value"} = value`."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
    lines = [
        f"{metric.name}{_label_set(metric.labels, labels)} = {_number(value)}\n"
        for metric, labels, value in metrics.samples()
    ]
    for metric, labels, found in metrics.histograms():
        counts = zip([*map(_number, metric.bounds), "+Inf"], found.cumulative, strict=True)
        buckets = ", ".join(f"{bound}={count}" for bound, count in counts)
        said = f"{{ buckets = {{ {buckets} }}, sum={_number(found.total)}, count={sum(found.counts)} }}"
        lines.append(f"{metric.name}{_label_set(metric.labels, labels)} = {said}\n")
    return "".join(f"{time} {line}" for line in sorted(lines))


def _label_set(names: Iterable[str], values: Iterable[str]) -> str:
    pairs = ",".join(f'{name}="{_escape(text)}"' for name, text in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


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
        is_counted = metric.kind == "counter" and metric.labels == ("name",)
        if metric.name.startswith("fluentbit_") and first in found and is_counted:
            counters = found[first].setdefault(labels[0], {})
            counters[rest.removesuffix("_total")] = int(value)
    return found


class Held(Protocol):
    """What an input has in memory and in the spool (collector.delivery.census)."""

    up: int
    down: int
    busy: int
    busy_bytes: int
    memory_bytes: int
    limit_bytes: int
    is_over_limit: bool

    @property
    def total(self) -> int: ...


class Stored(Protocol):
    """What all inputs have."""

    up: int
    spooled_up: int

    @property
    def down(self) -> int: ...

    @property
    def total(self) -> int: ...

    @property
    def spooled(self) -> int: ...

    @property
    def sources(self) -> Mapping[str, Held]: ...


def storage_json(stored: Stored) -> dict[str, Any]:
    """What Fluent Bit shows at /api/v1/storage (flb_storage.c, http_server/api/v1/storage.c)."""
    chunks = {
        "total_chunks": stored.total,
        "mem_chunks": stored.up,
        "fs_chunks": stored.spooled,
        "fs_chunks_up": stored.spooled_up,
        "fs_chunks_down": stored.down,
    }
    inputs = {name: _held_json(held) for name, held in stored.sources.items()}
    return {"storage_layer": {"chunks": chunks}, "input_chunks": inputs}


def _held_json(held: Held) -> dict[str, Any]:
    status = {
        "overlimit": held.is_over_limit,
        "mem_size": readable_bytes(held.memory_bytes),
        "mem_limit": readable_bytes(held.limit_bytes),
    }
    chunks = {
        "total": held.total,
        "up": held.up,
        "down": held.down,
        "busy": held.busy,
        "busy_size": readable_bytes(held.busy_bytes),
    }
    return {"status": status, "chunks": chunks}


def readable_bytes(count: int) -> str:
    """As Fluent Bit writes sizes: 104b, 1.5K, 47.7M (flb_utils_bytes_to_human_readable_size)."""
    if count < 1024:
        return f"{count}b"
    value, units = float(count), iter("KMGTPEZY")
    while value >= 1024:
        value /= 1024
        unit = next(units)
    return f"{value:.1f}{unit}"


def set_storage_gauges(metrics: Metrics, stored: Stored) -> None:
    """The same for Prometheus."""
    whole = (stored.total, stored.up, stored.spooled, stored.spooled_up, stored.down)
    names = ("chunks", "mem_chunks", "fs_chunks", "fs_chunks_up", "fs_chunks_down")
    for name, value in zip(names, whole, strict=True):
        metrics.set(f"fluentbit_storage_{name}", to=value)
    for source, held in stored.sources.items():
        values = {
            "overlimit": held.is_over_limit,
            "memory_bytes": held.memory_bytes,
            "chunks": held.total,
            "chunks_up": held.up,
            "chunks_down": held.down,
            "chunks_busy": held.busy,
            "chunks_busy_bytes": held.busy_bytes,
        }
        for name, value in values.items():
            metrics.set(f"fluentbit_input_storage_{name}", source, to=value)

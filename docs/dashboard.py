"""Prints deploy/dashboard.json, a Grafana dashboard with a panel for each row of the metrics table.

Above the table's rows stand the figures to look at first. Format: Grafana's JSON model of dashboards,
schema 39 (Grafana 10.4 and later).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collector.service.table import GROUPS

if TYPE_CHECKING:
    from collector.service.metrics import Metric

WIDTH, HEIGHT, ACROSS = 8, 7, 3  # of a panel, in Grafana's grid of 24 columns
STAT_WIDTH, STAT_HEIGHT = 4, 4
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
INSTANCES = '{instance=~"$instance"}'

# Title, expression, unit, from where on it is red.
FIRST = (
    ("Witnesses", f"count(fluentbit_uptime{INSTANCES})", "none", None),
    ("Records lost in 24 h", f"sum(increase(podwitness_lost_records_total{INSTANCES}[24h]))", "none", 1),
    ("Stands still for", f"max(podwitness_stalled_seconds{INSTANCES})", "s", 120),
    ("Oldest undelivered", f"max(podwitness_oldest_undelivered_seconds{INSTANCES})", "s", 300),
    ("Oldest heartbeat", f"max(podwitness_heartbeat_age_seconds{INSTANCES})", "s", 60),
    ("Given up in 24 h", f"sum(increase(fluentbit_output_retries_failed_total{INSTANCES}[24h]))", "none", 1),
)


def expression(metric: Metric) -> str:
    """What a panel asks Prometheus for: a counter's rate, a gauge as it is, what 99 of 100 stay below."""
    labels = ", ".join(("instance", *metric.labels))
    if metric.kind == "histogram":
        rate = f"rate({metric.name}_bucket{INSTANCES}[$__rate_interval])"
        return f"histogram_quantile(0.99, sum by ({labels}, le) ({rate}))"
    if metric.kind == "counter":
        return f"sum by ({labels}) (rate({metric.name}{INSTANCES}[$__rate_interval]))"
    return f"max by ({labels}) ({metric.name}{INSTANCES})"


def unit(metric: Metric) -> str:
    """In Grafana's words."""
    is_counter = metric.kind == "counter"
    name = metric.name.removesuffix("_total")
    if name.endswith("_bytes"):
        return "Bps" if is_counter else "bytes"
    if "seconds" in name:
        return "s"
    return "cps" if is_counter else "short"


def title(metric: Metric) -> str:
    """The name without what the row says: `Output proc records`."""
    words = metric.name.removeprefix("fluentbit_").removeprefix("podwitness_").removesuffix("_total")
    return words.replace("_", " ").capitalize()


def panel(metric: Metric) -> dict[str, Any]:
    """A graph of one metric, without its place."""
    legend = " ".join(f"{{{{{label}}}}}" for label in ("instance", *metric.labels))
    return {
        "type": "timeseries",
        "title": title(metric),
        "description": " ".join(part for part in (metric.meaning, metric.remedy) if part),
        "datasource": SOURCE,
        "targets": [_target(expression(metric), legend)],
        "fieldConfig": {"defaults": {"unit": unit(metric), "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"showLegend": False}},
    }


def stat(name: str, asked: str, unit_name: str, red_from: float | None) -> dict[str, Any]:
    """One figure of the first row."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if red_from is not None:
        steps.append({"color": "red", "value": red_from})
    thresholds = {"mode": "absolute", "steps": steps}
    return {
        "type": "stat",
        "title": name,
        "datasource": SOURCE,
        "targets": [_target(asked, name)],
        "fieldConfig": {"defaults": {"unit": unit_name, "thresholds": thresholds}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}},
    }


def _target(asked: str, legend: str) -> dict[str, Any]:
    return {"refId": "A", "datasource": SOURCE, "expr": asked, "legendFormat": legend}


def panels() -> list[dict[str, Any]]:
    """All of them with their places; a group is a row, the first of them open."""
    found: list[dict[str, Any]] = []
    for index, figure in enumerate(FIRST):
        found.append(stat(*figure) | _place(STAT_WIDTH, STAT_HEIGHT, index * STAT_WIDTH, 0))
    top = STAT_HEIGHT
    for number, (name, metrics) in enumerate(GROUPS.items()):
        made = [
            panel(metric) | _place(WIDTH, HEIGHT, index % ACROSS * WIDTH, top + 1 + index // ACROSS * HEIGHT)
            for index, metric in enumerate(metrics)
        ]
        is_open = number == 0
        row = {"type": "row", "title": name, "collapsed": not is_open, "panels": [] if is_open else made}
        found.append(row | _place(24, 1, 0, top))
        found += made if is_open else []
        top += 1 + (-(-len(made) // ACROSS) * HEIGHT if is_open else 0)
    for number, one in enumerate(_all(found), 1):
        one["id"] = number
    return found


def _all(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for one in found for each in (one, *one.get("panels", ()))]


def _place(width: int, height: int, left: int, top: int) -> dict[str, Any]:
    return {"gridPos": {"w": width, "h": height, "x": left, "y": top}}


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Instance",
            "type": "query",
            "datasource": SOURCE,
            "query": "label_values(fluentbit_uptime, instance)",
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def page() -> str:
    """The file."""
    dashboard = {
        "uid": "podwitness",
        "title": "podwitness",
        "description": "Printed by `make docs` from collector/service/table.py.",
        "tags": ["podwitness", "fluent-bit"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels(),
    }
    return json.dumps(dashboard, indent=1) + "\n"

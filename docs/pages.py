"""Prints the reference pages out of the tables in the code: `make docs`, or `python -m docs.pages`.

tests/unit/test_pages.py fails when a page here is older than its table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from collector import catalog, netlink_fields, records
from collector.config import reference
from collector.service.table import TABLE
from docs import dashboard

if TYPE_CHECKING:
    from collector.service.metrics import Metric

HERE = Path(__file__).resolve().parent

METRICS = """\
# Metrics

Printed by `make docs` from collector/service/table.py. Served at `/api/v1/metrics/prometheus` when
`HTTP_Server` is On. The `fluentbit_` names are those of Fluent Bit, so that its dashboards stay valid.
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def metric_row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {cell(metric.meaning)} | {cell(metric.remedy)} |"


def metrics() -> str:
    heading = ["| metric | kind | labels | meaning | what to do |", "|---|---|---|---|---|"]
    return "\n".join([METRICS, *heading, *(metric_row(metric) for metric in TABLE)]) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": reference.page,
    "events.md": catalog.page,
    "metrics.md": metrics,
    "records.md": records.page,
    "records-netlink.md": netlink_fields.page,
    "../deploy/dashboard.json": dashboard.page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")

"""Prints the reference pages out of the tables in the code: `make docs`, or `python -m docs.pages`.

tests/unit/test_pages.py fails when a page here is older than its table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from collector import records
from collector.config.common import FilterCommon, InputCommon, OutputCommon
from collector.config.schema import Key, keys_of
from collector.config.service import ServiceSettings
from collector.plugins import PLUGINS, PluginKind, Row
from collector.service.table import TABLE

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from collector.service.metrics import Metric

HERE = Path(__file__).resolve().parent
COMMON: dict[PluginKind, type[DataclassInstance]] = {
    "input": InputCommon,
    "filter": FilterCommon,
    "output": OutputCommon,
}

CONFIGURATION = """\
# Configuration

Printed by `make docs` from the `Settings` of each plugin.

Fluent Bit's classic (`.conf`) and YAML (`.yaml`, `.yml`) formats, with `@INCLUDE`, `@SET` and `${VARIABLE}`.
Keys are compared without case. `podwitness -c FILE --dry-run` checks a file and names every problem in it,
with line and remedy.

**Types.** *size*: a number of bytes, or with `k`, `M`, `G` (powers of 1000) or `Ki`, `Mi`, `Gi` (of 1024).
*time*: seconds, or with `ms`, `s`, `m`, `h`, `d`. *list*: items separated by commas.
"""

METRICS = """\
# Metrics

Printed by `make docs` from collector/service/table.py. Served at `/api/v1/metrics/prometheus` when
`HTTP_Server` is On. The `fluentbit_` names are those of Fluent Bit, so that its dashboards stay valid.
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def key_rows(keys: Iterable[Key]) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key in keys:
        default = "required" if key.required else f"`{key.default_text}`" if key.default_text else ""
        yield f"| `{key.name}` | {cell(key.kind.name)} | {cell(default)} | {cell(key.help)} |"


def plugin_section(row: Row) -> Iterator[str]:
    plugin = row.load()
    yield f"### `{row.name}`"
    yield ""
    yield plugin.SUMMARY
    yield ""
    keys = keys_of(plugin.Settings)
    if keys:
        yield from key_rows(keys)
        yield ""


def configuration() -> str:
    lines = [CONFIGURATION, "## `[SERVICE]`", "", *key_rows(keys_of(ServiceSettings)), ""]
    for kind, common in COMMON.items():
        lines += [f"## `[{kind.upper()}]`", "", f"Keys of every {kind}:", "", *key_rows(keys_of(common)), ""]
        for row in PLUGINS:
            if row.kind == kind:
                lines += plugin_section(row)
    return "\n".join(lines).rstrip() + "\n"


def metric_row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {cell(metric.meaning)} | {cell(metric.remedy)} |"


def metrics() -> str:
    heading = ["| metric | kind | labels | meaning | what to do |", "|---|---|---|---|---|"]
    return "\n".join([METRICS, *heading, *(metric_row(metric) for metric in TABLE)]) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "metrics.md": metrics,
    "records.md": records.page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")

"""The Grafana dashboard has a panel for each metric, asks for nothing else, and panels do not overlap."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from collector.service.table import TABLE
from docs import dashboard
from tests.deploy.manifests import ROOT

FOUND = json.loads((ROOT / "deploy/dashboard.json").read_text())
ROWS = {metric.name: metric for metric in TABLE}
PROMQL = {"sum", "by", "max", "count", "rate", "increase", "instance", "h", "histogram_quantile", "le"}


def every_panel() -> list[dict[str, Any]]:
    return [each for one in FOUND["panels"] for each in (one, *one.get("panels", ()))]


GRAPHS = [one for one in every_panel() if one["type"] != "row"]


@pytest.mark.parametrize("panel", GRAPHS, ids=lambda panel: str(panel["title"]))
def test_a_panel_asks_for_metrics_and_labels_of_the_table(panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    asked = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", target["expr"].replace("_bucket{", "{"))
    words = set(re.findall(r"[a-zA-Z_]\w*", asked)) - PROMQL
    (name,) = words & ROWS.keys()
    labels = set(ROWS[name].labels)
    assert words - {name} <= labels
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= {"instance", *labels}
    is_rate = ROWS[name].kind != "gauge" and "count(" not in asked
    assert bool(re.search(r"rate|increase", asked)) == is_rate


def test_every_metric_has_its_panel() -> None:
    asked = " ".join(panel["targets"][0]["expr"] for panel in GRAPHS if panel["type"] == "timeseries")
    asked = asked.replace("_bucket{", "{")
    assert set(re.findall(r"(?:fluentbit|podwitness|process)_\w+", asked)) == set(ROWS)
    assert len({panel["id"] for panel in every_panel()}) == len(every_panel())


def test_panels_that_are_seen_together_do_not_overlap() -> None:
    for together in (FOUND["panels"], *(one["panels"] for one in FOUND["panels"] if one.get("panels"))):
        taken: set[tuple[int, int]] = set()
        for panel in together:
            place = panel["gridPos"]
            cells = {
                (column, line)
                for column in range(place["x"], place["x"] + place["w"])
                for line in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(column for column, _ in cells) < 24
            taken |= cells


def test_units_say_what_a_counter_becomes() -> None:
    assert dashboard.unit(ROWS["fluentbit_output_proc_bytes_total"]) == "Bps"
    assert dashboard.unit(ROWS["podwitness_delivery_bytes"]) == "bytes"
    assert dashboard.unit(ROWS["podwitness_stalled_seconds"]) == "s"
    assert dashboard.unit(ROWS["fluentbit_input_records_total"]) == "cps"

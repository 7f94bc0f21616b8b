"""The rows of the metrics table: all can be shown, and what can go wrong says what to do."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector.service.exposition import prometheus_text
from collector.service.metrics import Metric, Metrics
from collector.service.table import TABLE


def test_names_are_unique_and_of_one_product() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert re.fullmatch(r"(fluentbit|podwitness|process)_[a-z0-9_]+", row.name)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_can_be_shown(row: Metric) -> None:
    metrics = Metrics(TABLE)
    labels = ("x",) * len(row.labels)
    if row.kind == "counter":
        metrics.add(row.name, *labels)
    elif row.kind == "histogram":
        metrics.observe(row.name, *labels, value=1)
    else:
        metrics.set(row.name, *labels, to=1)
    (family,) = text_string_to_metric_families(prometheus_text(metrics))
    shown = {sample.value for sample in family.samples if sample.labels.get("le", "+Inf") == "+Inf"}
    assert shown == {1}
    assert family.documentation == row.meaning


def test_every_counter_of_what_goes_wrong_has_a_remedy() -> None:
    bad = ("lost", "errors", "failed", "failures", "dropped", "unrouted", "retries")
    for row in TABLE:
        if any(word in row.name for word in bad) and not row.name.endswith("_bytes_total"):
            assert row.remedy, row.name

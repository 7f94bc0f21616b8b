"""What Fluent Bit's published dashboard and alerts ask for is there from the start.

The expressions are those of fluent-bit-docs, monitoring/dashboard.json and monitoring/alerts.yaml, without
those about kube-state-metrics and the node exporter; beside them, what others are known to ask for.
"""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector.delivery.census import Census
from collector.service.exposition import prometheus_text, set_storage_gauges
from collector.service.fluent_bit_metrics import begin_at_zero
from collector.service.metrics import Metrics
from collector.service.table import TABLE

EXPRESSIONS = (
    "sum(rate(fluentbit_input_bytes_total[5m])) by (instance, name)",
    "sum(rate(fluentbit_output_proc_bytes_total[5m])) by (instance, name)",
    "sum(rate(fluentbit_input_records_total[5m])) by (instance, name)",
    "sum(rate(fluentbit_output_proc_records_total[5m])) by (instance, name)",
    "sum(rate(fluentbit_output_retries_total[1m])) by (instance, name)",
    "sum(rate(fluentbit_output_retries_failed_total[1m])) by (instance, name)",
    "sum(rate(fluentbit_output_errors_total[1m])) by (instance, name)",
    "sum(rate(fluentbit_output_proc_bytes_total[5m])) by (pod) == 0",
    "sum(rate(fluentbit_output_dropped_records_total[5m])) by (name)",
    "sum(rate(fluentbit_output_retried_records_total[5m])) by (name)",
    "sum(rate(fluentbit_filter_add_records_total[5m])) by (name)",
    "sum(rate(fluentbit_filter_drop_records_total[5m])) by (name)",
    "fluentbit_storage_mem_chunks",
    "fluentbit_storage_fs_chunks",
    "fluentbit_storage_fs_chunks_up",
    "fluentbit_storage_fs_chunks_down",
    "fluentbit_input_storage_overlimit == 1",
    "max(fluentbit_input_storage_memory_bytes) by (name)",
)
OF_THE_SCRAPE = {"instance", "pod"}


@pytest.fixture(scope="module")
def page() -> str:
    metrics, census = Metrics(TABLE), Census()
    begin_at_zero(metrics, inputs=["tail.0"], filters=["modify.0"], outputs=["forward.0"])
    census.sources["tail.0"].up = 0
    set_storage_gauges(metrics, census)
    return prometheus_text(metrics)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_finds_its_series(page: str, expression: str) -> None:
    (name,) = re.findall(r"fluentbit_\w+", expression)
    asked = re.search(r"by \((.*)\)", expression)
    labels = set(asked[1].split(", ")) - OF_THE_SCRAPE if asked else set()
    samples = [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    ]
    assert samples
    assert all(labels <= set(sample.labels) for sample in samples)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))
    assert kinds[name] == ("counter" if "rate(" in expression else "gauge")

"""Metrics as text: read back by the Prometheus client's own parser."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collector.service.exposition import cmetrics_text, fluent_bit_json, prometheus_text
from collector.service.fluent_bit_metrics import begin_at_zero
from collector.service.metrics import Metric, Metrics
from collector.service.table import TABLE


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_format_letter_for_letter() -> None:
    metrics = Metrics(
        (
            Metric("b_total", "counter", ("name",), "How many \\ there\nare."),
            Metric("a", "gauge", (), "One."),
        )
    )
    metrics.add("b_total", "x.1", by=3)
    metrics.add("b_total", 'q"\\\n', by=2)
    metrics.set("a", to=0.25)
    assert prometheus_text(metrics, 1700000000123) == (
        "# HELP a One.\n# TYPE a gauge\na 0.25 1700000000123\n"
        "# HELP b_total How many \\\\ there\\nare.\n# TYPE b_total counter\n"
        'b_total{name="q\\"\\\\\\n"} 2 1700000000123\n'
        'b_total{name="x.1"} 3 1700000000123\n'
    )


def latencies() -> Metrics:
    metrics = Metrics((Metric("latency_seconds", "histogram", ("input",), "How long.", bounds=(0.5, 1.0)),))
    for value in (0.25, 0.5, 0.75, 4.0):
        metrics.observe("latency_seconds", "tail.0", value=value)
    return metrics


def test_a_histogram_letter_for_letter() -> None:
    assert prometheus_text(latencies(), 5) == (
        "# HELP latency_seconds How long.\n# TYPE latency_seconds histogram\n"
        'latency_seconds_bucket{input="tail.0",le="0.5"} 2 5\n'
        'latency_seconds_bucket{input="tail.0",le="1"} 3 5\n'
        'latency_seconds_bucket{input="tail.0",le="+Inf"} 4 5\n'
        'latency_seconds_sum{input="tail.0"} 5.5 5\n'
        'latency_seconds_count{input="tail.0"} 4 5\n'
    )
    assert cmetrics_text(latencies(), 1_700_000_000_000_000_007) == (
        '2023-11-14T22:13:20.000000007Z latency_seconds{input="tail.0"} = '
        "{ buckets = { 0.5=2, 1=3, +Inf=4 }, sum=5.5, count=4 }\n"
    )
    (family,) = text_string_to_metric_families(prometheus_text(latencies()))
    assert family.type == "histogram"


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.floats(0, 1e15, allow_nan=False), max_size=5)
)
def test_any_label_survives(values: dict[str, float]) -> None:
    metrics = Metrics((Metric("some_total", "counter", ("name",), "Some."),))
    for label, value in values.items():
        metrics.add("some_total", label, by=value)
    assert samples(prometheus_text(metrics)) == {
        ("some_total", (label,)): value for label, value in values.items()
    }


def test_a_label_that_is_not_utf8_does_not_break_the_page() -> None:
    metrics = Metrics((Metric("some_total", "counter", ("name",), "Some."),))
    metrics.add("some_total", "file-\udcff")
    assert samples(prometheus_text(metrics)) == {("some_total", ("file-?",)): 1}


def test_fluent_bit_json_has_every_instance_from_the_start() -> None:
    metrics = Metrics(TABLE)
    begin_at_zero(metrics, inputs=["tail.0"], filters=["modify.0"], outputs=["forward.0"])
    metrics.add("fluentbit_input_records_total", "tail.0", by=7)
    metrics.set("fluentbit_uptime", "n1", to=3)
    assert fluent_bit_json(metrics) == {
        "input": {"tail.0": {"records": 7, "bytes": 0}},
        "filter": {
            "modify.0": {
                "records": 0,
                "bytes": 0,
                "emit_records": 0,
                "add_records": 0,
                "drop_records": 0,
            }
        },
        "output": {
            "forward.0": {
                "proc_records": 0,
                "proc_bytes": 0,
                "errors": 0,
                "retries": 0,
                "retries_failed": 0,
                "dropped_records": 0,
                "retried_records": 0,
            }
        },
    }

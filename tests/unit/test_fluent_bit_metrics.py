"""Fluent Bit's metrics, name by name: ours, or with a reason why there is nothing to be shown."""

from __future__ import annotations

import pytest

from collector.service.fluent_bit_metrics import FLUENT_BIT, begin_at_zero
from collector.service.metrics import Metrics
from collector.service.table import TABLE

# Of version 5, with their labels.
NAMES = {
    "input": """
        records_total bytes_total ingestion_paused storage_overlimit storage_memory_bytes storage_chunks
        storage_chunks_up storage_chunks_down storage_chunks_busy storage_chunks_busy_bytes files_opened_total
        files_closed_total files_rotated_total long_line_skipped_total long_line_truncated_total
        multiline_truncated_total memrb_dropped_chunks memrb_dropped_bytes ring_buffer_writes_total
        ring_buffer_retries_total ring_buffer_retry_failures_total
    """,
    "filter": """
        records_total bytes_total add_records_total drop_records_total drop_bytes_total emit_records_total
        emit_truncated_total
    """,
    "output": """
        proc_records_total proc_bytes_total errors_total retries_total retries_failed_total
        dropped_records_total retried_records_total upstream_total_connections upstream_busy_connections
        chunk_available_capacity_percent latency_seconds
    """,
    "storage": "chunks mem_chunks fs_chunks fs_chunks_up fs_chunks_down fs_chunks_busy fs_chunks_busy_bytes",
    "": "uptime build_info process_start_time_seconds hot_reloaded_times logger_logs_total",
}
ABSENT = {
    "fluentbit_input_multiline_truncated_total": "counted with other cut records",
    "fluentbit_input_memrb_dropped_chunks": "nothing is dropped for what comes later",
    "fluentbit_input_memrb_dropped_bytes": "nothing is dropped for what comes later",
    "fluentbit_input_ring_buffer_writes_total": "inputs have no threads with a ring",
    "fluentbit_input_ring_buffer_retries_total": "inputs have no threads with a ring",
    "fluentbit_input_ring_buffer_retry_failures_total": "inputs have no threads with a ring",
    "fluentbit_filter_drop_bytes_total": "what is dropped is not encoded, so it has no size",
    "fluentbit_filter_emit_truncated_total": "podwitness cuts by an input, which counts it",
    "fluentbit_storage_fs_chunks_busy": "chunks are busy by input, in memory",
    "fluentbit_storage_fs_chunks_busy_bytes": "chunks are busy by input, in memory",
}
# Counters by the names of gauges; the second is one since version 5.
COUNTERS = ("uptime", "hot_reloaded_times")
# Of in_fluentbit_metrics: with labels of their own.
OTHER_LABELS = {
    "fluentbit_output_latency_seconds": ("input", "output"),
    "fluentbit_uptime": ("hostname",),
    "fluentbit_process_start_time_seconds": ("hostname",),
    "fluentbit_hot_reloaded_times": ("hostname",),
    "fluentbit_build_info": ("hostname", "version", "os", "edition"),
    "fluentbit_logger_logs_total": ("message_type",),
}


def full_name(kind: str, rest: str) -> str:
    return "_".join(filter(None, ("fluentbit", kind, rest)))


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_is_there_or_has_a_reason(kind: str) -> None:
    ours = {row.name: row for row in FLUENT_BIT}
    for rest in NAMES[kind].split():
        name = full_name(kind, rest)
        assert (name in ours) != (name in ABSENT), name
        if name in ours:
            labels = OTHER_LABELS.get(name, () if kind == "storage" else ("name",))
            assert ours[name].labels == labels, name
            assert (ours[name].kind == "counter") == (rest.endswith("_total") or rest in COUNTERS), name


def test_no_name_is_made_up() -> None:
    known = {
        "_".join(filter(None, ("fluentbit", kind, one))) for kind in NAMES for one in NAMES[kind].split()
    }
    assert {row.name for row in FLUENT_BIT} - known == {"process_start_time_seconds"}
    assert known >= ABSENT.keys()


def test_series_are_there_before_anything_happens() -> None:
    metrics = Metrics(TABLE)
    begin_at_zero(metrics, inputs=["tail.0"], filters=["grep.0"], outputs=["http.0"])
    shown = {metric.name: value for metric, _, value in metrics.samples()}
    assert shown["fluentbit_filter_records_total"] == 0
    assert shown["fluentbit_output_upstream_busy_connections"] == 0
    assert shown["fluentbit_output_chunk_available_capacity_percent"] == 100
    assert shown["fluentbit_input_ingestion_paused"] == 0
    assert "fluentbit_input_files_opened_total" not in shown

"""Metrics with Fluent Bit's names, so that dashboards and alerts stay valid.

The names are those of its sources (flb_input.c, flb_filter.c, flb_output.c, flb_storage.c, in_tail,
in_fluentbit_metrics) and of its docs (administration/monitoring).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from collector.service.metrics import Metric, Metrics

FLUENT_BIT: Final = (
    Metric("fluentbit_input_records_total", "counter", ("name",), "Records that an input handed over."),
    Metric("fluentbit_input_bytes_total", "counter", ("name",), "Bytes of these records, encoded."),
    Metric("fluentbit_input_files_opened_total", "counter", ("name",), "Files that a tail input opened."),
    Metric("fluentbit_input_files_closed_total", "counter", ("name",), "Files that a tail input closed."),
    Metric("fluentbit_input_files_rotated_total", "counter", ("name",), "Files whose rotation was seen."),
    Metric(
        "fluentbit_input_ingestion_paused",
        "gauge",
        ("name",),
        "1 while an input waits for room.",
        "Look at the slow output; a followed file waits on disk.",
    ),
    Metric("fluentbit_input_long_line_skipped_total", "counter", ("name",), "Lines left out as too long."),
    Metric("fluentbit_input_long_line_truncated_total", "counter", ("name",), "Records cut as too long."),
    Metric(
        "fluentbit_filter_records_total",
        "counter",
        ("name",),
        "Records that a filter has seen: those of its tags that are handed over or were dropped.",
    ),
    Metric(
        "fluentbit_filter_bytes_total",
        "counter",
        ("name",),
        "Bytes of those that are handed over, encoded, as all filters left them.",
    ),
    Metric(
        "fluentbit_filter_emit_records_total",
        "counter",
        ("name",),
        "Records to which a filter gave another tag, or which it hands on later.",
    ),
    Metric("fluentbit_filter_add_records_total", "counter", ("name",), "Records that a filter added."),
    Metric("fluentbit_filter_drop_records_total", "counter", ("name",), "Records that a filter dropped."),
    Metric("fluentbit_output_proc_records_total", "counter", ("name",), "Records delivered."),
    Metric("fluentbit_output_proc_bytes_total", "counter", ("name",), "Bytes delivered, encoded."),
    Metric(
        "fluentbit_output_errors_total",
        "counter",
        ("name",),
        "Deliveries that the receiver refused for good.",
        "See the log for the receiver's reason; the records are in a loss record.",
    ),
    Metric(
        "fluentbit_output_retries_total",
        "counter",
        ("name",),
        "Deliveries that failed and are tried again.",
        "See the log for the reason; check that the receiver is up and reachable.",
    ),
    Metric(
        "fluentbit_output_retries_failed_total",
        "counter",
        ("name",),
        "Deliveries given up at the output's Retry_Limit.",
        "Raise Retry_Limit (no_limits never gives up) or mend the receiver.",
    ),
    Metric(
        "fluentbit_output_dropped_records_total",
        "counter",
        ("name",),
        "Records that an output will not deliver, whatever the cause.",
        "Each is told in a loss record; see podwitness_lost_records_total for the cause.",
    ),
    Metric("fluentbit_output_retried_records_total", "counter", ("name",), "Records in these retries."),
    Metric(
        "fluentbit_output_latency_seconds",
        "histogram",
        ("input", "output"),
        "Time from when a chunk was read to when its output had delivered it.",
        bounds=(0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0),
    ),
    Metric("fluentbit_output_upstream_total_connections", "gauge", ("name",), "Connections of an output."),
    Metric("fluentbit_output_upstream_busy_connections", "gauge", ("name",), "Those of them in use."),
    Metric(
        "fluentbit_output_chunk_available_capacity_percent",
        "gauge",
        ("name",),
        "How much of storage.total_limit_size is free; 100 without a spool.",
        "At 0 chunks are dropped: see why the output does not take them.",
    ),
    Metric(
        "fluentbit_logger_logs_total",
        "counter",
        ("message_type",),
        "Lines of podwitness's own log: error, warn, info, debug, trace.",
    ),
    Metric("fluentbit_uptime", "counter", ("hostname",), "Seconds since start."),
    Metric(
        "process_start_time_seconds",
        "gauge",
        (),
        "Start time of the process since the Unix epoch in seconds.",
    ),
    Metric("fluentbit_process_start_time_seconds", "gauge", ("hostname",), "The same."),
    Metric(
        "fluentbit_hot_reloaded_times",
        "counter",
        ("hostname",),
        "Times that another configuration was put in place.",
    ),
    Metric(
        "fluentbit_build_info",
        "gauge",
        ("hostname", "version", "os", "edition"),
        "Version of this build; the value is when it was started, as in Fluent Bit.",
    ),
    Metric("fluentbit_storage_chunks", "gauge", (), "Chunks that are not delivered."),
    Metric("fluentbit_storage_mem_chunks", "gauge", (), "Those of them in memory."),
    Metric("fluentbit_storage_fs_chunks", "gauge", (), "Those in the spool, once for each output."),
    Metric("fluentbit_storage_fs_chunks_up", "gauge", (), "Those in the spool and in memory."),
    Metric("fluentbit_storage_fs_chunks_down", "gauge", (), "Those in the spool alone."),
    Metric(
        "fluentbit_input_storage_overlimit",
        "gauge",
        ("name",),
        "1 while an input is at its Mem_Buf_Limit.",
        "Its files wait on disk meanwhile; look at the slow output.",
    ),
    Metric("fluentbit_input_storage_memory_bytes", "gauge", ("name",), "Memory of an input's chunks."),
    Metric("fluentbit_input_storage_chunks", "gauge", ("name",), "Chunks of an input."),
    Metric("fluentbit_input_storage_chunks_up", "gauge", ("name",), "Those of them in memory."),
    Metric("fluentbit_input_storage_chunks_down", "gauge", ("name",), "Those in the spool alone."),
    Metric("fluentbit_input_storage_chunks_busy", "gauge", ("name",), "Those that outputs are sending."),
    Metric("fluentbit_input_storage_chunks_busy_bytes", "gauge", ("name",), "Their bytes."),
)

_OF_TAIL: Final = ("fluentbit_input_files_", "fluentbit_input_long_line_")


def begin_at_zero(
    metrics: Metrics, *, inputs: Collection[str], filters: Collection[str], outputs: Collection[str]
) -> None:
    """Shows the counters of every instance before anything was counted, as Fluent Bit does."""
    for prefix, names in (("input", inputs), ("filter", filters), ("output", outputs)):
        counters = [row.name for row in FLUENT_BIT if row.kind == "counter"]
        rows = [row for row in counters if row.startswith(f"fluentbit_{prefix}_")]
        for name in names:
            for row in rows:
                if not row.startswith(_OF_TAIL):
                    metrics.add(row, name, by=0)
    for name in outputs:
        metrics.set("fluentbit_output_chunk_available_capacity_percent", name, to=100)
        metrics.set("fluentbit_output_upstream_total_connections", name, to=0)
        metrics.set("fluentbit_output_upstream_busy_connections", name, to=0)
    for name in inputs:
        metrics.set("fluentbit_input_ingestion_paused", name, to=0)

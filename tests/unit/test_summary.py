"""What is said at the end: counts, losses by cause, cost."""

from __future__ import annotations

from collector.service.metrics import Metrics
from collector.service.table import TABLE
from collector.summary import summary


def test_counts_losses_and_cost_are_named() -> None:
    metrics = Metrics(TABLE)
    metrics.add("fluentbit_input_records_total", "tail.0", by=7)
    metrics.add("podwitness_kernel_events_total", "exec", by=3)
    metrics.add("podwitness_lost_records_total", "retry_limit", by=2)
    text = summary(metrics, 2.0)
    for part in ("ran for 2.0 s", "tail.0 7", "exec 3", "lost: 2 retry_limit", "MiB resident", "of a core"):
        assert part in text


def test_no_loss_is_said() -> None:
    assert "lost: nothing" in summary(Metrics(TABLE), 1.0)

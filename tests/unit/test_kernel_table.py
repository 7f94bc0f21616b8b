"""collector.service.kernel_table: its rows are in the table, and are of kernel events."""

from __future__ import annotations

from collector.service.kernel_table import KERNEL
from collector.service.table import TABLE


def test_all_rows_are_in_the_table_once() -> None:
    for row in KERNEL:
        assert TABLE.count(row) == 1
        assert row.name.startswith(("podwitness_kernel_", "podwitness_probes_", "podwitness_heartbeat"))


def test_what_is_counted_by_kind_says_so() -> None:
    of_events = [row for row in KERNEL if row.name.startswith("podwitness_kernel_events_")]
    assert [row.name for row in of_events if "kind" not in row.labels] == [
        "podwitness_kernel_events_unresolved_total"
    ]

"""A portion of a file: what was odd about it is counted."""

from __future__ import annotations

import pytest

from collector.inputs.portion import Portion
from collector.service.metrics import Metrics
from collector.service.table import TABLE

COUNTERS = {
    "podwitness_tail_unparsed_lines_total": 3,
    "fluentbit_input_long_line_truncated_total": 4,
    "fluentbit_input_long_line_skipped_total": 6,
    "podwitness_tail_cut_records_total": 4,
    "podwitness_tail_cut_bytes_total": 5,
    "podwitness_tail_skipped_lines_total": 6,
    "podwitness_tail_skipped_bytes_total": 7,
}


@pytest.mark.parametrize("times", [0, 1])
def test_what_was_odd_is_counted(times: int) -> None:
    metrics = Metrics(TABLE)
    odd = Portion(b"", 1, 0, 10, 3, 4, 5, True, skipped=6, skipped_bytes=7)
    (odd if times else Portion(b"", 1, 0, 10, 0, 0, 0, True)).count_into(metrics, "tail.0")
    assert {name: metrics.value(name, "tail.0") for name in COUNTERS} == {
        name: times * count for name, count in COUNTERS.items()
    }

"""What was read of a file in one go."""

from __future__ import annotations

from typing import NamedTuple

from collector.delivery.chunk import Packed, Stretch
from collector.service.metrics import Metrics


class Portion(NamedTuple):
    """Entries, from where to where, and what was odd about it."""

    entries: Packed
    records: int
    from_offset: int
    to_offset: int
    unparsed: int
    cut: int
    cut_bytes: int
    at_end: bool  # all that the file had
    skipped: int = 0
    skipped_bytes: int = 0
    began: tuple[int, ...] = ()  # where records began that are whole though no byte was read
    now_ns: int = 0  # when it was read
    ended: bool = False  # what was open at its end was completed
    again: Stretch | None = None  # it was under way when the run before ended

    def count_into(self, metrics: Metrics, name: str) -> None:
        """What was odd, of the input of that name."""
        metrics.add("podwitness_tail_unparsed_lines_total", name, by=self.unparsed)
        metrics.add("fluentbit_input_long_line_truncated_total", name, by=self.cut)
        metrics.add("fluentbit_input_long_line_skipped_total", name, by=self.skipped)
        if self.cut:
            metrics.add("podwitness_tail_cut_records_total", name, by=self.cut)
            metrics.add("podwitness_tail_cut_bytes_total", name, by=self.cut_bytes)
        if self.skipped:
            metrics.add("podwitness_tail_skipped_lines_total", name, by=self.skipped)
            metrics.add("podwitness_tail_skipped_bytes_total", name, by=self.skipped_bytes)

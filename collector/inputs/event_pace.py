"""When the rings are looked at: after a notification, or by the clock while much comes.

A notification is an interrupt, which the process that made the record pays for. While every look finds a lot
the kernel is told that there will be another one without being asked, and sends none.
"""

from __future__ import annotations

BUSY_BYTES = 4096  # in one look: some ten records
# So much before the promised look the kernel notifies again: longer than a record takes to be written.
MARGIN_S = 0.002
# A promise ends by itself where the collector does not keep it.
MOST_S = 1.0
# The first wait for a notification after looks by the clock. What was begun within a promise and took longer
# than MARGIN_S came without one, and so does what is behind it in the ring.
STRAGGLERS_S = 0.1


class Pace:
    """Times are seconds of the monotonic clock."""

    def __init__(self, interval_s: float) -> None:
        """`interval_s`: how long records gather."""
        self._interval_s = interval_s if 2 * MARGIN_S < interval_s <= MOST_S else 0.0
        self._is_straggling = False
        self.look_at_s: float | None = None  # None: after a notification

    def note(self, drained_bytes: int, now_s: float) -> float:
        """A look found so much. For how long the kernel need not notify: 0 if it shall."""
        was_by_clock = self.look_at_s is not None
        is_by_clock = bool(self._interval_s) and drained_bytes >= BUSY_BYTES
        self._is_straggling = was_by_clock and not is_by_clock
        self.look_at_s = now_s + self._interval_s if is_by_clock else None
        return self._interval_s - MARGIN_S if is_by_clock else 0.0

    def pass_over(self) -> None:
        """There is no look, since nobody would take what it finds."""
        self.look_at_s = None

    def wait_s(self, most_s: float, now_s: float) -> float:
        """How long to wait for the next look, where there is something else to do after `most_s`."""
        if self.look_at_s is not None:
            return min(most_s, max(0.0, self.look_at_s - now_s))
        return min(most_s, STRAGGLERS_S) if self._is_straggling else most_s

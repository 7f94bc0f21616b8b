"""`[FILTER] Name throttle`: lets so many records a while pass, as Fluent Bit's filter of that name.

Its window slides in steps of Interval: a record passes while the mean of the last
Window intervals is below Rate (plugins/filter_throttle). What is dropped is counted in
fluentbit_filter_drop_records_total.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.kinds import Kind
from collector.config.schema import boolean, integer, key, seconds
from collector.entries import Pairs
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.plugin import Filter

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Lets so many records a while pass and drops the rest, counted."


def _read_rate(written: str) -> float:
    try:
        rate = float(written)
    except ValueError:
        rate = -1.0
    if not 0 < rate < 1e12:
        raise ValueError("expected a number above 0.")
    return rate


@dataclass(frozen=True, slots=True)
class Settings:
    rate: float = key(
        "Rate", Kind("number", _read_rate), default="1", help="Records an interval that pass, on average."
    )
    window: int = key("Window", integer(1, 100_000), default="5", help="Intervals that the average is of.")
    interval_s: float = key("Interval", seconds, default="1", help="The length of an interval.")
    print_status: bool = key("Print_Status", boolean, default="Off", help="Log the state at each interval.")

    def __post_init__(self) -> None:
        if self.interval_s <= 0:
            raise ValueError("has an Interval of 0. Write a time such as 1s.")


class Window:
    """Records that passed, by interval. Times in seconds of one clock."""

    def __init__(self, size: int, interval_s: float) -> None:
        self._counts = deque([0] * size, maxlen=size)
        self._interval_s = interval_s
        self._interval: int | None = None
        self.total = 0

    def move_to(self, now_s: float) -> bool:
        """Whether another interval has begun."""
        interval = int(now_s // self._interval_s)
        if self._interval is None:
            self._interval = interval
        passed = interval - self._interval
        for _ in range(min(max(passed, 0), self._counts.maxlen or 0)):
            self.total -= self._counts[0]
            self._counts.append(0)
        self._interval = interval
        return passed > 0

    @property
    def mean(self) -> float:
        return self.total / len(self._counts)

    def add(self) -> None:
        self._counts[-1] += 1
        self.total += 1


class Throttle(SeesRecords):
    """The filter of one section. All streams that it matches share its window."""

    def __init__(
        self,
        settings: Settings,
        matches: Callable[[str], bool],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.matches = matches
        self._settings = settings
        self._say = say if settings.print_status else lambda _: None
        self._clock = clock
        self._window = Window(settings.window, settings.interval_s)

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        window = self._window
        if window.move_to(self._clock()):
            self._say(f"{window.total} records in {self._settings.window} intervals, {window.mean:.1f} each")
        if window.mean >= self._settings.rate:
            return None
        window.add()
        return record


def make(settings: Settings, context: Context) -> Filter:
    return Throttle(settings, context.plugin.matches, lambda text: context.log.info("%s", text))

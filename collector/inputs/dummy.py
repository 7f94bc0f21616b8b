"""`[INPUT] Name dummy`: the same record again and again, to try a configuration with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.kinds import Kind
from collector.config.schema import boolean, integer, key
from collector.entries import Pairs
from collector.inputs.sampling import Sampling
from collector.native.logs import json_pairs
from collector.parsers.decoders import json_object

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Makes the same record again and again."


def _read_object(written: str) -> str:
    if json_pairs(written.encode()) is None:
        raise ValueError('expected a JSON object such as {"message":"dummy"}.')
    return written


json_kind = Kind("JSON object", _read_object)


@dataclass(frozen=True, slots=True)
class Settings:
    dummy: str = key("Dummy", json_kind, default='{"message":"dummy"}', help="The record.")
    metadata: str = key("Metadata", json_kind, default="{}", help="Accepted; records carry no metadata here.")
    start_time_s: int = key(
        "Start_time_sec", integer(-1), default="-1", help="Time of the first record; -1: now, for all."
    )
    start_time_ns: int = key("Start_time_nsec", integer(-1), default="-1", help="Its nanoseconds.")
    fixed_timestamp: bool = key(
        "Fixed_Timestamp", boolean, default="Off", help="All records have the time of the first."
    )
    rate: int = key("Rate", integer(1, 1_000_000), default="1", help="Records a second.")
    interval_s: int = key("Interval_sec", integer(0), default="0", help="One record in so many seconds.")
    interval_ns: int = key("Interval_nsec", integer(0), default="0", help="And so many nanoseconds more.")
    samples: int = key("Samples", integer(0), default="0", help="Records in all; 0: no end.")
    copies: int = key("Copies", integer(1, 100_000), default="1", help="How often each record is made.")
    flush_on_startup: bool = key(
        "Flush_on_startup", boolean, default="Off", help="The first record at once, not after an interval."
    )

    @property
    def pause_s(self) -> float:
        """Between two records. As in Fluent Bit an interval counts more than a rate."""
        interval_s = self.interval_s + self.interval_ns / 1e9
        return interval_s or 1.0 / self.rate


class Dummy:
    """Samples of one section."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        found = json_object(settings.dummy.encode())
        assert found is not None  # the settings were checked
        self._pairs: Pairs = found
        self._made = 0
        self._first_ns = -1
        self._since_ns = 0

    def sample(self) -> list[tuple[int, Pairs]] | None:
        settings = self._settings
        if settings.samples and self._made >= settings.samples:
            return None
        self._made += 1
        time_ns = self._time_ns()
        return [(time_ns, self._pairs)] * settings.copies

    def _time_ns(self) -> int:
        settings, now_ns = self._settings, time.time_ns()
        is_given = settings.start_time_s >= 0 or settings.start_time_ns >= 0
        if self._first_ns < 0:
            start_ns = max(settings.start_time_s, 0) * 10**9 + max(settings.start_time_ns, 0)
            self._first_ns = start_ns if is_given else now_ns
            self._since_ns = now_ns
        if settings.fixed_timestamp:
            return self._first_ns
        return self._first_ns + now_ns - self._since_ns


def make(settings: Settings, context: InputContext) -> Input:
    sample = Dummy(settings).sample
    return Sampling(context, sample, settings.pause_s, at_once=settings.flush_on_startup)

"""Inputs that make some records every so often."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.schema import integer, key
from collector.entries import Pairs, pack_entry
from collector.inputs.made_chunks import chunks, filtered

if TYPE_CHECKING:
    from collector.context import InputContext

Sample = Callable[[], list[tuple[int, Pairs]] | None]
"""Time in nanoseconds and pairs of the records of one interval; None: there will be no more."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Keys of inputs that measure."""

    interval_s: int = key("Interval_sec", integer(0), default="1", help="Seconds between two records.")
    interval_ns: int = key("Interval_nsec", integer(0), default="0", help="And so many nanoseconds more.")

    def __post_init__(self) -> None:
        if not self.pause_s:
            raise ValueError("has an interval of 0. Write Interval_sec 1.")

    @property
    def pause_s(self) -> float:
        return self.interval_s + self.interval_ns / 1e9


class Sampling:
    """Calls `sample` every `interval_s`, the first time after one interval, or at once."""

    def __init__(
        self, context: InputContext, sample: Sample, interval_s: float, *, at_once: bool = False
    ) -> None:
        self._context = context
        self._sample = sample
        self._interval_s = interval_s
        self._at_once = at_once
        self._run_id = os.urandom(8)
        self._sequence = itertools.count()

    async def run(self, stop: asyncio.Event) -> None:
        next_s = time.monotonic() + (0.0 if self._at_once else self._interval_s)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_s - time.monotonic())):
                    await stop.wait()
            if stop.is_set() or not await self._submit():
                break
            # A late tick does not make the next one early, and those that were missed are not made up for.
            next_s = max(next_s + self._interval_s, time.monotonic())
        await stop.wait()

    async def _submit(self) -> bool:
        records = self._sample()
        if records is None:
            return False
        context = self._context
        entries = b"".join(pack_entry(time_ns, pairs) for time_ns, pairs in records)
        parts = filtered(context, context.plugin.tag, entries)
        for chunk in chunks(context.name, parts, (context.name, self._run_id, next(self._sequence))):
            await context.intake.submit(chunk)
        return True

"""`[INPUT] Name mem`: memory and swap of the machine, in the fields of Fluent Bit's in_mem."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.schema import integer, key
from collector.inputs.sampling import Sampling
from collector.plugin import Pairs

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Measures how much memory is used."


@dataclass(frozen=True, slots=True)
class Settings:
    interval_s: int = key("Interval_sec", integer(0), default="1", help="Seconds between two records.")
    interval_ns: int = key("Interval_nsec", integer(0), default="0", help="And so many nanoseconds more.")

    def __post_init__(self) -> None:
        if not self.pause_s:
            raise ValueError("has an interval of 0. Write Interval_sec 1.")

    @property
    def pause_s(self) -> float:
        return self.interval_s + self.interval_ns / 1e9


def sample() -> list[tuple[int, Pairs]]:
    """In KiB; used is all that is not free, caches too, as in Fluent Bit (plugins/in_mem/mem.c)."""
    import psutil  # only a configuration with this input needs it

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    pairs: Pairs = []
    for name, total, free in (("Mem", memory.total, memory.free), ("Swap", swap.total, swap.free)):
        pairs += [
            (f"{name}.total", total >> 10),
            (f"{name}.used", (total - free) >> 10),
            (f"{name}.free", free >> 10),
        ]
    return [(time.time_ns(), pairs)]


def make(settings: Settings, context: InputContext) -> Input:
    return Sampling(context, sample, settings.pause_s)

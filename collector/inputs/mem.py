"""`[INPUT] Name mem`: memory and swap of the machine, in the fields of Fluent Bit's in_mem."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.entries import Pairs
from collector.inputs.sampling import Interval, Sampling

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Measures how much memory is used."


@dataclass(frozen=True, slots=True)
class Settings(Interval):
    """Keys of [INPUT] Name mem."""


def sample() -> list[tuple[int, Pairs]]:
    """In KiB, as in Fluent Bit (plugins/in_mem/mem.c): `Mem.used` counts caches too, and `Mem.free` is what
    programs could have, which the kernel calls MemAvailable."""
    import psutil  # only a configuration with this input needs it

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    pairs: Pairs = []
    for name, total, unused, free in (
        ("Mem", memory.total, memory.free, memory.available),
        ("Swap", swap.total, swap.free, swap.free),
    ):
        pairs += [
            (f"{name}.total", total >> 10),
            (f"{name}.used", (total - unused) >> 10),
            (f"{name}.free", free >> 10),
        ]
    return [(time.time_ns(), pairs)]


def make(settings: Settings, context: InputContext) -> Input:
    return Sampling(context, sample, settings.pause_s)

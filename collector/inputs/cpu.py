"""`[INPUT] Name cpu`: how busy the processors are, in the fields of Fluent Bit's in_cpu."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from collector.entries import Pairs
from collector.inputs.sampling import Interval, Sampling

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Measures how busy the processors are."


@dataclass(frozen=True, slots=True)
class Settings(Interval):
    """Keys of [INPUT] Name cpu."""


class Busy(NamedTuple):
    """CPU time in seconds since boot."""

    user_s: float
    system_s: float


def read_times() -> list[Busy]:
    """Of each processor; niced time is user time, as in Fluent Bit."""
    import psutil  # only a configuration with this input needs it

    return [Busy(one.user + one.nice, one.system) for one in psutil.cpu_times(percpu=True)]


def record(before: Sequence[Busy], after: Sequence[Busy], passed_s: float) -> Pairs:
    """Percent of the time: of all processors together, then of each. Source: plugins/in_cpu/cpu.c."""
    user, system = (
        [_percent(one[part] - other[part], passed_s) for one, other in zip(after, before, strict=False)]
        for part in (0, 1)
    )
    count = max(len(user), 1)
    pairs: Pairs = [
        ("cpu_p", (sum(user) + sum(system)) / count),
        ("user_p", sum(user) / count),
        ("system_p", sum(system) / count),
    ]
    for number, (of_user, of_system) in enumerate(zip(user, system, strict=True)):
        pairs += [
            (f"cpu{number}.p_cpu", of_user + of_system),
            (f"cpu{number}.p_user", of_user),
            (f"cpu{number}.p_system", of_system),
        ]
    return pairs


def _percent(busy_s: float, passed_s: float) -> float:
    return max(0.0, min(100.0, 100.0 * busy_s / passed_s)) if passed_s > 0 else 0.0


class Cpu:
    """Differences between one look and the next."""

    def __init__(
        self, times: Callable[[], list[Busy]] = read_times, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._times = times
        self._clock = clock
        self._before = times()
        self._at_s = clock()

    def sample(self) -> list[tuple[int, Pairs]]:
        times, now_s = self._times(), self._clock()
        pairs = record(self._before, times, now_s - self._at_s)
        self._before, self._at_s = times, now_s
        return [(time.time_ns(), pairs)]


def make(settings: Settings, context: InputContext) -> Input:
    return Sampling(context, Cpu().sample, settings.pause_s)

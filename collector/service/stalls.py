"""What makes no progress, looked at from outside of whoever should make it.

A part that hangs can't report that it does. So /readyz and /livez ask for what is to be done and since when:
chunks that wait for an output, bytes of files that nobody reads, probes that nobody listens to. /readyz fails
while something has stood still for Stall_Timeout. /livez, after which a supervisor kills, fails only for what
nothing outside podwitness can be the reason of (an aggregator that is down is none), and gives it LIVE_FACTOR
times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

LIVE_FACTOR = 3


class Stall(NamedTuple):
    """Something that stands still, for however short a time. `subject` is the name of a plugin."""

    subject: str
    reason: str
    age_s: float
    is_own: bool  # nothing outside podwitness holds it up


def unready(stalls: Iterable[Stall], limit_s: float) -> Iterator[str]:
    """A line for each that makes /readyz fail."""
    return (_line(stall) for stall in stalls if stall.age_s > limit_s)


def dead(stalls: Iterable[Stall], limit_s: float) -> Iterator[str]:
    """A line for each that makes /livez fail."""
    return (_line(stall) for stall in stalls if stall.is_own and stall.age_s > LIVE_FACTOR * limit_s)


def longest(stalls: Iterable[Stall], subjects: Iterable[str]) -> dict[str, float]:
    """By subject, in seconds; 0 for what goes on."""
    found = dict.fromkeys(subjects, 0.0)
    for stall in stalls:
        found[stall.subject] = max(found.get(stall.subject, 0.0), stall.age_s)
    return found


def _line(stall: Stall) -> str:
    return f"{stall.subject}: for {stall.age_s:.0f} s: {stall.reason}"

"""Inputs that stand still because one output takes nothing, while others would: who, since when, why.

Without a spool a dead output fills its share of memory and then stops the files that go to it, for all
outputs. That looks like silence from outside, so it is said: once in the log, in health and readiness,
in a gauge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from collector.service.stalls import Stall

# An output that is slow for a moment holds others up for a moment.
PATIENCE_S = 5.0

COMPONENT = "delivery"
REMEDY = (
    "With storage.path in [SERVICE] it would wait on disk (storage.total_limit_size) and the others go on; "
    "with a Retry_Limit that is not no_limits the output gives it up, and it is told as lost."
)


class Named(Protocol):
    """What is said of an output."""

    @property
    def name(self) -> str: ...

    @property
    def complaint(self) -> str: ...


@dataclass(slots=True)
class Standstill:
    """An input has had no room since then (CLOCK_MONOTONIC), for records of `tag`."""

    tag: str
    since_s: float
    stuck: tuple[str, ...] = ()  # outputs that have no room, while others do; () while that is not so
    reason: str = ""
    is_said: bool = False


class HeldUp:
    """`note` is told of each refusal, `look` once in a while how things are now."""

    def __init__(self, log: logging.Logger, report: Callable[[str, bool, str], None]) -> None:
        self._log = log
        self._report = report
        self._standing: dict[str, Standstill] = {}

    def note(self, source: str, tag: str, now_s: float) -> None:
        """There was no room for records of an input."""
        if source not in self._standing:
            self._standing[source] = Standstill(tag, now_s)

    def look(
        self, stuck_of: Callable[[str, str], tuple[Sequence[Named], Sequence[Named]] | None], now_s: float
    ) -> None:
        """`stuck_of(source, tag)`: outputs without room, and with some; None where the input has room."""
        changed = False
        for source, one in list(self._standing.items()):
            found = stuck_of(source, one.tag)
            stuck, free = found or ((), ())
            if found is None or not (stuck and free):
                changed |= one.is_said
                del self._standing[source]
                continue
            one.stuck = tuple(output.name for output in stuck)
            one.reason = "; ".join(output.complaint for output in stuck if output.complaint) or "no answer"
            if not one.is_said and now_s >= one.since_s + PATIENCE_S:
                one.is_said = changed = True
                self._say(source, one, [output.name for output in free], now_s)
        if changed:
            self._tell_health()

    def _say(self, source: str, one: Standstill, free: Sequence[str], now_s: float) -> None:
        began = datetime.now(UTC).timestamp() - (now_s - one.since_s)
        since = datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds")
        self._log.warning(
            "%s, since %s; nor does %s get it. %s", _line(source, one), since, " or ".join(free), REMEDY
        )

    def _tell_health(self) -> None:
        said = [_line(source, one) for source, one in self._standing.items() if one.is_said]
        self._report(COMPONENT, not said, "; ".join(said))

    def sources(self) -> tuple[str, ...]:
        """Inputs that stand still because of an output."""
        return tuple(source for source, one in self._standing.items() if one.stuck)

    def stalls(self, now_s: float) -> Iterator[Stall]:
        for source, one in self._standing.items():
            if one.stuck:
                yield Stall(source, _line(source, one), now_s - one.since_s, False)


def _line(source: str, one: Standstill) -> str:
    return f"{source} stands still because {' and '.join(one.stuck)} takes nothing ({one.reason})"

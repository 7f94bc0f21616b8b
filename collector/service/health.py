"""Whether podwitness is well: Fluent Bit's rule over outputs, and what its own parts say of themselves.

Bad is: more output errors than HC_Errors_Count, or more given up retries than
HC_Retry_Failure_Count, within HC_Period (Fluent Bit's rule, strictly more), or a
part that has reported that it is not well. A node whose probes could not be
attached goes on with logs alone, and is not well: a security team has to see that
it is blind there. So /api/v1/health belongs into an alert, as /readyz into a
readiness probe; as a liveness probe it would restart what a restart does not mend
(/livez is for that, stalls.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.config.service import ServiceSettings

# Samples in one period: a failure is forgotten at most one thirtieth of the period late.
SAMPLES = 30


@dataclass(frozen=True, slots=True)
class Component:
    """What a part of the collector last said of itself."""

    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """Health at one moment; counts are those within the period."""

    ok: bool
    errors: int
    retries_failed: int
    components: dict[str, Component]
    is_within_limits: bool = True  # of errors and given up retries


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    errors: int
    retries_failed: int


class Health:
    """Fed with counters as they stand; times are of one monotonic clock, in seconds."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.configure(settings)
        self._samples: deque[_Sample] = deque([_Sample(float("-inf"), 0, 0)])
        self._components: dict[str, Component] = {}

    def configure(self, settings: ServiceSettings) -> None:
        """Other limits from now on."""
        self.errors_limit = settings.hc_errors_count
        self.retries_failed_limit = settings.hc_retry_failure_count
        self.period_s = settings.hc_period_s

    @property
    def sample_every_s(self) -> float:
        return max(self.period_s / SAMPLES, 0.05)

    def observe(self, now_s: float, errors: int, retries_failed: int) -> None:
        """Counters since start. More often than `sample_every_s` changes nothing."""
        samples = self._samples
        while len(samples) > 1 and samples[1].at_s <= now_s - self.period_s:
            samples.popleft()
        if now_s - samples[-1].at_s >= self.sample_every_s:
            samples.append(_Sample(now_s, errors, retries_failed))

    def report(self, component: str, ok: bool, reason: str) -> None:
        """A part tells how it is; its last word counts."""
        self._components[component] = Component(ok, reason)

    def status(self, now_s: float, errors: int, retries_failed: int) -> Status:
        """Health now, with the counters as they stand now."""
        self.observe(now_s, errors, retries_failed)
        before = self._samples[0]
        errors -= before.errors
        retries_failed -= before.retries_failed
        is_within = errors <= self.errors_limit and retries_failed <= self.retries_failed_limit
        ok = is_within and all(component.ok for component in self._components.values())
        return Status(ok, errors, retries_failed, dict(self._components), is_within)

"""Health: Fluent Bit's rule over a sliding period, and parts that say they are not well."""

from __future__ import annotations

from collector.config.service import ServiceSettings
from collector.service.health import SAMPLES, Component, Health


def health(**settings: float) -> Health:
    return Health(ServiceSettings(**settings))  # type: ignore[arg-type]


def test_the_limit_itself_is_still_healthy() -> None:
    subject = health()
    assert subject.status(10, errors=5, retries_failed=5).ok
    assert not subject.status(11, errors=6, retries_failed=0).ok
    assert not subject.status(12, errors=5, retries_failed=6).ok


def test_failures_are_forgotten_after_the_period() -> None:
    subject = health(hc_period_s=60)
    for second in range(0, 300, 2):
        failed = 0 if second < 100 else 9
        status = subject.status(second, errors=0, retries_failed=failed)
        assert status.ok == (not 100 <= second < 160), second
    assert status.retries_failed == 0


def test_failures_spread_wider_than_the_period_are_no_problem() -> None:
    subject = health(hc_period_s=60)
    for second in range(0, 3000, 2):
        assert subject.status(second, errors=second // 15, retries_failed=0).ok


def test_a_part_that_is_not_well_makes_health_bad_until_it_says_otherwise() -> None:
    subject = health()
    subject.report("probes", False, "exec could not be attached: EPERM")
    status = subject.status(1, 0, 0)
    assert not status.ok
    assert status.components == {"probes": Component(False, "exec could not be attached: EPERM")}
    subject.report("probes", True, "")
    assert subject.status(2, 0, 0).ok


def test_what_is_kept_does_not_grow_with_the_number_of_questions() -> None:
    subject = health(hc_period_s=60)
    for step in range(100_000):
        subject.observe(step / 100, 0, 0)
    assert len(subject._samples) <= SAMPLES + 2

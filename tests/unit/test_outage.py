"""collector.kubernetes.outage: one failure is nothing, two are said, what lasts is told to health."""

from __future__ import annotations

import logging

import pytest

from collector.delivery.retry import Backoff
from collector.kubernetes.outage import OUTAGE_S, PODS_STAY, Outage


class House:
    def __init__(self) -> None:
        self.reports: list[tuple[bool, str]] = []
        backoff = Backoff(1.0, 8.0, lambda low, high: high)
        self.outage = Outage(
            "it", PODS_STAY, backoff, lambda *what: self.reports.append(what), logging.getLogger("t")
        )

    def fail(self, now_s: float) -> float:
        return self.outage.failed("is gone", "Look.", now_s)


def test_once_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    one = House()
    one.outage.end()
    one.fail(0.0)
    assert not one.outage.is_out
    assert not caplog.records
    one.fail(1.0)
    assert one.outage.is_out
    assert [record.message for record in caplog.records] == [
        "it is gone. Pods are known as far as they were; it is asked again. Look."
    ]
    one.fail(2.0)
    assert len(caplog.records) == 1


def test_server_that_never_answered_is_out_at_once() -> None:
    one = House()
    one.fail(0.0)
    assert one.outage.is_out


def test_what_lasts_is_told_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    one = House()
    with caplog.at_level(logging.INFO):
        one.fail(0.0)
        one.fail(OUTAGE_S)
        assert one.reports == []
        one.fail(OUTAGE_S + 1)
        assert one.reports[0][0] is False
        one.outage.end()
    assert one.reports[-1] == (True, "")
    assert not one.outage.is_out
    assert caplog.records[-1].message == "it answers again"


def test_waits_grow() -> None:
    one = House()
    assert [one.fail(0.0) for _ in range(4)] == [2.0, 4.0, 8.0, 8.0]

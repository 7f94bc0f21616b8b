"""collector.inputs.event_pace: by the clock while much comes, else after notifications."""

from __future__ import annotations

import pytest

from collector.inputs.event_pace import BUSY_BYTES, MARGIN_S, STRAGGLERS_S, Pace

INTERVAL_S = 0.02


def test_little_is_told_by_notifications() -> None:
    pace = Pace(INTERVAL_S)
    assert pace.note(BUSY_BYTES - 1, 5.0) == 0
    assert pace.look_at_s is None
    assert pace.wait_s(0.7, 5.0) == 0.7


def test_while_much_comes_the_kernel_is_told_when_the_next_look_is() -> None:
    pace = Pace(INTERVAL_S)
    for now_s in (5.0, 6.0):
        assert pace.note(BUSY_BYTES, now_s) == INTERVAL_S - MARGIN_S
        assert pace.look_at_s == now_s + INTERVAL_S
        assert pace.wait_s(0.7, now_s) == pytest.approx(INTERVAL_S)
        assert pace.wait_s(0.001, now_s) == 0.001
        assert pace.wait_s(0.7, now_s + 1) == 0


def test_what_came_without_a_notification_is_looked_for_once() -> None:
    pace = Pace(INTERVAL_S)
    pace.note(BUSY_BYTES, 5.0)
    assert pace.note(0, 5.1) == 0
    assert pace.wait_s(0.7, 5.1) == STRAGGLERS_S
    assert pace.wait_s(0.01, 5.1) == 0.01
    pace.note(0, 5.2)
    assert pace.wait_s(0.7, 5.2) == 0.7


def test_a_look_that_is_passed_over_is_waited_for_no_longer() -> None:
    pace = Pace(INTERVAL_S)
    pace.note(BUSY_BYTES, 5.0)
    pace.pass_over()
    assert pace.wait_s(0.1, 5.1) == 0.1


@pytest.mark.parametrize("interval_s", [0.0, 2 * MARGIN_S, 3600.0])
def test_intervals_that_are_too_short_or_long_to_promise(interval_s: float) -> None:
    pace = Pace(interval_s)
    assert pace.note(1 << 20, 5.0) == 0
    assert pace.look_at_s is None

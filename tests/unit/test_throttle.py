"""throttle: a window that slides by a clock of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.schema import InvalidConfiguration
from collector.filters import throttle
from collector.filters.throttle import Settings, Throttle, Window
from tests.unit.filtering import SectionText


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def passed(one: Throttle, records: int) -> int:
    return sum(one.apply("t", [("n", n)], None) is not None for n in range(records))


def test_records_pass_while_the_mean_is_below_the_rate() -> None:
    clock, said = Clock(), list[str]()
    settings = Settings(rate=10, window=5, interval_s=1, print_status=True)
    one = Throttle(settings, lambda tag: True, said.append, clock)
    assert passed(one, 1000) == 50
    clock.now_s += 1
    assert passed(one, 1000) == 0
    clock.now_s += 4  # the burst has left the window
    assert passed(one, 1000) == 50
    assert said[-1] == "0 records in 5 intervals, 0.0 each"


def test_a_steady_stream_below_the_rate_is_never_touched() -> None:
    clock = Clock()
    one = Throttle(Settings(rate=10, window=5), lambda tag: True, print, clock)
    for _ in range(100):
        assert passed(one, 9) == 9
        clock.now_s += 1


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 9)), max_size=40), st.integers(1, 6))
def test_the_total_is_that_of_the_window(steps: list[tuple[float, int]], size: int) -> None:
    window, now_s = Window(size, 1.0), 0.0
    added: list[tuple[int, int]] = []
    for passed_s, records in steps:
        now_s += passed_s
        window.move_to(now_s)
        for _ in range(records):
            window.add()
        added.append((int(now_s), records))
        assert window.total == sum(n for interval, n in added if interval > int(now_s) - size)


def test_a_clock_that_goes_back_changes_nothing() -> None:
    window = Window(3, 1.0)
    window.move_to(10)
    window.add()
    window.move_to(2)
    assert window.total == 1


@pytest.mark.parametrize("text", ["Rate 0", "Rate many", "Interval 0s", "Window 0"])
def test_settings_that_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidConfiguration):
        SectionText(tmp_path, text).settings(throttle)

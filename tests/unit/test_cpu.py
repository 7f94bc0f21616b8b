"""cpu: percent of the time between two looks, of all processors and of each."""

from __future__ import annotations

import os

import pytest

from collector.inputs.cpu import Busy, Cpu, Settings, read_times, record


def test_percent_of_all_and_of_each() -> None:
    before = [Busy(10, 5), Busy(20, 5)]
    after = [Busy(10.5, 5.25), Busy(20, 5)]
    assert record(before, after, 1.0) == [
        ("cpu_p", 37.5),
        ("user_p", 25.0),
        ("system_p", 12.5),
        ("cpu0.p_cpu", 75.0),
        ("cpu0.p_user", 50.0),
        ("cpu0.p_system", 25.0),
        ("cpu1.p_cpu", 0.0),
        ("cpu1.p_user", 0.0),
        ("cpu1.p_system", 0.0),
    ]


def test_a_processor_that_came_or_went_and_a_clock_that_stood_still() -> None:
    assert dict(record([Busy(1, 1)], [Busy(1, 1), Busy(9, 9)], 1.0))["cpu_p"] == 0
    assert dict(record([Busy(1, 1)], [Busy(2, 1)], 0.0))["cpu_p"] == 0


def test_differences_of_this_machine() -> None:
    one = Cpu()
    ((_, pairs),) = one.sample()
    found = dict(pairs)
    assert f"cpu{len(read_times()) - 1}.p_cpu" in found
    assert all(0 <= value <= 200 for value in found.values())
    assert len(read_times()) == os.cpu_count()


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="has an interval of 0"):
        Settings(interval_s=0)

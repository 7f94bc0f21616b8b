"""dummy: how many records, when, with which time."""

from __future__ import annotations

import time

import pytest

from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section
from collector.inputs.dummy import Dummy, Settings


def settings(**keys: str) -> Settings:
    entries = tuple(Entry(name, value, "test.conf", 2) for name, value in keys.items())
    return load(Settings, Section("INPUT", "test.conf", 1, entries))


def test_by_default_a_record_a_second_of_now() -> None:
    asked = settings()
    assert asked.pause_s == 1.0
    before_ns = time.time_ns()
    ((time_ns, pairs),) = Dummy(asked).sample() or []
    assert pairs == [("message", "dummy")]
    assert before_ns <= time_ns <= time.time_ns()


def test_pauses() -> None:
    assert settings(Rate="100").pause_s == 0.01
    assert settings(Rate="100", Interval_sec="2", Interval_nsec="500000000").pause_s == 2.5


def test_samples_and_copies() -> None:
    one = Dummy(settings(Samples="2", Copies="3", Dummy='{"a": {"b": [1]}, "a": 2}'))
    found = [one.sample() for _ in range(3)]
    assert [None if records is None else len(records) for records in found] == [3, 3, None]
    assert found[0] is not None
    assert found[0][0][1] == [("a", {"b": [1]}), ("a", 2)]


def test_times_of_its_own() -> None:
    fixed = Dummy(settings(Start_time_sec="5", Start_time_nsec="7", Fixed_Timestamp="On"))
    assert [time_ns for _ in range(2) for time_ns, _ in fixed.sample() or []] == [5_000_000_007] * 2
    moving = Dummy(settings(Start_time_sec="5"))
    first, second = ((moving.sample() or [])[0][0] for _ in range(2))
    assert first == 5 * 10**9
    assert first < second < first + 10**9


@pytest.mark.parametrize("written", ["[1]", "text", '{"a": 1'])
def test_what_is_no_object_is_refused(written: str) -> None:
    with pytest.raises(InvalidConfiguration, match="expected a JSON object"):
        settings(Dummy=written)

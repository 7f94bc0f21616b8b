"""Waiting times and limits, as Fluent Bit documents them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.delivery.retry import UNLIMITED, Backoff, may_retry


def test_bounds_grow_from_base_to_cap() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    backoff = Backoff(5, 2000, uniform)
    for failures in (1, 2, 3, 8, 9, 10, 1_000_000):
        backoff.wait_s(failures)
    assert asked == [(5, 10), (5, 20), (5, 40), (5, 1280), (5, 2000), (5, 2000), (5, 2000)]


@given(st.floats(0.001, 100), st.floats(0.001, 5000), st.integers(1, 10**9))
def test_always_within_bounds(base_s: float, cap_s: float, failures: int) -> None:
    wait_s = Backoff(base_s, cap_s).wait_s(failures)
    assert min(base_s, cap_s) <= wait_s <= cap_s * 1.000001


@pytest.mark.parametrize(
    ("limit", "tries"), [(0, 1), (1, 2), (3, 4), (UNLIMITED, 100)], ids=["no_retries", "1", "3", "no_limits"]
)
def test_a_limit_of_n_retries_allows_n_plus_one_tries(limit: int | None, tries: int) -> None:
    failures = 1
    while failures < 100 and may_retry(failures, limit):
        failures += 1
    assert failures == tries

"""tests.polling: what is said of what did not come."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.polling import throughout, until, until_so


def test_the_first_true_answer_is_given_back() -> None:
    numbers = itertools.count()
    assert until(lambda: next(numbers) // 3, every_s=0) == 1
    assert asyncio.run(until_so(lambda: next(numbers) // 6, every_s=0)) == 1


def test_a_failure_names_what_was_awaited_and_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"^not in 0 s: a snowflake; the last answer: \[\]$"):
        until(list, "a snowflake", deadline_s=0)
    with pytest.raises(AssertionError, match=r'until_so\(lambda: "".*the last answer: \'\''):
        asyncio.run(until_so(lambda: "", deadline_s=0))


def test_what_holds_has_to_hold_all_the_time() -> None:
    throughout(0.05, lambda: True)
    numbers = itertools.count()
    with pytest.raises(AssertionError, match=r"^no longer: throughout\(10, lambda: next\(numbers\) < 2\)"):
        throughout(10, lambda: next(numbers) < 2)

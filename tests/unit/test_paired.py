"""tests.bench.paired: how sure a difference is."""

from __future__ import annotations

import random

from tests.bench.paired import difference, measure_pair, undisturbed


def test_of_six_the_whole_range_and_of_more_a_part_of_it() -> None:
    assert difference([3, 1, 2, 6, 5, 4]) == (3.5, 1, 6)  # all beside the middle: 2 of 64 times
    assert difference(range(24)) == (11.5, 6, 17)


def test_the_middle_is_within_as_often_as_it_says() -> None:
    chance = random.Random(1)
    within = 0
    for _ in range(2000):
        found = difference([chance.expovariate(1) for _ in range(30)])
        within += found.least < 0.693 < found.most  # the median of that distribution
    assert 0.95 <= within / 2000 < 0.975


def test_a_pair_is_what_undisturbed_rounds_took() -> None:
    """Half of the rounds are disturbed, and all become dearer with time."""
    times = iter((10.0, 12.0, 13.0, 11.0))

    def rounds() -> list[float]:
        least = next(times)
        return [least, least + 50, least, least + 70]

    pair = measure_pair(rounds, rounds)
    assert pair.without == undisturbed([10, 10, 60, 80, 11, 11, 61, 81])
    assert pair.added == 2

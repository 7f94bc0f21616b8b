"""What something costs, by many short rounds with and without it: the middle, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import NamedTuple

# In as many measurements of a hundred the true middle would lie between `least` and `most`.
SURE = 0.95


class Difference(NamedTuple):
    middle: float
    least: float
    most: float


def difference(found: Sequence[float]) -> Difference:
    """Between which two of them, in order, the middle of all that could be measured lies: by how often a coin
    shows heads, whatever their distribution is. Needs six of them."""
    ordered = sorted(found)
    number = len(ordered)
    outside, cut = 0.0, 0
    while (more := outside + math.comb(number, cut) / 2 ** (number - 1)) <= 1 - SURE:
        outside, cut = more, cut + 1
    return Difference(median(ordered), ordered[cut - 1], ordered[number - cut])


def undisturbed(rounds: Sequence[float]) -> float:
    """What others do on the machine makes rounds dearer, never cheaper: the lower quarter."""
    return quantiles(rounds, n=4)[0]


class Pair(NamedTuple):
    without: float
    added: float


Rounds = Callable[[], list[float]]


def measure_pair(without: Rounds, watched: Rounds) -> Pair:
    """Without, with, with, without: what changes steadily meanwhile is in neither."""
    before, first, second, after = without(), watched(), watched(), without()
    least = undisturbed(before + after)
    return Pair(least, undisturbed(first + second) - least)

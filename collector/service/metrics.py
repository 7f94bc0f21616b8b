"""Every metric of podwitness, in one table; nothing is counted elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `name` is the Prometheus name without a `_total` suffix of its own making.

    `bounds` are those of a histogram, ascending; beyond the last is one bucket more.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    remedy: str = ""  # what to do when it is not what it should be
    bounds: tuple[float, ...] = ()


@dataclass(slots=True)
class Histogram:
    """`counts` are of each bucket by itself, `total` is the sum of what was observed."""

    counts: list[int]
    total: float = 0.0

    @property
    def cumulative(self) -> list[int]:
        """As Prometheus has them: what is at most the bound."""
        return [sum(self.counts[: place + 1]) for place in range(len(self.counts))]


class Metrics:
    """The values. Cheap enough for every batch, not meant for every record."""

    def __init__(self, table: tuple[Metric, ...]) -> None:
        self._table = {metric.name: metric for metric in table}
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}
        self._histograms: dict[tuple[str, tuple[str, ...]], Histogram] = {}

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Raises KeyError for a name that the table does not have."""
        if len(labels) != len(self._table[name].labels):
            raise KeyError(f"{name} takes labels {self._table[name].labels}, got {labels}")
        self._values[name, labels] = self._values.get((name, labels), 0) + by

    def set(self, name: str, *labels: str, to: float) -> None:
        """The same for a gauge."""
        if len(labels) != len(self._table[name].labels):
            raise KeyError(f"{name} takes labels {self._table[name].labels}, got {labels}")
        self._values[name, labels] = to

    def forget(self, name: str, *labels: str) -> None:
        """What a gauge was of is no more."""
        self._values.pop((name, labels), None)

    def observe(self, name: str, *labels: str, value: float) -> None:
        """The same for a histogram."""
        row = self._table[name]
        if len(labels) != len(row.labels):
            raise KeyError(f"{name} takes labels {row.labels}, got {labels}")
        found = self._histograms.get((name, labels))
        if found is None:
            found = self._histograms[name, labels] = Histogram([0] * (len(row.bounds) + 1))
        found.counts[bisect_left(row.bounds, value)] += 1
        found.total += value

    def value(self, name: str, *labels: str) -> float:
        return self._values.get((name, labels), 0)

    def total(self, name: str) -> float:
        return sum(value for (metric, _), value in self._values.items() if metric == name)

    def samples(self) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
        for (name, labels), value in list(self._values.items()):
            yield self._table[name], labels, value

    def histograms(self) -> Iterator[tuple[Metric, tuple[str, ...], Histogram]]:
        for (name, labels), found in list(self._histograms.items()):
            yield self._table[name], labels, found

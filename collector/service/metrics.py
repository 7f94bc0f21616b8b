"""Every metric of podwitness, in one table; nothing is counted elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `name` is the Prometheus name without a `_total` suffix of its own making."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    meaning: str
    remedy: str = ""  # what to do when it is not what it should be


class Metrics:
    """The values. Cheap enough for every batch, not meant for every record."""

    def __init__(self, table: tuple[Metric, ...]) -> None:
        self._table = {metric.name: metric for metric in table}
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}

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

    def value(self, name: str, *labels: str) -> float:
        return self._values.get((name, labels), 0)

    def total(self, name: str) -> float:
        return sum(value for (metric, _), value in self._values.items() if metric == name)

    def samples(self) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
        for (name, labels), value in list(self._values.items()):
            yield self._table[name], labels, value

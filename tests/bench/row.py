"""One line of the table that `make bench` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of ours beside the limit of the same machine, measured in the same run.

    Both values are in `unit`. The limit is what the work costs at least (reading the same bytes, scanning for
    newlines, sending ready-made bytes); where a figure has none, `limit_name` is empty and `limit_value` 0.
    `between`: the least and the most that the value may be, where that is known.
    """

    name: str
    value: float
    unit: str
    limit_name: str = ""
    limit_value: float = 0.0
    between: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Our value as a part of the limit; None when the figure has no limit."""
        return self.value / self.limit_value if self.limit_value else None

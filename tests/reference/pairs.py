"""A map that keeps the order and the doubles of its keys."""

from __future__ import annotations

from typing import Any, NamedTuple


class Object(NamedTuple):
    pairs: list[tuple[str, Any]]

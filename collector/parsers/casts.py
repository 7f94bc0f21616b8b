"""`Types`: values of a text parser as numbers and truth values, as src/flb_parser.c makes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_INTEGER = re.compile(r"\s*([+-]?\d{1,30})")
_HEX = re.compile(r"\s*(?:0[xX])?([0-9a-fA-F]{1,32})")
_FLOAT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?|[+-]?(?:inf|nan))", re.IGNORECASE)
_INT64 = (-(2**63), 2**63 - 1)


def _integer(text: str) -> int:
    """As atoll(3): digits at the beginning, 0 without any, the nearest end where there are too many."""
    found = _INTEGER.match(text)
    value = int(found[1]) if found else 0
    return min(max(value, _INT64[0]), _INT64[1])


def _hex(text: str) -> int:
    found = _HEX.match(text)
    return min(int(found[1], 16), 2**64 - 1) if found else 0


def _float(text: str) -> float:
    found = _FLOAT.match(text)
    return float(found[1]) if found else 0.0


def _boolean(text: str) -> Any:
    """What is neither stays a text."""
    lowered = text[:5].lower()
    if lowered.startswith("true"):
        return True
    return False if lowered == "false" else text


CASTS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer,
    "int": _integer,
    "hex": _hex,
    "float": _float,
    "bool": _boolean,
}


def read_types(written: str) -> dict[str, Callable[[str], Any]]:
    """`key:type key:type`. Raises ValueError."""
    found: dict[str, Callable[[str], Any]] = {}
    for part in written.split():
        key, colon, kind = part.rpartition(":")
        if not colon or not key:
            raise ValueError(f"expected key:type pairs, not {part!r}.")
        if kind.lower() not in CASTS:
            raise ValueError(f"expected one of the types {', '.join(CASTS)} for {key}, not {kind!r}.")
        found[key] = CASTS[kind.lower()]
    return found

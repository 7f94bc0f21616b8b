"""The types of configuration values: how a text is read, and how a value is shown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from collector.config.onigmo import Pattern, compile_onigmo

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Kind(Generic[Value]):
    """A type of value: how a text is read and how the type is called in the reference.

    `read` raises ValueError with a sentence that says what is expected.
    """

    name: str
    read: Callable[[str], Value]
    repeated: bool = False  # the key may be written several times; the value is a tuple
    flattened: bool = False  # of a repeated kind: each entry is a tuple, and the value is one of them all
    show: Callable[[Any], str] = str


def shown(written: str) -> str:
    """A value in a message: as it was written, in quotes, control characters escaped."""
    return "'" + "".join(one if one.isprintable() else ascii(one)[1:-1] for one in written) + "'"


def _whole(minimum: int | None, maximum: int | None) -> tuple[str, Callable[[str], int]]:
    if minimum is not None and maximum is not None:
        expected = f"a whole number from {minimum} to {maximum}"
    elif minimum is not None:
        expected = f"a whole number, {minimum} or more"
    else:
        expected = "a whole number"
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum

    def read(written: str) -> int:
        number = int(written) if re.fullmatch(r"[+-]?[0-9]{1,19}", written) else None
        if number is None or not low <= number <= high:
            raise ValueError(f"expected {expected}.")
        return number

    return expected.removeprefix("a "), read


class Integer(Kind[int]):
    """A whole number; called, one between bounds: `integer(1, 65535)`."""

    __slots__ = ()

    def __call__(self, minimum: int | None = None, maximum: int | None = None) -> Kind[int]:
        return Kind(*_whole(minimum, maximum))


# As Fluent Bit's flb_utils_size_to_bytes: k, M and G are powers of 1000, Ki, Mi and Gi of 1024.
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmg])(i?)b?|b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


def _read_size_bytes(written: str, power: int = 1000) -> int:
    found = _SIZE.fullmatch(written)
    if found is None:
        raise ValueError("expected a size such as 32k, 50MB or 1G.")
    number, unit, binary = found.groups(default="")
    return int(float(number) * (1024 if binary else power) ** _POWERS[unit.lower()])


_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _read_seconds(written: str) -> float:
    found = _TIME.fullmatch(written)
    if found is None:
        raise ValueError(
            "expected a time such as 5, 0.5, 20ms, 5s, 1m, 1h or 1d (a plain number is seconds)."
        )
    number, unit = found.groups(default="")
    return float(number) * _SECONDS[unit.lower()]


_TRUE = frozenset(("on", "true", "yes"))
_FALSE = frozenset(("off", "false", "no"))


def _read_boolean(written: str) -> bool:
    lowered = written.lower()
    if lowered not in _TRUE and lowered not in _FALSE:
        raise ValueError("expected On or Off (or true, false, yes, no).")
    return lowered in _TRUE


def choice(*values: str, instead: Mapping[str, str] | None = None) -> Kind[str]:
    """One of these words, compared without case. `instead`: what to do without words of Fluent Bit."""
    by_lower = {value.lower(): value for value in values}

    def read(written: str) -> str:
        if written.lower() not in by_lower:
            advice = (instead or {}).get(written.lower(), "")
            raise ValueError(f"expected one of {', '.join(values)}. {advice}".rstrip())
        return by_lower[written.lower()]

    return Kind(f"one of {', '.join(values)}", read)


def _split_commas(written: str) -> tuple[str, ...]:
    return tuple(stripped for item in written.split(",") if (stripped := item.strip()))


def split_quoted(written: str) -> tuple[str, ...]:
    """Words by spaces; one in single or double quotes may hold spaces, `\\` before that quote or itself.

    Raises ValueError for a quote that is not closed, or closed within a word.
    """
    found: list[str] = []
    end = 0
    for word in _WORD.finditer(written):
        if word.start() != end:
            break
        end = word.end()
        if word["bare"] is not None:
            found.append(word["bare"])
        else:
            quote, quoted = ('"', word["double"]) if word["single"] is None else ("'", word["single"])
            found.append(re.sub(rf"\\([{quote}\\])", r"\1", quoted))
    if written[end:].strip():
        raise ValueError("expected every quote to be closed, with a space after it.")
    return tuple(found)


_WORD = re.compile(
    r"""\s* (?: "(?P<double>(?:[^"\\]|\\.)*)"
             | '(?P<single>(?:[^'\\]|\\.)*)'
             | (?P<bare>[^\s"']\S*) ) (?=\s|$)""",
    re.VERBOSE | re.DOTALL,
)


def _show_items(values: Any) -> str:
    return ", ".join(str(value) for value in values)


def repeated(kind: Kind[Any]) -> Kind[Any]:
    """A key that may be written several times; the field is a tuple."""
    return Kind(kind.name, kind.read, repeated=True, show=lambda values: ", ".join(map(kind.show, values)))


def repeated_list(kind: Kind[Any]) -> Kind[Any]:
    """A key of several values that may be written several times too; the field is one tuple."""
    return Kind(kind.name, kind.read, repeated=True, flattened=True, show=kind.show)


integer = Integer(*_whole(None, None))
text: Kind[str] = Kind("text", str, show=lambda value: "" if value is None else str(value))
size_bytes: Kind[int] = Kind("size", _read_size_bytes)
# As flb_utils_size_to_binary_bytes: k, M and G are powers of 1024 too.
binary_bytes: Kind[int] = Kind("size", lambda written: _read_size_bytes(written, 1024))
seconds: Kind[float] = Kind("time", _read_seconds, show=lambda value: "" if value is None else f"{value:g}")
boolean: Kind[bool] = Kind("On or Off", _read_boolean, show=lambda value: "On" if value else "Off")
words: Kind[tuple[str, ...]] = Kind(
    "words", lambda written: tuple(written.split()), show=lambda values: " ".join(values)
)
commas: Kind[tuple[str, ...]] = Kind("list, by commas", _split_commas, show=_show_items)


def compile_glob(written: str) -> re.Pattern[str]:
    """A tag pattern, where `*` stands for any characters, none included."""
    return re.compile(".*".join(re.escape(part) for part in written.split("*")), re.DOTALL)


glob: Kind[re.Pattern[str]] = Kind("pattern with *", compile_glob, show=lambda value: "")
pattern: Kind[Pattern] = Kind("regular expression", compile_onigmo, show=lambda value: "")


def _read_pair(written: str) -> tuple[str, str]:
    found = split_quoted(written)
    if len(found) != 2:
        raise ValueError('expected a key and a value, in quotes where there are spaces: key "a value".')
    return found[0], found[1]


pair = Kind("key and value", _read_pair)

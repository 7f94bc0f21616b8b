"""Times as Time_Format writes them: strptime(3) in English, with Fluent Bit's `%L` for fractions of a second.

The C library's strptime depends on the locale and knows no fractions. Source of
what is accepted: src/flb_parser.c and src/flb_strptime.c of Fluent Bit. What follows
in the text behind the format is passed over, as there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from collector.parsers.zones import ZONE, zone_offset_s

MAX_TEXT_BYTES = 63  # Fluent Bit's buffer; a longer text is no time
_NS_PER_S = 1_000_000_000
_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_SHORTHAND = {
    "c": "%a %b %e %H:%M:%S %Y",
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "R": "%H:%M",
    "r": "%I:%M:%S %p",
    "T": "%H:%M:%S",
    "X": "%H:%M:%S",
    "x": "%m/%d/%y",
    "h": "%b",
}
# Conversion -> field, most digits, least and largest value.
_NUMBERS = {
    "Y": ("year", 4, 0, 9999),
    "C": ("century", 2, 0, 99),
    "y": ("short_year", 2, 0, 99),
    "m": ("month", 2, 1, 12),
    "d": ("day", 2, 1, 31),
    "e": ("day", 2, 1, 31),
    "H": ("hour", 2, 0, 23),
    "k": ("hour", 2, 0, 23),
    "I": ("hour_12", 2, 1, 12),
    "l": ("hour_12", 2, 1, 12),
    "M": ("minute", 2, 0, 59),
    "S": ("second", 2, 0, 60),
    "j": ("day_of_year", 3, 1, 366),
    "u": ("", 1, 1, 7),
    "w": ("", 1, 0, 6),
    "U": ("", 2, 0, 53),
    "W": ("", 2, 0, 53),
    "V": ("", 2, 0, 53),
    "g": ("", 2, 0, 99),
    "G": ("", 4, 0, 9999),
}

Fields = dict[str, int]
Step = Callable[[str, int, Fields], int]
"""Reads at a place, notes what it found, gives the place behind it; -1: the text does not fit."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """`offset_s` and `is_local` count where the text has no zone of its own."""

    written: str
    is_strict: bool = True
    offset_s: int = 0
    is_local: bool = False
    _steps: tuple[Step, ...] = field(default=(), repr=False, compare=False)
    _has_year: bool = field(default=True, repr=False, compare=False)

    @classmethod
    def compile(
        cls, written: str, *, is_strict: bool = True, offset_s: int = 0, is_local: bool = False
    ) -> TimeFormat:
        """Raises ValueError with what is wrong with the format."""
        steps = tuple(_steps(written))
        has_year = bool(re.search(r"%[EO]?[YyCGgsFDcx]", written))
        return cls(written, is_strict, offset_s, is_local, steps, has_year)

    def read(self, text: str, now_ns: int) -> int | None:
        """Nanoseconds since the epoch; None where the text is no such time.

        Not strict: what fits at the beginning counts. A text without a year is of
        this one, or of the last where it would lie more than a day ahead.
        """
        if len(text) > MAX_TEXT_BYTES:
            return None
        found: Fields = {}
        at = 0
        for step in self._steps:
            at = step(text, at, found)
            if at < 0:
                if self.is_strict:
                    return None
                break
        return self._time_ns(found, now_ns)

    def _time_ns(self, found: Fields, now_ns: int) -> int | None:
        fraction_ns = found.get("fraction_ns", 0)
        if "epoch" in found:
            return found["epoch"] * _NS_PER_S + fraction_ns
        try:
            seconds = self._seconds(found, now_ns)
        except (ValueError, OverflowError, OSError):  # the 31st of February, or before what mktime knows
            return None
        return seconds * _NS_PER_S + fraction_ns

    def _seconds(self, found: Fields, now_ns: int) -> int:
        today = time.gmtime(now_ns // _NS_PER_S)
        if self._has_year:
            return self._of_year(_year(found), found, 1, 1)
        seconds = self._of_year(today.tm_year, found, today.tm_mon, today.tm_mday)
        if seconds > now_ns // _NS_PER_S + _DAY_S:
            return self._of_year(today.tm_year - 1, found, today.tm_mon, today.tm_mday)
        return seconds

    def _of_year(self, year: int, found: Fields, month: int, day: int) -> int:
        month, day = found.get("month", month), found.get("day", day)
        if "day_of_year" in found:
            month, day = 1, 1
        # Raises ValueError for a day that there is not. The module calendar brings another, of locales.
        days = date(year, month, day).toordinal() - _EPOCH_DAY
        hour, minute, second = _hour(found), found.get("minute", 0), found.get("second", 0)
        utc_s = days * _DAY_S + 3600 * hour + 60 * minute + second
        later_s = (found.get("day_of_year", 1) - 1) * _DAY_S
        if "zone_s" in found:
            return utc_s + later_s - found["zone_s"]
        if self.is_local:
            return int(time.mktime((year, month, day, hour, minute, second, 0, 1, -1))) + later_s
        return utc_s + later_s - self.offset_s


def _year(found: Fields) -> int:
    if "year" in found:
        return found["year"]
    if "century" in found:
        return found["century"] * 100 + found.get("short_year", 0)
    short = found.get("short_year", 70)
    return short + (1900 if short >= 69 else 2000)


def _hour(found: Fields) -> int:
    if "hour_12" in found:
        return found["hour_12"] % 12 + 12 * found.get("afternoon", 0)
    return found.get("hour", 0)


def _steps(written: str) -> list[Step]:
    steps: list[Step] = []
    at = 0
    while at < len(written):
        if written[at].isspace():
            steps.append(_spaces)
            at += 1
        elif written[at] != "%":
            steps.append(_letter(written[at]))
            at += 1
        else:
            # E and O ask for another calendar or other digits, of which English has none.
            at += 2 if written[at + 1 : at + 2] in ("E", "O") else 1
            steps += _conversion(written[at : at + 1], written)
            at += 1
    return steps


def _conversion(letter: str, written: str) -> list[Step]:
    if letter in _SHORTHAND:
        return _steps(_SHORTHAND[letter])
    if letter in _NUMBERS:
        return [_number(*_NUMBERS[letter])]
    if letter in _CONVERSIONS:
        return [_CONVERSIONS[letter]]
    raise ValueError(
        f"has %{letter} in {written!r}, which is no part of a time. Write %% for a percent sign."
    )


def _spaces(text: str, at: int, _: Fields) -> int:
    """White space in a format is any amount of it, none too, as in strptime(3)."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _letter(letter: str) -> Step:
    def step(text: str, at: int, _: Fields) -> int:
        return at + 1 if text[at : at + 1] == letter else -1

    return step


def _number(name: str, digits: int, least: int, largest: int) -> Step:
    def step(text: str, at: int, found: Fields) -> int:
        end = at
        while end < len(text) and end < at + digits and "0" <= text[end] <= "9":
            # 9 is a whole hour where 95 would be none.
            if end > at and int(text[at : end + 1]) > largest:
                break
            end += 1
        if end == at or not least <= int(text[at:end]) <= largest:
            return -1
        if name:
            found[name] = int(text[at:end])
        return end

    return step


def _names(name: str, words: tuple[str, ...], first: int) -> Step:
    """Whole or by its first three letters."""

    def step(text: str, at: int, found: Fields) -> int:
        lowered = text[at : at + 9].lower()
        for number, word in enumerate(words, first):
            for written in (word, word[:3]):
                if lowered.startswith(written):
                    found[name] = number
                    return at + len(written)
        return -1

    return step


def _afternoon(text: str, at: int, found: Fields) -> int:
    word = text[at : at + 2].lower()
    if word not in ("am", "pm"):
        return -1
    found["afternoon"] = int(word == "pm")
    return at + 2


def _zone(text: str, at: int, found: Fields) -> int:
    at = _spaces(text, at, found)
    matched = ZONE.match(text, at)
    offset_s = zone_offset_s(matched[0]) if matched else None
    if matched is None or offset_s is None:
        return -1
    found["zone_s"] = offset_s
    return matched.end()


def _epoch(text: str, at: int, found: Fields) -> int:
    matched = re.compile(r"\d{1,18}").match(text, at)
    if matched is None:
        return -1
    found["epoch"] = int(matched[0])
    return matched.end()


def _fraction(text: str, at: int, found: Fields) -> int:
    """Up to nine digits count; more are not for us, and stop the rest of the format as in Fluent Bit."""
    matched = re.compile(r"\d{1,9}").match(text, at)
    if matched is None:
        return -1
    found["fraction_ns"] = int(matched[0].ljust(9, "0"))
    return matched.end()


_CONVERSIONS: dict[str, Step] = {
    "a": _names("weekday", _DAYS, 0),
    "A": _names("weekday", _DAYS, 0),
    "b": _names("month", _MONTHS, 1),
    "B": _names("month", _MONTHS, 1),
    "L": _fraction,
    "n": _spaces,
    "p": _afternoon,
    "s": _epoch,
    "t": _spaces,
    "z": _zone,
    "Z": _zone,
    "%": _letter("%"),
}

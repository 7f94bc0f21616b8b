"""A `[PARSER]` at work: a text becomes pairs and, where it holds one, a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from collector.config.onigmo import Pattern
from collector.entries import Pairs
from collector.parsers.decoders import decode, json_object
from collector.parsers.pairs import logfmt, ltsv
from collector.parsers.rules import Rule
from collector.parsers.times import TimeFormat

if TYPE_CHECKING:
    from collector.config.parsers import Parser

Cast = Callable[[str], Any]


class Parsed(NamedTuple):
    """`time_ns` None: the text holds no time that could be read."""

    pairs: Pairs
    time_ns: int | None


@dataclass(frozen=True, slots=True)
class TimeField:
    """`format` None: the field is not looked at."""

    key: str
    format: TimeFormat | None
    is_kept: bool

    def concerns(self, key: Any) -> bool:
        return self.format is not None and key == self.key

    def read(self, text: str, now_ns: int) -> int | None:
        return self.format.read(text, now_ns) if self.format is not None else None


class LineParser:
    """What a parser of a configuration does to one text."""

    def __init__(
        self,
        split: Callable[[bytes], Pairs | None],
        time: TimeField,
        casts: dict[str, Cast],
        rules: tuple[Rule, ...],
        *,
        needs_time: bool = False,
    ) -> None:
        """`split` gives texts (or what needs no cast). `needs_time`: without a time the text fails."""
        self._split = split
        self._time = time
        self._casts = casts
        self._rules = rules
        self._needs_time = needs_time

    def parse(self, text: bytes, now_ns: int) -> Parsed | None:
        """None: the text is not of the parser's form."""
        found = self._split(text)
        if found is None:
            return None
        pairs: Pairs = []
        time_ns: int | None = None
        for key, value in found:
            if self._time.concerns(key) and isinstance(value, str) and value:
                time_ns = self._time.read(value, now_ns)
                if time_ns is None and self._needs_time:
                    return None
                if time_ns is None or not self._time.is_kept:
                    continue
            cast = self._casts.get(key)
            pairs.append((key, cast(value) if cast and isinstance(value, str) else value))
        return Parsed(decode(pairs, self._rules) if self._rules else pairs, time_ns)


class JsonParser:
    """The same for Format json, where decoders come first and a time that can't be read stays."""

    def __init__(self, time: TimeField, rules: tuple[Rule, ...]) -> None:
        self._time = time
        self._rules = rules

    def parse(self, text: bytes, now_ns: int) -> Parsed | None:
        found = json_object(text)
        if found is None:
            return None
        pairs = decode(found, self._rules) if self._rules else found
        place = next((at for at, (key, _) in enumerate(pairs) if self._time.concerns(key)), None)
        if place is None or not isinstance(pairs[place][1], str):
            return Parsed(pairs, None)
        time_ns = self._time.read(pairs[place][1], now_ns)
        if time_ns is not None and not self._time.is_kept:
            del pairs[place]
        return Parsed(pairs, time_ns)


TextParser = LineParser | JsonParser


def text_parser(parser: Parser) -> TextParser:
    """The parser of a section, which has been checked."""
    time = TimeField(parser.time_key or "time", parser.time, parser.time_keep)
    if parser.format == "json":
        return JsonParser(time, parser.rules)
    is_regex = parser.format == "regex"
    return LineParser(_splitter(parser), time, parser.casts, parser.rules, needs_time=not is_regex)


def _splitter(parser: Parser) -> Callable[[bytes], Pairs | None]:
    if parser.pattern is not None:
        return _by_pattern(parser.pattern, skips_empty=parser.skip_empty_values)
    if parser.format == "ltsv":
        return lambda line: _texts(ltsv(line)) or None
    no_bare_keys, is_raw = parser.logfmt_no_bare_keys, bool(parser.types)
    return lambda line: _texts(logfmt(line, no_bare_keys=no_bare_keys, is_raw=is_raw) or []) or None


def _by_pattern(pattern: Pattern, *, skips_empty: bool) -> Callable[[bytes], Pairs | None]:
    def split(line: bytes) -> Pairs | None:
        found = pattern.fields(line)
        # Groups that took part and are empty leave a record without pairs, as in Fluent Bit.
        if found is None or all(value is None for _, value in found):
            return None
        return [(name, _text(value or b"")) for name, value in found if value or not skips_empty]

    return split


def _texts(found: list[tuple[bytes, bytes | bool]]) -> Pairs:
    return [(_text(key), _text(value) if isinstance(value, bytes) else value) for key, value in found]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")

"""`Multiline On`, Fluent Bit's older way: a parser knows the first line of a record, others go on with it.

As its plugins/in_tail/tail_multiline.c: the first line is taken apart by Parser_Firstline. Of the lines
behind it, one that a Parser_N knows adds the fields that this finds; the others go on with the text of the
last field. A line that follows nothing, and is no first line, stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from collector.accessor import names
from collector.config.parsers import Parsers, find
from collector.entries import Pairs
from collector.inputs.tail_parser import taken_apart
from collector.multiline.parsers import MultilineParser
from collector.parsers.line import Parsed, TextParser, text_parser
from collector.plan import Step as PlanStep
from collector.record import Record


class FirstLines:
    """Records of several lines, taken apart by line: a step behind the log core and the joining."""

    def __init__(self, first: TextParser, others: Sequence[TextParser], line_key: str) -> None:
        self._first = first
        self._others = tuple(others)
        self._line_key = line_key

    def allows(self, steps: Sequence[PlanStep]) -> bool:
        return not steps

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        return taken_apart(entries, self._parsed, self._plain)

    def _plain(self, record: Record) -> Record:
        """Without the newline that joined lines end with."""
        (name, text), *others = record.pairs
        is_line = names(name, self._line_key) and isinstance(text, str)
        return record.like([(name, text.removesuffix("\n")), *others]) if is_line else record

    def _parsed(self, record: Record, now_ns: int) -> Record | None:
        (name, text), *others = record.pairs
        if not (names(name, self._line_key) and isinstance(text, str)):
            return None
        first, *rest = text.removesuffix("\n").split("\n")
        found = _parse(self._first, first, now_ns)
        if found is None:
            return None
        return record.like([*others, *self._fields(found.pairs, rest, now_ns)], found.time_ns)

    def _fields(self, pairs: Pairs, lines: Iterable[str], now_ns: int) -> Pairs:
        """Those of the first line, and what the lines behind it add."""
        fields, texts = list(pairs), _texts_of(pairs)
        for line in lines:
            found = next(filter(None, (_parse(one, line, now_ns) for one in self._others)), None)
            if found is not None:
                _end(fields, texts)
                fields += found.pairs
                texts = _texts_of(fields)
            elif texts:
                texts.append(line)
            else:  # a last field that is no text has no place for a line, which then is under Key
                fields.append((self._line_key, line))
                texts = [line]
        _end(fields, texts)
        return fields


def _texts_of(fields: Pairs) -> list[str]:
    """What lines that go on with the last field are collected in: joined one by one, each would copy all."""
    return [fields[-1][1]] if fields and isinstance(fields[-1][1], str) else []


def _end(fields: Pairs, texts: Sequence[str]) -> None:
    """The last field has all its lines."""
    if len(texts) > 1:
        fields[-1] = (fields[-1][0], "\n".join(texts))


def first_lines(name: str, others: Iterable[str], parsers: Parsers, line_key: str) -> FirstLines:
    """Raises ValueError for a parser that is not there, or that RE2 can't run."""
    first, *more = (text_parser(find(one, parsers)) for one in (name, *others))
    return FirstLines(first, more, line_key)


def joining(name: str, parsers: Parsers, flush_s: float) -> MultilineParser:
    """What joins the lines. Raises ValueError as `first_lines` does."""
    first = text_parser(find(name, parsers))

    def is_first(line: bytes) -> bool:
        return first.parse(line, time.time_ns()) is not None

    return MultilineParser(name, flush_timeout_s=flush_s, is_first=is_first)


def _parse(parser: TextParser, line: str, now_ns: int) -> Parsed | None:
    return parser.parse(line.encode("utf-8", "surrogateescape"), now_ns)

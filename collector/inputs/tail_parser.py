"""What a `Parser` of tail does that the log core does not: before the filters, on whole records.

A line that the parser does not know stays as it is, under Key, as in Fluent Bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from collector.accessor import names
from collector.config.parsers import Parser, find, framing
from collector.entries import has_key, spans
from collector.packing import pack
from collector.parsers.line import TextParser, text_parser
from collector.plan import Field, Framing, Layout
from collector.plan import Step as PlanStep
from collector.record import Record, packed, records_of

if TYPE_CHECKING:
    from collector.config.parsers import Parsers


class Step(Protocol):
    """Changes the entries that the log core made of a portion."""

    def allows(self, steps: Sequence[PlanStep]) -> bool:
        """Whether these, of filters that are folded into the plan, may come before it."""

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        """Entries, and how many lines the parser did not know."""


def taken_apart(
    entries: bytes, parsed: Callable[[Record, int], Record | None], plain: Callable[[Record], Record]
) -> tuple[bytes, int]:
    """Entries of what `parsed` makes of a record and the present time, or else `plain`; how many are so."""
    now_ns, unparsed = time.time_ns(), 0
    made: list[Record] = []
    for record in records_of(entries):
        found = parsed(record, now_ns)
        unparsed += found is None
        made.append(found or plain(record))
    return packed(made), unparsed


class ParsedLines:
    """Lines that the log core hands over whole, taken apart."""

    def __init__(self, parser: TextParser, line_key: str) -> None:
        self._parser = parser
        self._line_key = line_key

    def allows(self, steps: Sequence[PlanStep]) -> bool:
        return not steps

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        return taken_apart(entries, self._parsed, lambda record: record)

    def _parsed(self, record: Record, now_ns: int) -> Record | None:
        (name, line), *others = record.pairs
        if not (names(name, self._line_key) and isinstance(line, str | bytes)):
            return None
        text = line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")
        found = self._parser.parse(text, now_ns)
        return None if found is None else record.like([*found.pairs, *others], found.time_ns)


class JsonTimes:
    """Times of JSON lines in a form that the log core does not read, where a line has any."""

    def __init__(self, parser: Parser) -> None:
        assert parser.time is not None
        self._key = parser.time_key or "time"
        self._packed_key = pack(self._key)
        self._format = parser.time
        self._is_kept = parser.time_keep

    def allows(self, steps: Sequence[PlanStep]) -> bool:
        return not any(isinstance(step, Field) and step.key == self._key for step in steps)

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        # Most logs have no such key; looking for its bytes costs a thousandth of taking the records apart.
        if self._packed_key not in entries:
            return entries, 0
        now_ns = time.time_ns()
        return b"".join(self._entry(entry, now_ns) for entry in spans(entries)), 0

    def _entry(self, entry: bytes, now_ns: int) -> bytes:
        # Audit events have it, but deep inside: in the managedFields of the object they are about.
        if self._packed_key not in entry or not has_key(entry, self._key):
            return entry
        return packed(self._timed(record, now_ns) for record in records_of(entry))

    def _timed(self, record: Record, now_ns: int) -> Record:
        for place, (name, value) in enumerate(record.pairs):
            if names(name, self._key):
                time_ns = self._format.read(value, now_ns) if isinstance(value, str) else None
                if time_ns is None:
                    return record
                kept = record.pairs if self._is_kept else record.pairs[:place] + record.pairs[place + 1 :]
                return record.like(kept, time_ns)
        return record


def reading(name: str, parsers: Parsers, line_key: str) -> tuple[Framing, Layout, Step | None]:
    """How lines are read with a parser: by the log core, and by a step after it.

    Raises ValueError for a parser that is not there, or that RE2 can't run.
    """
    parser = find(name, parsers)
    known = framing(parser)
    if known is None:
        return Framing.LINE, Layout(content=line_key), ParsedLines(text_parser(parser), line_key)
    kind, layout = known
    needs_times = kind is Framing.JSON and parser.time is not None and not layout.time
    return kind, layout, JsonTimes(parser) if needs_times else None

"""`[FILTER] Name parser`: takes the text of a key apart, as Fluent Bit's filter of that name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.accessor import ABSENT, Accessor, names, read
from collector.config.parsers import find
from collector.config.schema import boolean, key, repeated, text
from collector.entries import Pairs
from collector.errors import ConfigError
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.parsers.line import Parsed, TextParser, text_parser
from collector.plugin import BatchFilter, Emit
from collector.record import Record

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Takes the text of a key apart with a parser."


@dataclass(frozen=True, slots=True)
class Settings:
    key_name: str = key("Key_Name", text, help="The key whose text is parsed.")
    parser: tuple[str, ...] = key(
        "Parser", repeated(text), help="A parser; of several the first that knows the text counts."
    )
    preserve_key: bool = key(
        "Preserve_Key",
        boolean,
        default="Off",
        help="The parsed key stays. Of no effect on a Key_Name that begins with `$`.",
    )
    reserve_data: bool = key("Reserve_Data", boolean, default="Off", help="The other keys stay.")
    nest_under: str = key("Nest_Under", text, default="", help="What was parsed goes under this key.")


class Parse(SeesRecords):
    """The filter of one section."""

    def __init__(
        self, settings: Settings, parsers: Sequence[TextParser], matches: Callable[[str], bool]
    ) -> None:
        self.matches = matches
        self._settings = settings
        self._key: Accessor = read(settings.key_name)
        self._is_accessor = settings.key_name.startswith("$")
        self._parsers = tuple(parsers)

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        now_ns = time.time_ns()
        return [self._parsed(record, now_ns) for record in records]

    def _parsed(self, record: Record, now_ns: int) -> Record:
        parsed = self._parse(self._key.value(record.pairs), now_ns)
        if parsed is None:
            return record
        under = self._settings.nest_under
        found: Pairs = [(under, dict(parsed.pairs))] if under else parsed.pairs
        return record.like([*found, *self._kept(record.pairs)], parsed.time_ns)

    def _parse(self, value: Any, now_ns: int) -> Parsed | None:
        if value is ABSENT or not isinstance(value, str | bytes):
            return None
        content = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        for parser in self._parsers:
            if (found := parser.parse(content, now_ns)) is not None:
                return found
        return None

    def _kept(self, pairs: Pairs) -> Pairs:
        """What is there besides, behind what the parser found. As in Fluent Bit a key that is written as
        `$key` is one of the others: Reserve_Data alone decides.
        """
        reserve, preserve = self._settings.reserve_data, self._settings.preserve_key
        if self._is_accessor:
            return pairs if reserve else []
        return [one for one in pairs if (preserve if names(one[0], self._key.name) else reserve)]


def make(settings: Settings, context: Context) -> BatchFilter:
    """Raises ConfigError for a parser that is not there, or that RE2 can't run."""
    try:
        parsers = [text_parser(find(name, context.document.parsers)) for name in settings.parser]
    except ValueError as reason:
        raise ConfigError(f"{context.plugin.section.place}: {reason}") from None
    return Parse(settings, parsers, context.plugin.matches)

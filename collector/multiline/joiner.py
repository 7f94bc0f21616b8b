"""Lines of one stream into records of several lines. No clock, no I/O; memory is bounded by `limit_bytes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from collector.multiline.parsers import MultilineParser, Rule

Context = TypeVar("Context")

# What a line counts beside its bytes, so that empty lines are bounded too.
LINE_BYTES = 32


class Joined(NamedTuple, Generic[Context]):
    """A record: its text, what came with its first line, how many lines it has, what was cut off it."""

    text: bytes
    context: Context
    lines: int
    cut_bytes: int


@dataclass(slots=True)
class _Group(Generic[Context]):
    """Lines that are one record so far."""

    parser: MultilineParser
    rule: Rule | None
    context: Context
    text: bytearray = field(default_factory=bytearray)
    lines: int = 0
    cut_bytes: int = 0


class Joiner(Generic[Context]):
    """Tries its parsers on each line, first the one that knew the line before.

    `ends_lines`: each record ends with a newline, as Fluent Bit has it for text that no
    parser took apart.
    """

    def __init__(
        self, parsers: Sequence[MultilineParser], limit_bytes: int, *, ends_lines: bool = False
    ) -> None:
        self._parsers = tuple(parsers)
        self._limit_bytes = limit_bytes
        self._ends_lines = ends_lines
        self._last = self._parsers[0]
        self._open: _Group[Context] | None = None

    @property
    def open_context(self) -> Context | None:
        """What came with the first line of the record that is open."""
        return None if self._open is None else self._open.context

    @property
    def flush_timeout_s(self) -> float:
        """How long the record that is open waits for its next line."""
        return self._last.flush_timeout_s

    @property
    def open_bytes(self) -> int:
        return 0 if self._open is None else len(self._open.text)

    def take(self, text: bytes, context: Context, looked_at: bytes | None = None) -> list[Joined[Context]]:
        """The records that are whole with this line. `looked_at`: what rules see in place of the text."""
        done: list[Joined[Context]] = []
        line = text if looked_at is None else looked_at
        if self._try(self._last, text, line, context, done):
            return done
        done += self.flush()
        for parser in self._parsers:
            if parser is not self._last and self._try(parser, text, line, context, done):
                self._last = parser
                return done
        done.append(self._record(bytearray(text), context, 1, 0))
        return done

    def flush(self) -> list[Joined[Context]]:
        """Nothing follows what is open."""
        group, self._open = self._open, None
        return (
            [] if group is None else [self._record(group.text, group.context, group.lines, group.cut_bytes)]
        )

    def _record(self, text: bytearray, context: Context, lines: int, cut_bytes: int) -> Joined[Context]:
        if self._ends_lines and text and not text.endswith(b"\n"):
            text += b"\n"
        return Joined(bytes(text), context, lines, cut_bytes)

    def _try(
        self, parser: MultilineParser, text: bytes, line: bytes, context: Context, done: list[Joined[Context]]
    ) -> bool:
        if parser.ending is not None:
            self._append(parser, None, text, context, done)
            if parser.ending.is_last(line):
                done += self.flush()
            return True
        if parser.is_first is not None:
            if parser.is_first(line):
                done += self.flush()
            elif self._open is None:
                return False
            self._append(parser, None, text, context, done)
            return True
        group = self._open
        following = group.rule.next if group is not None and group.rule is not None else ()
        rule = _first(following, line)
        if rule is None:
            rule = _first(parser.starts, line)
            if rule is None:
                return False
            done += self.flush()
        self._append(parser, rule, text, context, done)
        if rule.ends:
            done += self.flush()
        return True

    def _append(
        self,
        parser: MultilineParser,
        rule: Rule | None,
        text: bytes,
        context: Context,
        done: list[Joined[Context]],
    ) -> None:
        """Adds a line; a record that has no room for it is cut and ends there."""
        group = self._open
        if group is None:
            group = self._open = _Group(parser, rule, context)
        elif not group.text.endswith(b"\n"):
            group.text += b"\n"
        group.rule = rule
        room = max(0, self._limit_bytes - len(group.text) - LINE_BYTES * group.lines)
        added = text or (b"\n" if group.lines else b"")
        group.text += added[:room]
        group.lines += 1
        group.cut_bytes = max(0, len(added) - room)
        if group.cut_bytes:
            done += self.flush()


def _first(rules: Sequence[Rule], line: bytes) -> Rule | None:
    return next((rule for rule in rules if rule.pattern.is_in(line)), None)

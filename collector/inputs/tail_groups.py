"""Records of several lines: what multiline parsers make of the log core's records, per file and stream."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collector.entries import Entry, map_header, memory_bytes, walk
from collector.inputs.tail_parser import Step
from collector.multiline.joiner import Joined, Joiner
from collector.multiline.parsers import MultilineParser
from collector.packing import pack
from collector.plan import Framing

# The log core's key for the offset of a record where nobody asked for it; no program's key begins so.
HIDDEN_OFFSET = "\0offset"

_STREAMS = {"stdout": 0, "stderr": 1}

OPEN_GROUPS_BYTES = 24 << 20
"""Bound of the open records of all files of an input together; beyond it a record ends earlier."""


@dataclass(slots=True)
class GroupBudget:
    """What the open records of all files take in memory, and may take."""

    limit_bytes: int = OPEN_GROUPS_BYTES
    taken_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Grouping:
    """How lines of a file are joined. `limit_bytes` is the longest record; `step` comes before."""

    parsers: tuple[MultilineParser, ...]
    limit_bytes: int
    framing: Framing
    content_key: str
    pattern_key: str = ""
    stream_key: str = "stream"
    offset_key: str = HIDDEN_OFFSET
    step: Step | None = None
    budget: GroupBudget = field(default_factory=GroupBudget)

    @property
    def has_streams(self) -> bool:
        """Whether every line that can be joined names its stream."""
        return self.framing.joins

    @property
    def ends_lines(self) -> bool:
        """As Fluent Bit has it for text that nothing took apart."""
        return self.framing is Framing.LINE and self.step is None


class Regrouped(NamedTuple):
    """Entries that are whole now. `began`: where those began that no further line made whole."""

    entries: bytes = b""
    records: int = 0
    cut: int = 0
    cut_bytes: int = 0
    began: tuple[int, ...] = ()


class _Line(NamedTuple):
    """A record as the log core made it, and where in the file it begins."""

    entry: Entry
    content: int  # which pair
    offset: int


class LineGroups:
    """The open records of one file: one on stdout, one on stderr; where there are no streams, one."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._joiners: tuple[Joiner[_Line], Joiner[_Line]] = (
            Joiner(grouping.parsers, grouping.limit_bytes, ends_lines=grouping.ends_lines),
            Joiner(grouping.parsers, grouping.limit_bytes, ends_lines=grouping.ends_lines),
        )
        self._grown_s = [0.0, 0.0]
        self._taken_bytes = 0
        self._measured: list[_Line | None] = [None, None]  # first lines of open records,
        self._measured_bytes = [0, 0]  # and what they take

    @property
    def starts(self) -> tuple[int, int]:
        """Where in the file the open records began, -1: none is open."""
        first, second = (joiner.open_context for joiner in self._joiners)
        return (-1 if first is None else first.offset, -1 if second is None else second.offset)

    @property
    def due_s(self) -> float | None:
        """When the next open record has waited long enough for a line."""
        return min(
            (
                grown_s + joiner.flush_timeout_s
                for joiner, grown_s in zip(self._joiners, self._grown_s, strict=True)
                if joiner.open_context is not None
            ),
            default=None,
        )

    def take(self, entries: bytes, now_s: float) -> Regrouped:
        """More records of the log core, each with its offset."""
        done: list[bytes | Joined[_Line]] = []
        if self._grouping.step is not None:
            entries, _ = self._grouping.step.apply(entries)
        for entry in walk(entries):
            done += self._take(entry, now_s)
        self._measure()
        budget = self._grouping.budget
        if budget.taken_bytes > budget.limit_bytes:
            done += self._ended(self._joiners)
        return self._regrouped(done)

    def _take(self, entry: Entry, now_s: float) -> Iterable[bytes | Joined[_Line]]:
        line, stream, looked_at = self._read(entry)
        if stream < 0:
            return (self._alone(line),)
        joiner = self._joiners[stream]
        if line.content < 0:
            return (*joiner.flush(), self._alone(line))
        text = _bytes(entry.pairs[line.content][1])
        self._grown_s[stream] = now_s
        return joiner.take(text, line, looked_at)

    def _read(self, entry: Entry) -> tuple[_Line, int, bytes | None]:
        """The record, its stream (-1: of none, a line that is no runtime's), and what rules look at."""
        grouping = self._grouping
        values: dict[Any, int] = {}
        for index, (key, _) in enumerate(entry.pairs):
            if key == grouping.offset_key or key not in values:
                values[key] = index  # of the offset the last, which is the log core's; of others the first
        content = values.get(grouping.content_key, -1)
        if content >= 0 and not isinstance(entry.pairs[content][1], str):
            content = -1
        line = _Line(entry, content, entry.pairs[values[grouping.offset_key]][1])
        stream = -1 if grouping.has_streams else 0
        if grouping.stream_key in values:
            named = entry.pairs[values[grouping.stream_key]][1]
            stream = _STREAMS.get(named, stream) if isinstance(named, str) else stream
        pattern = values.get(grouping.pattern_key, -1) if grouping.pattern_key else -1
        looked_at = entry.pairs[pattern][1] if pattern >= 0 else None
        return line, stream, _bytes(looked_at) if isinstance(looked_at, str) else None

    def flush_overdue(self, now_s: float) -> Regrouped:
        """Records that have waited for their next line as long as they may."""
        return self._flush(
            joiner
            for joiner, grown_s in zip(self._joiners, self._grown_s, strict=True)
            if joiner.open_context is not None and grown_s + joiner.flush_timeout_s <= now_s
        )

    def flush_begun(self, offsets: Container[int]) -> Regrouped:
        """Records that began there."""
        return self._flush(
            joiner
            for joiner in self._joiners
            if joiner.open_context is not None and joiner.open_context.offset in offsets
        )

    def flush(self) -> Regrouped:
        """Nothing follows, on either stream."""
        return self._flush(self._joiners)

    def _flush(self, joiners: Iterable[Joiner[_Line]]) -> Regrouped:
        done = self._ended(joiners)
        began = tuple(one.context.offset for one in done)
        return self._regrouped(done)._replace(began=began)

    def _ended(self, joiners: Iterable[Joiner[_Line]]) -> list[Joined[_Line]]:
        done = [one for joiner in joiners for one in joiner.flush()]
        return sorted(done, key=lambda one: one.context.offset)

    def _measure(self) -> None:
        """Counts what is open: the text so far, and all else that came with its first line."""
        open_bytes = 0
        for stream, joiner in enumerate(self._joiners):
            first = joiner.open_context
            if first is not self._measured[stream]:
                self._measured[stream] = first
                self._measured_bytes[stream] = 0 if first is None else memory_bytes(first)
            open_bytes += joiner.open_bytes + self._measured_bytes[stream]
        self._grouping.budget.taken_bytes += open_bytes - self._taken_bytes
        self._taken_bytes = open_bytes

    def close(self) -> None:
        """What was open is forgotten."""
        self._grouping.budget.taken_bytes -= self._taken_bytes
        self._taken_bytes = 0

    def _regrouped(self, done: Sequence[bytes | Joined[_Line]]) -> Regrouped:
        pieces: list[bytes] = []
        cut = cut_bytes = 0
        for one in done:
            if not isinstance(one, bytes):
                cut += one.cut_bytes > 0
                cut_bytes += one.cut_bytes
            pieces.append(one if isinstance(one, bytes) else self._joined(one))
        self._measure()
        return Regrouped(b"".join(pieces), len(pieces), cut, cut_bytes)

    def _alone(self, line: _Line) -> bytes:
        return self._entry(line.entry, line.entry.spans)

    def _joined(self, one: Joined[_Line]) -> bytes:
        """The first line's record with the text of all."""
        entry, content, _ = one.context
        spans = list(entry.spans)
        key, text = entry.pairs[content]
        if one.text != _bytes(text):
            spans[content] = pack(key) + pack(one.text.decode("utf-8", "surrogateescape"))
        if one.cut_bytes and ("truncated", True) not in entry.pairs:
            spans.append(pack("truncated") + pack(True))
        return self._entry(entry, spans)

    def _entry(self, entry: Entry, spans: list[bytes]) -> bytes:
        if self._grouping.offset_key != HIDDEN_OFFSET:
            return entry.prefix + map_header(len(spans)) + b"".join(spans)
        last = max(index for index, (key, _) in enumerate(entry.pairs) if key == HIDDEN_OFFSET)
        kept = [*spans[:last], *spans[last + 1 :]]
        return entry.prefix + map_header(len(kept)) + b"".join(kept)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

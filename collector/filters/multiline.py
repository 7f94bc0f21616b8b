"""`[FILTER] Name multiline`: joins records whose texts are lines of one, as Fluent Bit's filter of that name.

Lines are joined for each tag and value of `stream` by itself. A record that is open
waits for its next line at most Flush_Ms, and then goes on as if it had come from an
input of its own: to the filters from the first one on, but for this one. What waits
is in memory: its file's position may have passed it, so a `kill -9` can lose it. The
`multiline.parser` of the input `tail` loses nothing; use it for files.

Mode partial_message joins what a container runtime split (multiline_pieces.py), for
each tag and line by itself.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collector.accessor import names
from collector.config.multiline import check_names, multiline_parsers
from collector.config.schema import boolean, choice, commas, integer, key, repeated_list, size_bytes, text
from collector.errors import ConfigError
from collector.filters.multiline_pieces import assembled, piece_of
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.multiline.joiner import Joined, Joiner
from collector.multiline.parsers import MultilineParser
from collector.plugin import BatchFilter, Emit
from collector.record import Record

if TYPE_CHECKING:
    from collector.context import Context, Send

SUMMARY = "Joins records whose texts are lines of one."

# Streams that are known at a time, and what these and their open records take. Beyond SENT_ON_SHARE of it
# those that waited longest are sent on as they are, within LOOK_S; while outputs have no room for that, what
# is too much goes on with the records that it came with, looked at every LOOK_RECORDS.
MAX_STREAMS = 4096
MAX_OPEN_BYTES = 24 << 20
SENT_ON_SHARE = 0.75
LOOK_S = 0.1
LOOK_RECORDS = 1000
STREAM_BYTES = 1024  # what one takes at most beside its name and its record


@dataclass(frozen=True, slots=True)
class Settings:
    multiline_parser: tuple[str, ...] = key(
        "multiline.parser",
        repeated_list(commas),
        default=(),
        help="Which lines belong together; several are tried in turn.",
    )
    multiline_key_content: str = key(
        "multiline.key_content", text, default="log", help="The key whose texts are joined."
    )
    mode: str = key("Mode", choice("parser", "partial_message"), default="parser", help="By what is joined.")
    buffer: bool = key(
        "Buffer", boolean, default="On", help="Off: a record is not waited for beyond what comes with it."
    )
    flush_ms: int = key(
        "Flush_Ms", integer(1), default="2000", help="Milliseconds that an open record waits for a line."
    )
    emitter_name: str = key("Emitter_Name", text, default="", help="Accepted; records keep their input.")
    emitter_storage_type: str = key(
        "Emitter_Storage.type", choice("memory", "filesystem"), default="memory", help="Accepted."
    )
    emitter_mem_buf_limit_bytes: int = key(
        "Emitter_Mem_Buf_Limit",
        size_bytes,
        default="10M",
        help="Longest record, where it is less than multiline_buffer_limit.",
    )

    def __post_init__(self) -> None:
        if self.mode == "parser" and not self.multiline_parser:
            raise ValueError("has no multiline.parser.")


@dataclass(slots=True)
class _Stream:
    """One stream's open record, and since when it has not grown (CLOCK_MONOTONIC)."""

    joiner: Joiner[Record]
    tag: str
    name: Any
    identity: Identity | None
    grown_s: float = 0.0
    # Of mode partial_message.
    first: Record | None = None
    content: bytearray = field(default_factory=bytearray)

    # What it took at the last look, and the first line's record then.
    taken_bytes: int = 0
    measured: Record | None = None
    measured_bytes: int = 0

    def measure(self) -> int:
        """How much more it takes than at the last look, with all that came with the first line."""
        first, before = self.first or self.joiner.open_context, self.taken_bytes
        if first is not self.measured:
            self.measured, self.measured_bytes = first, 0 if first is None else first.memory_bytes
        open_bytes = self.joiner.open_bytes + len(self.content) + self.measured_bytes
        self.taken_bytes = STREAM_BYTES + sys.getsizeof(self.tag) + sys.getsizeof(self.name) + open_bytes
        return self.taken_bytes - before


class Multiline(SeesRecords):
    """The filter of one section."""

    def __init__(
        self,
        settings: Settings,
        parsers: Sequence[MultilineParser],
        matches: Callable[[str], bool],
        send: Send,
        longest_bytes: int = 2 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.matches = matches
        self._settings = settings
        self._parsers = tuple(parsers)
        self._looked_at = next((one.key_pattern for one in parsers if one.key_pattern), "")
        self._send = send
        self._limit_bytes = min(longest_bytes, settings.emitter_mem_buf_limit_bytes)
        self._clock = clock
        self._streams: dict[tuple[str, Any], _Stream] = {}
        self._grown: set[tuple[str, Any]] = set()  # since the last look
        self._taken_bytes = 0
        # On their way to the outputs.
        self._leaving = self._leaving_bytes = 0

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        take = self._take_piece if self._settings.mode == "partial_message" else self._take_line
        done: list[Record] = []
        for start in range(0, len(records), LOOK_RECORDS):
            for record in records[start : start + LOOK_RECORDS]:
                done += take(tag, record, identity)
            done += self._too_much(tag, identity)
        if not self._settings.buffer:
            done += [record for stream in self._streams.values() for record in self._flush(stream)]
            self._grown |= self._streams.keys()
        return done

    def _stream(self, tag: str, name: Any, identity: Identity | None) -> _Stream:
        known = self._streams.get((tag, name))
        if known is None:
            joiner: Joiner[Record] = Joiner(self._parsers or (MultilineParser("none"),), self._limit_bytes)
            known = self._streams[tag, name] = _Stream(joiner, tag, name, identity)
        known.identity = identity
        known.grown_s = self._clock()
        self._grown.add((tag, name))
        return known

    # By the rules of a parser

    def _take_line(self, tag: str, record: Record, identity: Identity | None) -> list[Record]:
        name = next((str(value) for key, value in record.pairs if names(key, "stream")), None)
        stream = self._stream(tag, name, identity)
        content = _text_of(record, self._settings.multiline_key_content)
        if content is None:
            return [*self._flush(stream), record]
        looked_at = _text_of(record, self._looked_at) if self._looked_at else None
        return [self._whole(joined) for joined in stream.joiner.take(content, record, looked_at)]

    def _whole(self, joined: Joined[Record]) -> Record:
        """The first line's record, with the text of all; one that is a line alone is as it was."""
        first = joined.context
        if joined.lines == 1 and not joined.cut_bytes:
            return first
        content = joined.text.decode("utf-8", "surrogateescape")
        name = self._settings.multiline_key_content
        return first.like(
            [(one, content) if names(one, name) else (one, value) for one, value in first.pairs]
        )

    # By what the runtime says of its pieces

    def _take_piece(self, tag: str, record: Record, identity: Identity | None) -> list[Record]:
        piece = piece_of(record.pairs, self._settings.multiline_key_content)
        if piece is None:
            return [record]
        stream = self._stream(tag, piece.ident, identity)
        stream.first = stream.first or record
        stream.content += piece.content
        if piece.is_last or len(stream.content) >= self._limit_bytes:
            self._forget(stream)
            return self._flush(stream)
        return []

    def _flush(self, stream: _Stream) -> list[Record]:
        first, content = stream.first, bytes(stream.content)
        stream.first, stream.content, stream.measured = None, bytearray(), None
        if first is not None:
            return [assembled(first, content, self._settings.multiline_key_content)]
        return [self._whole(joined) for joined in stream.joiner.flush()]

    # What is too much

    def _too_much(self, tag: str, identity: Identity | None) -> list[Record]:
        """What goes on once a bound is passed, the longest waiting first: of this tag and container alone."""
        self._measure()
        done: list[Record] = []
        if self._is_within(1):
            return done
        own = (one for one in self._streams.values() if one.tag == tag and one.identity == identity)
        for stream in sorted(own, key=lambda stream: stream.grown_s):
            if self._is_within(SENT_ON_SHARE):
                break
            self._forget(stream)
            done += self._flush(stream)
        return done

    def _measure(self) -> None:
        grown = (self._streams.get(place) for place in self._grown)
        self._taken_bytes += sum(stream.measure() for stream in grown if stream is not None)
        self._grown.clear()

    def _is_within(self, share: float) -> bool:
        """Whether there is not more than this share of the bounds."""
        streams, taken_bytes = len(self._streams) + self._leaving, self._taken_bytes + self._leaving_bytes
        return streams <= share * MAX_STREAMS and taken_bytes <= share * MAX_OPEN_BYTES

    def _forget(self, stream: _Stream) -> None:
        del self._streams[stream.tag, stream.name]
        self._taken_bytes -= stream.taken_bytes

    # Those that wait

    async def run(self, stop: asyncio.Event) -> None:
        """Sends on what has waited long enough; all of it at the end."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            except TimeoutError:
                await self._send_all(self._due(self._clock() - self._settings.flush_ms / 1000))
        await self._send_all(self._due(math.inf))

    def _due(self, before_s: float) -> list[_Stream]:
        """Those that have waited long enough, and the longest waiting of what is too much: known no more."""
        due: list[_Stream] = []
        for stream in sorted(self._streams.values(), key=lambda stream: stream.grown_s):
            if stream.grown_s > before_s and self._is_within(SENT_ON_SHARE):
                break
            self._forget(stream)
            due.append(stream)
        return due

    async def _send_all(self, streams: Sequence[_Stream]) -> None:
        self._leaving, self._leaving_bytes = len(streams), sum(stream.taken_bytes for stream in streams)
        for stream in streams:
            if records := self._flush(stream):
                await self._send(self, stream.tag, records, stream.identity)
            self._leaving -= 1
            self._leaving_bytes -= stream.taken_bytes


def _text_of(record: Record, key: str) -> bytes | None:
    value = next((value for name, value in record.pairs if names(name, key)), None)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) else None


def make(settings: Settings, context: Context) -> BatchFilter:
    """Raises ConfigError for a multiline parser that is not there."""
    known, place = context.document.multiline_parsers, context.plugin.section.place
    try:
        check_names(settings.multiline_parser, known)
    except ValueError as reason:
        raise ConfigError(f"{place}: {reason}") from None
    parsers = multiline_parsers(settings.multiline_parser, known)
    if settings.multiline_parser and not parsers:
        named = ", ".join(settings.multiline_parser)
        problem = f"{place}: {named} joins the parts of a runtime's line, which records do not have any more."
        raise ConfigError(problem, remedy="Name it in the input tail, as multiline.parser there.")
    limit_bytes = context.document.service.multiline_buffer_limit_bytes
    return Multiline(settings, parsers, context.plugin.matches, context.send, limit_bytes)

"""`[FILTER] Name multiline`: joins records whose texts are lines of one, as Fluent Bit's filter of that name.

Lines are joined for each tag and value of `stream` by itself. A record that is open
waits for its next line at most Flush_Ms, and then goes on as if it had come from an
input of its own: to the filters from the first one on, but for this one. What waits
is in memory: its file's position may have passed it, so a `kill -9` can lose it. The
`multiline.parser` of the input `tail` loses nothing; use it for files.

Mode partial_message joins what a container runtime split, by Fluentd's keys
partial_message, partial_id, partial_ordinal and partial_last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collector.accessor import names
from collector.config.multiline import check_names, multiline_parsers
from collector.config.schema import boolean, choice, commas, integer, key, repeated_list, size_bytes, text
from collector.errors import ConfigError
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.multiline.joiner import Joined, Joiner
from collector.multiline.parsers import MultilineParser
from collector.plugin import BatchFilter, Emit, Pairs
from collector.record import Record

if TYPE_CHECKING:
    from collector.context import Context, Send

SUMMARY = "Joins records whose texts are lines of one."

# Streams with an open record at a time: beyond it the one that waited longest is sent on as it is.
MAX_STREAMS = 4096
LOOK_S = 0.1
_PARTIAL = "partial_message"
_PARTIAL_KEYS = (_PARTIAL, "partial_id", "partial_ordinal", "partial_last")


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
    identity: Identity | None
    grown_s: float = 0.0
    parts: list[Record] = field(default_factory=list)  # of mode partial_message


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
        self._send = send
        self._limit_bytes = min(longest_bytes, settings.emitter_mem_buf_limit_bytes)
        self._clock = clock
        self._streams: dict[tuple[str, Any], _Stream] = {}

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        take = self._take_partial if self._settings.mode == "partial_message" else self._take_line
        done: list[Record] = []
        for record in records:
            stream = self._stream(tag, record, identity)
            stream.grown_s = self._clock()
            done += take(stream, record)
        if not self._settings.buffer:
            done += [record for stream in self._streams.values() for record in self._flush(stream)]
        return done

    def _stream(self, tag: str, record: Record, identity: Identity | None) -> _Stream:
        place = (tag, next((str(value) for name, value in record.pairs if names(name, "stream")), None))
        known = self._streams.get(place)
        if known is None:
            joiner: Joiner[Record] = Joiner(self._parsers or (MultilineParser("none"),), self._limit_bytes)
            known = self._streams[place] = _Stream(joiner, tag, identity)
        known.identity = identity
        return known

    # By the rules of a parser

    def _take_line(self, stream: _Stream, record: Record) -> list[Record]:
        content = self._content(record)
        if content is None:
            return [*self._flush(stream), record]
        return [self._whole(joined) for joined in stream.joiner.take(content, record)]

    def _content(self, record: Record) -> bytes | None:
        name = self._settings.multiline_key_content
        value = next((value for one, value in record.pairs if names(one, name)), None)
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        return value if isinstance(value, bytes) else None

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

    def _take_partial(self, stream: _Stream, record: Record) -> list[Record]:
        pieces = dict(record.pairs)
        if str(pieces.get(_PARTIAL, "")).lower() != "true":
            return [*self._flush(stream), record]
        is_other = stream.parts and dict(stream.parts[0].pairs).get("partial_id") != pieces.get("partial_id")
        done = self._flush(stream) if is_other else []
        stream.parts.append(record)
        size_bytes = sum(len(self._content(one) or b"") for one in stream.parts)
        is_last = str(pieces.get("partial_last", "")).lower() == "true"
        if is_last or size_bytes >= self._settings.emitter_mem_buf_limit_bytes:
            done += self._flush(stream)
        return done

    def _assembled(self, parts: Sequence[Record]) -> Record:
        content = b"".join(self._content(one) or b"" for one in parts).decode("utf-8", "surrogateescape")
        name = self._settings.multiline_key_content
        pairs: Pairs = [
            (one, content) if names(one, name) else (one, value)
            for one, value in parts[0].pairs
            if one not in _PARTIAL_KEYS
        ]
        return parts[0].like(pairs)

    def _flush(self, stream: _Stream) -> list[Record]:
        parts, stream.parts = stream.parts, []
        if parts:
            return [self._assembled(parts)]
        return [self._whole(joined) for joined in stream.joiner.flush()]

    # Those that wait

    async def run(self, stop: asyncio.Event) -> None:
        """Sends on what has waited long enough; all of it at the end."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            except TimeoutError:
                await self._send_all(self._due(self._clock() - self._settings.flush_ms / 1000))
        await self._send_all(list(self._streams.values()))

    def _due(self, before_s: float) -> list[_Stream]:
        overdue = [stream for stream in self._streams.values() if stream.grown_s <= before_s]
        excess = len(self._streams) - MAX_STREAMS - len(overdue)
        if excess > 0:
            rest = (stream for stream in self._streams.values() if stream.grown_s > before_s)
            overdue += sorted(rest, key=lambda stream: stream.grown_s)[:excess]
        return overdue

    async def _send_all(self, streams: Sequence[_Stream]) -> None:
        sending = {id(stream) for stream in streams}
        self._streams = {place: one for place, one in self._streams.items() if id(one) not in sending}
        for stream in streams:
            if records := self._flush(stream):
                await self._send(self, stream.tag, records, stream.identity)


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

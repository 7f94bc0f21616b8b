"""`[OUTPUT] Name stdout`: records on standard output, in the formats of Fluent Bit's output of that name."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from collector.config.schema import choice, key, text
from collector.entries import unpack_entries
from collector.outputs.text import DATE_FORMATS, FORMATS, as_pairs, framed, json_objects, quoted, seconds
from collector.plugin import Output, Rejected

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk

SUMMARY = "Prints records on standard output, as Fluent Bit does."


@dataclass(frozen=True, slots=True)
class Settings:
    format: str = key(
        "Format",
        choice("msgpack", *FORMATS),
        default="msgpack",
        help="`msgpack` is for people; `json` an array a chunk, `json_lines` a line a record, `json_stream` "
        "records with nothing between them.",
    )
    json_date_key: str = key(
        "Json_date_key", text, default="date", help="What the time is called in JSON; `false` leaves it out."
    )
    json_date_format: str = key(
        "Json_date_format", choice(*DATE_FORMATS), default="double", help="How the time is written in JSON."
    )


def lines(chunk: Chunk, settings: Settings) -> Iterator[str]:
    """The chunk's text, in pieces. Raises ValueError for entries that are none."""
    if settings.format == "msgpack":
        for number, (time_ns, pairs) in enumerate(unpack_entries(chunk.entries)):
            yield f"[{number}] {quoted(chunk.tag)[1:-1]}: [[{seconds(time_ns)}, {{}}], {as_pairs(pairs)}]\n"
        return
    yield from framed(
        json_objects(chunk.entries, settings.json_date_key, settings.json_date_format), settings.format
    )
    if settings.format != "json_lines":
        yield "\n"


class Stdout:
    """Writes to a binary stream; one chunk at a time, so that chunks don't mix."""

    def __init__(self, settings: Settings, stream: BinaryIO) -> None:
        self._settings = settings
        self._stream = stream
        self._turn = asyncio.Lock()

    async def deliver(self, chunk: Chunk) -> None:
        async with self._turn:
            # In a thread: a terminal that is stopped (Ctrl-S) or a slow pipe blocks write().
            await asyncio.to_thread(self._write, chunk)

    def _write(self, chunk: Chunk) -> None:
        try:
            for line in lines(chunk, self._settings):
                self._stream.write(line.encode("utf-8", "backslashreplace"))
            self._stream.flush()
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        except BrokenPipeError:
            # Nobody reads any more (`podwitness ... | head`): end as on Ctrl-C, without a traceback.
            signal.raise_signal(signal.SIGTERM)

    async def close(self) -> None:
        """Nothing is held back."""


def make(settings: Settings, context: Context) -> Output:
    return Stdout(settings, sys.stdout.buffer)

"""`[OUTPUT] Name terminal`: a line a record for a person, JSON lines for a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from collector.config.schema import choice, key
from collector.entries import unpack_entries
from collector.outputs.live_line import LiveLine, live_line

if TYPE_CHECKING:
    from rich.console import Console

    from collector.context import Context
    from collector.delivery.chunk import Chunk
    from collector.entries import Pairs
    from collector.plugin import Output

SUMMARY = "Prints records live: readable lines on a terminal, JSON lines into a pipe."
TONES = {"process": "green", "network": "cyan", "trouble": "bold red", "log": "default", "errors": "yellow"}
WHERE_COLUMNS = 34
WHAT_COLUMNS = 14
WHO_COLUMNS = 24
COLUMNS_FROM = 120  # a narrower terminal has no room for columns


@dataclass(frozen=True, slots=True)
class Settings:
    format: str = key(
        "Format",
        choice("auto", "lines", "json"),
        default="auto",
        help="`lines` for a person, `json` for a program, `auto`: lines on a terminal, else json.",
    )


class Terminal:
    """Writes to a text stream, standard output by default."""

    def __init__(self, settings: Settings, stream: TextIO) -> None:
        self._stream = stream
        readable = settings.format == "lines" or (settings.format == "auto" and stream.isatty())
        self._console = _console(stream) if readable else None

    async def deliver(self, chunk: Chunk) -> None:
        # In a thread: a terminal that is stopped (Ctrl-S) or a slow pipe blocks write().
        await asyncio.to_thread(self._print, chunk)

    def _print(self, chunk: Chunk) -> None:
        try:
            for time_ns, pairs in unpack_entries(chunk.entries):
                self._print_record(chunk.tag, time_ns, pairs)
            self._stream.flush()
        except BrokenPipeError:
            # Nobody reads any more (`podwitness | head`): end as on Ctrl-C, without a traceback.
            signal.raise_signal(signal.SIGTERM)

    def _print_record(self, tag: str, time_ns: int, pairs: Pairs) -> None:
        record = {str(name): value for name, value in pairs}  # of a repeated key the last one
        if self._console is None:
            self._stream.write(json_line(tag, time_ns, record))
        else:
            print_line(self._console, live_line(time_ns, record))

    async def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # met again, and dealt with, where the process ends
            self._stream.flush()


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)


def print_line(console: Console, line: LiveLine) -> None:
    """One line; on a terminal cut at its edge, so that an event stays a line."""
    from rich.text import Text

    tone = TONES[line.tone]
    wide = console.width >= COLUMNS_FROM
    parts = [(line.time, "dim"), (_column(line.where, WHERE_COLUMNS, wide), "magenta")]
    parts += [(_column(line.what, WHAT_COLUMNS, wide), tone), (_column(line.who, WHO_COLUMNS, wide), "bold")]
    parts.append((line.details, tone if line.tone == "trouble" else ""))
    text = Text("  ").join(Text(part, style) for part, style in parts if part)
    if console.is_terminal:
        text.truncate(console.width, overflow="ellipsis")
    console.print(text, soft_wrap=True)


def _column(value: str, columns: int, padded: bool) -> str:
    """Cut in the middle, as both ends of a pod's name tell it apart; padded where there is room."""
    if len(value) > columns:
        kept = columns - 1
        value = value[: kept - kept // 2] + "…" + value[-(kept // 2) :]
    return value.ljust(columns) if padded else value


def json_line(tag: str, time_ns: int, record: dict[str, Any]) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % 1_000_000_000:09d}Z"
    return json.dumps({"@timestamp": stamp, "tag": tag, **record}, default=_printable) + "\n"


def _printable(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def make(settings: Settings, context: Context) -> Output:
    return Terminal(settings, sys.stdout)

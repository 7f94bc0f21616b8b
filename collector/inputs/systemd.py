"""`[INPUT] Name systemd`: the journal, by libsystemd, as Fluent Bit's in_systemd writes it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.config.schema import boolean, choice, integer, key, repeated, text
from collector.delivery.chunk import Chunk, chunk_id
from collector.entries import pack_entry
from collector.errors import OperatorError

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Reads the systemd journal."
JOURNAL_FOLDERS = ("/var/log/journal", "/run/log/journal")
ENTRIES_A_TURN = 500  # some 10 ms of libsystemd, which blocks the loop


@dataclass(frozen=True, slots=True)
class Settings:
    path: str = key("Path", text, default="", help="Folder of journal files; the system's when empty.")
    systemd_filter: tuple[str, ...] = key(
        "Systemd_Filter", repeated(text), default=(), help="`FIELD=value` that an entry must have."
    )
    systemd_filter_type: str = key(
        "Systemd_Filter_Type", choice("or", "and"), default="or", help="How several filters are joined."
    )
    read_from_tail: bool = key(
        "Read_From_Tail", boolean, default=False, help="Only entries that are written from now on."
    )
    max_fields: int = key("Max_Fields", integer, default=8000, help="Fields kept of one entry.")
    lowercase: bool = key("Lowercase", boolean, default=False, help="Field names in lower case.")
    strip_underscores: bool = key(
        "Strip_Underscores", boolean, default=False, help="Leading underscores of field names removed."
    )


def field_name(name: str, settings: Settings) -> str:
    """The key that a journal field has in the record."""
    if settings.strip_underscores:
        name = name.lstrip("_") or name
    return name.lower() if settings.lowercase else name


def record_of(fields: dict[str, Any], settings: Settings) -> list[tuple[Any, Any]]:
    """A journal entry as pairs; values are text, a list where the field is repeated."""
    names = list(fields)[: settings.max_fields]
    return [(field_name(name, settings), _text(fields[name])) for name in names]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def unit_of(fields: dict[str, Any]) -> str:
    """What `*` in the tag stands for: the entry's unit, `unknown` without one."""
    unit = fields.get("_SYSTEMD_UNIT", b"unknown")
    return str(_text(unit[0] if isinstance(unit, list) else unit))


def open_journal(settings: Settings) -> Any:
    """A reader placed where reading starts. Raises OperatorError where there is no journal."""
    try:
        from systemd import journal
    except ImportError as error:
        raise OperatorError(
            f"The Python module systemd can't be loaded: {error}.",
            "The journal is not read.",
            "Install python3-systemd and start from a virtual environment that sees system packages.",
        ) from None
    folders = (settings.path,) if settings.path else JOURNAL_FOLDERS
    if not any(os.path.isdir(folder) for folder in folders):
        raise OperatorError(
            f"There is no journal in {' or '.join(folders)}.",
            "The journal is not read.",
            "Remove the systemd input, or mount the journal's folder.",
        )
    reader = journal.Reader(path=settings.path or None)
    for number, match in enumerate(settings.systemd_filter):
        if number and settings.systemd_filter_type == "or":
            reader.add_disjunction()
        reader.add_match(match)
    _place(reader, settings)
    return reader


def _place(reader: Any, settings: Settings) -> None:
    if settings.read_from_tail:
        reader.seek_tail()
        # seek_tail stands behind the last entry; the next _next() would give that
        # entry again unless the cursor is first put onto it.
        reader._previous()
    else:
        reader.seek_head()


class Systemd:
    """The running input."""

    def __init__(self, settings: Settings, context: InputContext) -> None:
        self._settings = settings
        self._context = context
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        try:
            reader = open_journal(self._settings)
        except OperatorError as error:
            self._context.log.warning("%s", error)
            # Not a matter of health: many nodes have no journal, and nothing of it is lost.
            self._context.report(self._context.name, True, error.problem)
            await stop.wait()
            return
        try:
            await self._follow(reader, stop)
        finally:
            reader.close()

    async def _follow(self, reader: Any, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(reader.fileno(), self._wake.set)
        stopping = loop.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                if await self._ship(reader):
                    continue
                await self._wake.wait()
                self._wake.clear()
                reader.process()
        finally:
            stopping.cancel()
            loop.remove_reader(reader.fileno())

    async def _ship(self, reader: Any) -> int:
        """Hands over the entries that are there, ENTRIES_A_TURN at the most; returns how many."""
        by_tag: dict[str, list[bytes]] = {}
        cursor = ""
        shipped = 0
        while shipped < ENTRIES_A_TURN and reader._next():
            fields = reader._get_all()
            entry = pack_entry(reader._get_realtime() * 1000, record_of(fields, self._settings))
            tag = self._context.plugin.tag.replace("*", unit_of(fields))
            by_tag.setdefault(tag, []).append(entry)
            cursor = reader._get_cursor()
            shipped += 1
        for tag, entries in by_tag.items():
            await self._submit(tag, entries, cursor)
        await asyncio.sleep(0)
        return shipped

    async def _submit(self, tag: str, packed: Iterable[bytes], cursor: str) -> None:
        context = self._context
        entries = b"".join(packed)
        _, rest = context.chain.record_plan(tag)
        entries, records = context.chain.apply(rest, tag, entries, None)
        if records:
            ident = chunk_id(context.name, tag, cursor)
            await context.intake.submit(
                Chunk(ident, tag, entries, records, context.name, time.monotonic_ns(), None, len(entries))
            )


def make(settings: Settings, context: InputContext) -> Input:
    return Systemd(settings, context)

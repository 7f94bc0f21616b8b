"""`[INPUT] Name systemd`: the journal, as Fluent Bit's in_systemd writes it.

The journal is its own buffer: a place in it moves on when the outputs have the
entries up to there, and while they take none nothing is read. What journald
deletes meanwhile is counted and told as a loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collector.config.schema import boolean, choice, integer, key, repeated, text
from collector.delivery.chunk import FileKey, Position, chunk_id
from collector.delivery.database import SYNC_HELP, DatabaseModes
from collector.delivery.losses import Loss
from collector.delivery.positions import JOURNAL_DEVICE
from collector.entries import pack_entry
from collector.errors import OperatorError
from collector.inputs.journal import MAX_FIELD_BYTES, Entry, Fields, Gap, Journal, Place, folder_of
from collector.inputs.made_chunks import chunks, filtered
from collector.service.stalls import Stall

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Reads the systemd journal."

ENTRIES_A_TURN = 500  # some 10 ms of libsystemd, which blocks the loop
BYTES_A_TURN = 1 << 20  # as Fluent Bit; entries can have megabytes
# Where the kernel tells of changes, a look now and then costs nothing; where it does not, this is the delay.
LOOK_S, LOOK_UNTOLD_S = 30.0, 1.0
APPEAR_S = 10.0
FAILED_S = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    path: str = key("Path", text, default="", help="Folder of journal files; the system's when empty.")
    db: str = key("DB", text, default="", help="Where the place is kept over a restart; empty: it is not.")
    db_sync: str = key(
        "DB.Sync",
        choice("extra", "full", "normal", "off"),
        default="normal",
        help=SYNC_HELP,
    )
    systemd_filter: tuple[str, ...] = key(
        "Systemd_Filter", repeated(text), default=(), help="`FIELD=value` that an entry must have."
    )
    systemd_filter_type: str = key(
        "Systemd_Filter_Type", choice("or", "and"), default="or", help="How several filters are joined."
    )
    read_from_tail: bool = key(
        "Read_From_Tail",
        boolean,
        default=False,
        help="Only entries that are written from now on; a place in DB comes first.",
    )
    read_since_min: int = key(
        "Read_Since_Minutes_Ago",
        integer(0),
        default=0,
        help="Only entries of so many minutes before the start and later ones; 0: all. Read_From_Tail and a "
        "place in DB come first.",
    )
    max_fields: int = key("Max_Fields", integer(1), default=8000, help="Fields kept of one entry.")
    max_entries: int = key(
        "Max_Entries", integer(1), default=5000, help="Entries handed over at once, 500 at the most."
    )
    lowercase: bool = key("Lowercase", boolean, default=False, help="Field names in lower case.")
    strip_underscores: bool = key(
        "Strip_Underscores", boolean, default=False, help="The leading underscore of field names removed."
    )

    def __post_init__(self) -> None:
        wrong = [match for match in self.systemd_filter if not match.partition("=")[1]]
        if wrong:
            raise ValueError(f"has Systemd_Filter {wrong[0]!r}. Write FIELD=value.")


def field_name(name: str, settings: Settings) -> str:
    """The key that a journal field has in the record."""
    if settings.strip_underscores:
        name = name.removeprefix("_") or name
    return name.lower() if settings.lowercase else name


def record_of(fields: Fields, settings: Settings) -> list[tuple[Any, Any]]:
    """A journal entry as pairs; values are text, a list where the field is repeated, or where two fields have
    one name once underscores and capitals are gone."""
    left = settings.max_fields
    found: dict[str, Any] = {}
    for name, value in fields.items():
        kept = value[:left] if isinstance(value, list) else value
        _put(found, field_name(name, settings), _text(kept))
        left -= len(kept) if isinstance(kept, list) else 1
        if left <= 0:
            break
    return list(found.items())


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    """As Fluent Bit: what becomes a list goes to the end."""
    if name not in found:
        found[name] = value
        return
    more = value if isinstance(value, list) else [value]
    if isinstance(found[name], list):
        found[name] += more
    else:
        found[name] = [found.pop(name), *more]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    if isinstance(value, bytes):
        return value[:MAX_FIELD_BYTES].decode("utf-8", "surrogateescape")
    return str(value)


def cut_of(fields: Fields) -> int:
    """How many values are longer than what is kept."""
    values = [one for value in fields.values() for one in (value if isinstance(value, list) else [value])]
    return sum(isinstance(value, bytes) and len(value) > MAX_FIELD_BYTES for value in values)


def _always() -> bool:
    return True


def unit_of(fields: Fields) -> str:
    """What `*` in the tag stands for: the entry's unit, `unknown` without one."""
    unit = fields.get("_SYSTEMD_UNIT", b"unknown")
    return str(_text(unit[0] if isinstance(unit, list) else unit))


@dataclass(slots=True)
class _Turn:
    """What one turn read. `first` is the cursor of its first entry, `reached` the place behind all of it."""

    by_tag: dict[str, bytearray] = field(default_factory=dict)
    entries: int = 0
    size_bytes: int = 0
    first: str = ""
    reached: Place | None = None

    def add(self, tag: str, entry: Entry, packed: bytes) -> None:
        self.by_tag.setdefault(tag, bytearray()).extend(packed)
        self.entries += 1
        self.size_bytes += len(packed)
        self.first = self.first or entry.cursor
        self.reached = Place(entry.cursor, entry.realtime_us)


class Systemd:
    """The running input."""

    def __init__(self, settings: Settings, context: InputContext) -> None:
        self._settings = settings
        self._context = context
        self._positions = context.positions(settings.db or None, DatabaseModes(settings.db_sync))
        # A database may serve several journals: the name tells this one from others.
        self._key = FileKey(JOURNAL_DEVICE, int.from_bytes(chunk_id(context.name)[:8], "little"))
        self._wake = asyncio.Event()
        self._committed: Place | None = None
        self._turned_s: float | None = None  # when a turn last ended; None: there is no journal
        self._look_s = LOOK_S

    def stalls(self, now_s: float) -> Iterable[Stall]:
        """Whether nobody reads the journal: it is looked at now and then, whatever happens."""
        if self._turned_s is not None:
            age_s = max(0.0, now_s - self._turned_s - self._look_s)
            yield Stall(self._context.name, "the journal is not read", age_s, True)

    async def run(self, stop: asyncio.Event) -> None:
        stopping = asyncio.get_running_loop().create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                journal = await self._open(stop)
                if journal is None:
                    return
                try:
                    await self._follow(journal, stop)
                finally:
                    journal.close()
        finally:
            stopping.cancel()

    async def _open(self, stop: asyncio.Event) -> Journal | None:
        """The journal, placed where reading starts, as soon as there is one; None: it is time to stop."""
        settings, context, said = self._settings, self._context, ""
        while not stop.is_set():
            try:
                folder = folder_of(settings.path, context.document.service.host_root)
                return self._placed(folder)
            except OperatorError as error:
                if str(error) != said:
                    said = str(error)
                    context.log.warning("%s", error)
            except OSError as error:
                context.log.error("the journal can't be opened: %s", error)
            # Not a matter of health: many nodes have no journal, and nothing of it is lost.
            context.report(context.name, True, said)
            await self._pause(APPEAR_S)
        return None

    def _placed(self, folder: str) -> Journal:
        settings = self._settings
        journal = Journal(
            folder, settings.systemd_filter, all_must_match=settings.systemd_filter_type == "and"
        )
        saved = self._positions.load(self._key) or self._positions.load(FileKey(JOURNAL_DEVICE, 0))
        if self._committed is None and saved is not None:
            self._committed = Place(saved.cursor, saved.offset)
        if self._committed is not None:
            self._tell(journal.to(self._committed))
        elif settings.read_from_tail:
            journal.to_tail()
            self._committed = journal.last
        elif settings.read_since_min:
            journal.to_time(time.time_ns() // 1000 - settings.read_since_min * 60_000_000)
        else:
            journal.to_head()
        return journal

    async def _follow(self, journal: Journal, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        descriptor = journal.fileno()
        loop.add_reader(descriptor, self._wake.set)
        self._look_s = LOOK_S if journal.tells_changes else LOOK_UNTOLD_S
        try:
            while not stop.is_set():
                self._turned_s = time.monotonic()
                # Before more is read: what is gone now was not read, what goes later is still to be read.
                self._tell(journal.changed())
                turn = self._read(journal)
                await self._hand_over(turn)
                if not turn.entries:
                    await self._pause(self._look_s)
        except OSError as error:
            self._context.log.error("the journal can't be read (%s): it is opened again", error)
            loop.remove_reader(descriptor)
            await self._pause(FAILED_S)
        finally:
            self._turned_s = None
            loop.remove_reader(descriptor)

    async def _pause(self, timeout_s: float) -> None:
        """Until something has changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        self._wake.clear()

    def _read(self, journal: Journal) -> _Turn:
        """An entry that can't be read is counted. Raises OSError when there is none that can be."""
        turn, failed = _Turn(), None
        for _ in range(min(self._settings.max_entries, ENTRIES_A_TURN)):
            try:
                entry = journal.take()
            except OSError as error:
                failed = error
                self._context.metrics.add("podwitness_journal_read_errors_total", self._context.name)
                continue
            if entry is None:
                break
            self._add(turn, entry)
            if turn.size_bytes >= BYTES_A_TURN:
                break
        if failed and not turn.entries:
            raise failed
        return turn

    def _add(self, turn: _Turn, entry: Entry) -> None:
        context, fields = self._context, entry.fields
        packed = pack_entry(entry.realtime_us * 1000, record_of(fields, self._settings))
        turn.add(context.plugin.tag.replace("*", unit_of(fields), 1), entry, packed)
        if cut := cut_of(fields):
            context.metrics.add("podwitness_journal_cut_fields_total", context.name, by=cut)

    async def _hand_over(self, turn: _Turn) -> None:
        """The last chunk carries the new place, the others the old: together they are one step."""
        before = self._committed
        if turn.reached is not None:
            self._committed = turn.reached
        name = self._context.name
        for chunk in chunks(
            name,
            [
                part
                for tag, packed in turn.by_tag.items()
                for part in filtered(self._context, tag, bytes(packed))
            ],
            (name, turn.first, turn.reached.cursor if turn.reached else ""),
            before=self._position(before) if before else None,
            after=self._position(turn.reached) if turn.reached else None,
            # Without a database nobody will know where to read on.
            vanishing=None if self._settings.db else _always,
        ):
            await self._context.intake.submit(chunk)
        await asyncio.sleep(0)

    def _position(self, place: Place) -> Position:
        return Position(self._key, "journal", place.realtime_us, cursor=place.cursor)

    def _tell(self, gap: Gap | None) -> None:
        """Counts what journald deleted before it was read; with filters that may be more than was wanted."""
        if gap is None:
            return
        context = self._context
        context.log.error(
            "journald has deleted %s unread entries: raise SystemMaxUse of journald, or see why the outputs "
            "were slow",
            gap.entries or "an unknown number of",
        )
        loss = Loss(
            cause="journal_vacuumed",
            records=gap.entries,
            size_bytes=0,
            stream=context.plugin.tag,
            source=context.name,
            since_ns=gap.since_us * 1000,
            until_ns=gap.until_us * 1000,
        )
        context.intake.report_loss(loss)


def make(settings: Settings, context: InputContext) -> Input:
    """Raises PositionsUnusable."""
    return Systemd(settings, context)

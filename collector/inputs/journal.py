"""The journal as one stream of entries, by libsystemd: where reading stands, and what vanished unread.

journald deletes its oldest files at its own bounds (SystemMaxUse and others), read
or not. libsystemd goes on with the oldest entry that is left and says nothing; but
a cursor holds the number that journald gave the entry, so what is missing between
two entries can be counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collector.errors import OperatorError

JOURNAL_FOLDERS = ("var/log/journal", "run/log/journal")

# libsystemd decompresses a field up to here (its own default is 64 KiB, journald's for one line 48 KiB; a
# field of the native protocol may have 768 MiB). What is longer is cut by whoever reads the entries.
MAX_FIELD_BYTES = 2 << 20

SD_JOURNAL_INVALIDATE = 2
SD_JOURNAL_LOCAL_ONLY = 1

Fields = dict[str, Any]
"""Of one entry, in the journal's order: bytes, or a list of them where a field is repeated."""


@dataclass(frozen=True, slots=True)
class Entry:
    fields: Fields
    realtime_us: int
    cursor: str


@dataclass(frozen=True, slots=True)
class Place:
    """Of the entry that was read last. Times are journald's, in microseconds since the epoch."""

    cursor: str
    realtime_us: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries that are gone: `entries` of all units together, 0 where their number can't be told."""

    entries: int
    since_us: int
    until_us: int


def sequence_of(cursor: str) -> tuple[str, int] | None:
    """The writer's id and its number for the entry, out of `s=ID;i=HEX;...`; None for another form.

    sd_journal_get_cursor(3) calls a cursor opaque; journalctl --output=json and other readers of
    __CURSOR rely on its parts all the same, which are the same since systemd 183.
    """
    parts = dict(part.partition("=")[::2] for part in cursor.split(";"))
    try:
        return parts["s"], int(parts["i"], 16)
    except (KeyError, ValueError):
        return None


def missing_between(last: Place, following: Place) -> Gap | None:
    """What is gone between the entry read last and the oldest that is left behind it; None: nothing."""
    before, after = sequence_of(last.cursor), sequence_of(following.cursor)
    if before is None or after is None or before[0] != after[0]:
        # A journal begun anew numbers from 1; what the old one had at the end nobody knows.
        return Gap(0, last.realtime_us, following.realtime_us)
    entries = after[1] - before[1] - 1
    return Gap(entries, last.realtime_us, following.realtime_us) if entries > 0 else None


class Journal:
    """A reader. Not for two threads at a time. `folder` "" means this machine's own journals."""

    def __init__(self, folder: str, matches: Sequence[str], *, all_must_match: bool = False) -> None:
        """Raises OSError, ValueError (a match that is not `FIELD=value`)."""
        self._folder = folder
        self._reader = _open(folder)
        try:
            for number, match in enumerate(matches):
                if number:
                    join = self._reader.add_conjunction if all_must_match else self._reader.add_disjunction
                    join()
                self._reader.add_match(match)
        except BaseException:
            self._reader.close()
            raise
        self.last: Place | None = None
        self._stands_on_unread = False

    def fileno(self) -> int:
        """Readable when something has changed, once this was called."""
        return int(self._reader.fileno())

    @property
    def tells_changes(self) -> bool:
        """False on a network file system, where the kernel does not."""
        return bool(self._reader.reliable_fd())

    def to_tail(self) -> None:
        """Only what is written from now on."""
        self._reader.seek_tail()
        # It stands behind the last entry, and _next() would give that one again unless it is visited first.
        if self._reader._previous():
            self.last = self._here()

    def to_head(self) -> None:
        self._reader.seek_head()

    def to_time(self, realtime_us: int) -> None:
        """Entries from that time on."""
        self._reader.seek_realtime(realtime_us / 1e6)

    def to(self, place: Place) -> Gap | None:
        """Behind an entry, or where it would be if it is gone; and what is gone with it."""
        self.last = place
        self._reader.seek_head()
        try:
            self._reader.seek_cursor(place.cursor)
        except (OSError, ValueError):  # not a cursor of this systemd
            self._reader.seek_realtime(place.realtime_us / 1e6)
        self._stands_on_unread = bool(self._reader._next()) and not self._is_at(place)
        return self._gap()

    def changed(self) -> Gap | None:
        """To be called when the descriptor is readable, before more is taken."""
        if self._reader.process() != SD_JOURNAL_INVALIDATE or self.last is None:
            return None
        return self._gap()

    def take(self) -> Entry | None:
        """The next entry, None at the end. Raises OSError for one that can't be read; a next call goes on."""
        if not self._stands_on_unread and not self._reader._next():
            return None
        self._stands_on_unread = False
        self.last = place = self._here()
        return Entry(self._reader._get_all(), place.realtime_us, place.cursor)

    def close(self) -> None:
        self._reader.close()

    def _here(self) -> Place:
        return Place(self._reader._get_cursor(), self._reader._get_realtime())

    def _is_at(self, place: Place) -> bool:
        try:
            return bool(self._reader.test_cursor(place.cursor))
        except (OSError, ValueError):
            return False

    def _gap(self) -> Gap | None:
        """Matches hide what is left, so a reader without any looks."""
        assert self.last is not None
        looker = _open(self._folder)
        try:
            return _gap_behind(looker, self.last)
        finally:
            looker.close()


def _gap_behind(looker: Any, last: Place) -> Gap | None:
    try:
        looker.seek_cursor(last.cursor)
    except (OSError, ValueError):
        looker.seek_realtime(last.realtime_us / 1e6)
    if not looker._next():
        return None
    try:
        if looker.test_cursor(last.cursor):
            return None
    except (OSError, ValueError):
        return None
    return missing_between(last, Place(looker._get_cursor(), looker._get_realtime()))


def _open(folder: str) -> Any:
    from systemd import journal

    reader = journal.Reader(path=folder) if folder else journal.Reader(flags=SD_JOURNAL_LOCAL_ONLY)
    reader.data_threshold = MAX_FIELD_BYTES
    return reader


def folder_of(path: str, host_root: str) -> str:
    """The folder to read, "" for this machine's own. Raises OperatorError where there is no journal."""
    try:
        import systemd.journal  # noqa: F401
    except ImportError as error:
        raise OperatorError(
            f"The Python module systemd can't be loaded: {error}.",
            "The journal is not read.",
            "Install python3-systemd and start from a virtual environment that sees system packages.",
        ) from None
    folders = [path] if path else [os.path.join(host_root, folder) for folder in JOURNAL_FOLDERS]
    found = next((folder for folder in folders if os.path.isdir(folder)), None)
    if found is None:
        raise OperatorError(
            f"There is no journal in {' or '.join(folders)}.",
            "The journal is not read until there is one.",
            "Remove the systemd input, or mount the journal's folder.",
        )
    return found if path or host_root != "/" else ""

"""How far each file is delivered, kept in SQLite so that it survives a restart.

One database for each `DB` key, by default in WAL mode. With synchronous=NORMAL a
commit is a write without fsync, and a power cut can take the last commits but never
break the database: positions then are a little old, and records are sent again, not
lost. `DB.sync full` lets each commit reach the disk.

A database of Fluent Bit at the same path is taken over once, when our table is
made: its table `in_tail_files` knows no device, so its rows are found by inode
and path (device -1 in ours); `in_systemd_cursor` holds one cursor. Its own tables
are left as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collector.delivery.chunk import FileKey, Position
from collector.delivery.database import DatabaseModes, position_of, position_row, set_aside, signed
from collector.delivery.inherited import present
from collector.delivery.stretches import SUFFIX, Stretches
from collector.errors import OperatorError
from collector.service.metrics import Metrics

if TYPE_CHECKING:
    from collector.delivery.spooling import Spooling

SCHEMA_VERSION = 1

_CREATE = """
CREATE TABLE podwitness_positions (
  device INTEGER NOT NULL,
  inode INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  fingerprint_bytes INTEGER NOT NULL,
  path BLOB NOT NULL,
  offset INTEGER NOT NULL,
  stdout_partial INTEGER NOT NULL,
  stderr_partial INTEGER NOT NULL,
  cursor TEXT NOT NULL,
  PRIMARY KEY (device, inode)
) WITHOUT ROWID
"""
_TAKE_OVER = """
INSERT OR IGNORE INTO podwitness_positions
SELECT -1, inode, x'', 0, CAST(name AS BLOB), offset, -1, -1, ''
FROM in_tail_files ORDER BY created DESC
"""
_TAKE_OVER_JOURNAL = """
INSERT OR IGNORE INTO podwitness_positions
SELECT -2, 0, x'', 0, CAST('journal' AS BLOB), 0, -1, -1, cursor
FROM in_systemd_cursor ORDER BY updated DESC LIMIT 1
"""
_WRITE = "INSERT OR REPLACE INTO podwitness_positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM podwitness_positions WHERE device = ? AND inode = ?"

FOREIGN_DEVICE = -1
# Places in a journal have no file of their own; the inode tells inputs apart, 0 is Fluent Bit's.
JOURNAL_DEVICE = -2

# Another process with the database open (a Fluent Bit that is just ending) holds its lock for single commits.
BUSY_S = 5.0

COMPLAIN_EVERY_S = 60.0

_Place = tuple[int, int]


class _Moved(NamedTuple):
    """Where content is now that begins with `head`."""

    head: bytes
    to: FileKey


class PositionsUnusable(OperatorError):
    """The position database can't be opened or written."""


class Positions:
    """The positions of one database; with `path` None they live in memory only.

    `record` is cheap; what was recorded is written by `commit`. Raises
    PositionsUnusable. A database locked by another process is waited for `busy_s`.
    """

    def __init__(
        self,
        path: Path | None,
        modes: DatabaseModes = DatabaseModes(),  # noqa: B008 - frozen
        *,
        log: logging.Logger,
        metrics: Metrics,
        busy_s: float = BUSY_S,
    ) -> None:
        self.path = path
        self._modes = modes
        self._busy_s = busy_s
        self._log = log
        self._metrics = metrics
        self._known: dict[_Place, Position] = {}
        self._ahead: dict[_Place, Position] = {}
        self._changed: dict[_Place, Position | None] = {}
        self._moved: dict[_Place, _Moved] = {}
        self._is_aside = False  # a damaged database, for which there is no other yet
        self._complained_s: float | None = None  # since the last commit that succeeded
        self._writing = asyncio.Lock()
        self._in_use = threading.Lock()  # a cancelled `commit` leaves its thread behind, still writing
        is_begun = path is not None and path.exists()
        self._database = None if path is None else self._open(path)
        if self._database is not None:
            self._known = {_place(position.file): position for position in _read(self._database)}
        self.stretches = None if path is None else _stretches_beside(path, log, is_begun=is_begun)

    def load(self, file: FileKey) -> Position | None:
        """The position of the file with this device and inode.

        The fingerprint of the answer is that of the file it was recorded for:
        the caller compares it, because inodes are used again. A row that was
        taken over from Fluent Bit has none; it counts while its path still names
        this file.
        """
        found = self._ahead.get(_place(file)) or self._known.get(_place(file))
        if found is not None:
            return found
        foreign = self._known.get((FOREIGN_DEVICE, file.inode))
        if foreign is not None and _names(foreign.path, file):
            return replace(foreign, file=FileKey(file.device, file.inode))
        return None

    def begin_behind(self, positions: Iterable[Position]) -> None:
        """For an input that a reload begins anew: what is before these is under way, though not delivered.

        They answer `load` and are never written, so that a crash reads again what was not delivered.
        """
        self._ahead = {_place(position.file): position for position in positions}

    def all(self) -> tuple[Position, ...]:
        """Every known position, in no particular order."""
        return tuple(self._known.values())

    def record(self, position: Position) -> None:
        """Moves a file's position; written at the next `commit`."""
        self._set(_place(position.file), position)
        self._set((FOREIGN_DEVICE, position.file.inode), None)
        if self.stretches is not None:
            self.stretches.pass_by(position.file, position.offset)
        if moved := self._moved.get(_place(position.file)):
            if position.file.fits(moved.head):
                self._record_moved(position, moved)
            else:  # the first of other content in that file; all before it is delivered
                del self._moved[_place(position.file)]

    def follow_content(self, file: FileKey, head: bytes, to: FileKey) -> None:
        """What a file had is now in the file `to` (compressed, or copied before a truncation).

        What is under way is still of `file`: its positions count for `to` as well, as
        far as they are of content that begins with `head`.
        """
        if _place(file) != _place(to):
            self._moved[_place(file)] = _Moved(head, to)
            if self.stretches is not None:
                self.stretches.follow_content(file, head, to)

    def _record_moved(self, position: Position, moved: _Moved) -> None:
        known = self._known.get(_place(moved.to))
        if known is None or not known.file.fits(moved.head) or known.offset < position.offset:
            self._set(_place(moved.to), replace(position, file=moved.to))

    def forget(self, file: FileKey) -> None:
        """Drops the position of a file that is gone."""
        self._set(_place(file), None)
        self._moved.pop(_place(file), None)
        if self.stretches is not None:
            self.stretches.forget(file)

    def _set(self, place: _Place, position: Position | None) -> None:
        if position is not None:
            self._known[place] = position
        elif self._known.pop(place, None) is None:
            return
        if self._database is not None:
            self._changed[place] = position

    def keep_only(self, files: Iterable[FileKey]) -> int:
        """Drops the positions of all other files; returns how many. For the first scan after start."""
        present = {_place(file) for file in files}
        inodes = {inode for _, inode in present}
        gone = [
            place
            for place in self._known
            if place not in present
            and place[0] != JOURNAL_DEVICE
            and not (place[0] == FOREIGN_DEVICE and place[1] in inodes)
        ]
        for place in gone:
            self._set(place, None)
        return len(gone)

    async def commit(self) -> bool:
        """Writes what was recorded since the last commit, in one transaction; whether that succeeded.

        In a thread: 200 rows take 0.7 ms, but every thousandth page makes SQLite
        copy its log back into the database and wait for the disk, which takes 20.
        What could not be written (disk full, locked) is said, counted and written
        next time. So is what is under way when this is cancelled: the thread may not have begun.
        """
        async with self._writing:
            changed = self._take_changed()
            passed = self.stretches.take_passed() if self.stretches else []
            try:
                is_written = not changed or await asyncio.to_thread(self._write, changed)
            except asyncio.CancelledError:
                self._changed = changed | self._changed
                raise
            if not is_written:  # put back here, and not in the thread: the loop may just be recording another
                self._changed = changed | self._changed
            if self.stretches is not None:
                self.stretches.free(passed, is_committed=is_written)
            return is_written

    def set_modes(self, modes: DatabaseModes) -> None:
        """How it is written from now on. Raises PositionsUnusable."""
        if modes == self._modes or self._database is None or self.path is None:
            return
        with self._in_use:
            try:
                modes.set(self._database)
            except sqlite3.OperationalError as reason:
                raise _unusable(self.path, reason) from reason
        self._modes = modes

    def close(self) -> None:
        """Writes what is left and closes the database."""
        with self._in_use:
            changed = self._take_changed()
        if changed:
            self._write(changed)
        if self._database is not None:
            self._database.close()
            self._database = None
        if self.stretches is not None:
            self.stretches.close()

    def _take_changed(self) -> dict[_Place, Position | None]:
        changed, self._changed = self._changed, {}
        self._metrics.set("podwitness_positions", str(self.path or "memory"), to=len(self._known))
        return changed

    def _write(self, changed: dict[_Place, Position | None]) -> bool:
        assert self._database is not None
        try:
            with self._in_use:
                self._write_rows(self._database, changed)
        except (sqlite3.Error, OSError) as reason:
            self._metrics.add("podwitness_position_commit_failures_total")
            self._complain(reason)
            return False
        self._metrics.add("podwitness_position_commits_total")
        if self._complained_s is not None:
            self._complained_s = None
            self._log.info("the position database %s is written again", self.path)
        return True

    def _write_rows(self, database: sqlite3.Connection, changed: dict[_Place, Position | None]) -> None:
        forgotten = [_signed(place) for place, to in changed.items() if to is None]
        try:
            with database:
                database.executemany(_FORGET, forgotten)
                database.executemany(_WRITE, [position_row(to) for to in changed.values() if to is not None])
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as reason:
            assert self.path is not None
            database.close()
            self._database = self._replaced(self.path, reason)
            changed |= self._known  # in place: what can't be written now is all to be written next time
            with self._database:
                self._database.executemany(_WRITE, [position_row(one) for one in changed.values() if one])

    def _complain(self, reason: Exception) -> None:
        """Once, and then now and then: it is tried each second."""
        now_s = time.monotonic()
        if self._complained_s is not None and now_s < self._complained_s + COMPLAIN_EVERY_S:
            return
        self._complained_s = now_s
        self._log.error(
            "the position database %s can't be written (%s); until it can, a restart would send records "
            "again: make room on its file system, or name another DB file",
            self.path,
            reason,
        )

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            return self._connect_or_begin_anew(path)
        except (sqlite3.OperationalError, OSError) as reason:  # locked, not permitted, disk full
            raise _unusable(path, reason) from reason

    def _connect_or_begin_anew(self, path: Path) -> sqlite3.Connection:
        try:
            return _connect(path, self._modes, self._busy_s)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as reason:
            self._log.error(
                "the position database %s is damaged (%s); it was kept as %s and a new one is begun: "
                "files are read from their heads, so records are sent again, and none is left out",
                path,
                reason,
                set_aside(path),
            )
            return _connect(path, self._modes, self._busy_s)

    def _replaced(self, path: Path, damage: sqlite3.DatabaseError) -> sqlite3.Connection:
        """A new database. Raises sqlite3.OperationalError, OSError."""
        if not self._is_aside:  # else it was tried before, on a disk without room
            self._log.error(
                "the position database %s is damaged (%s); it was kept as %s and written anew: nothing is "
                "read again",
                path,
                damage,
                set_aside(path),
            )
        self._is_aside = True
        database = _connect(path, self._modes, self._busy_s)
        self._is_aside = False
        return database


def _stretches_beside(path: Path, log: logging.Logger, *, is_begun: bool) -> Stretches:
    """Those of a database that was removed are of no use: who removed it wants all sent anew."""
    place = path.with_name(path.name + SUFFIX)
    if not is_begun:
        with contextlib.suppress(OSError):
            place.unlink()
    return Stretches(place, log=log)


def _unusable(path: Path, reason: Exception) -> PositionsUnusable:
    return PositionsUnusable(
        f"The position database {path} can't be opened: {reason}.",
        "podwitness does not start without it, because it would read files from the wrong place.",
        "Check that its directory exists and is writable, and that no other process locks it.",
    )


def _connect(path: Path, modes: DatabaseModes, busy_s: float) -> sqlite3.Connection:
    # Used by one thread at a time: `_writing` sees to it.
    database = sqlite3.connect(path, timeout=busy_s, check_same_thread=False)
    try:
        modes.set(database)
        _create(database, path)
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its pages contradict each other")
    except BaseException:
        database.close()
        raise
    return database


def _create(database: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if "podwitness_positions" in tables:
        if version != SCHEMA_VERSION:
            raise PositionsUnusable(
                f"The position database {path} has schema version {version}, this podwitness knows "
                f"{SCHEMA_VERSION}.",
                "It was written by a newer podwitness.",
                "Run that version again, or move the file away to begin anew.",
            )
        return
    with database:
        database.execute(_CREATE)
        if "in_tail_files" in tables:
            database.execute(_TAKE_OVER)
        if "in_systemd_cursor" in tables:
            database.execute(_TAKE_OVER_JOURNAL)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _read(database: sqlite3.Connection) -> Iterable[Position]:
    return map(position_of, database.execute("SELECT * FROM podwitness_positions"))


def _names(path: str, file: FileKey) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == _place(file)


def _signed(place: _Place) -> _Place:
    device, inode = place
    return device, signed(inode)


def _place(file: FileKey) -> _Place:
    return file.device, file.inode


class PositionStores:
    """All position databases of the daemon, opened by inputs and written in the background.

    `inherited` are positions that the spool has from the run before, by source:
    see inherited.present().
    """

    def __init__(
        self,
        *,
        log: logging.Logger,
        metrics: Metrics,
        flush_s: float = 1.0,
        inherited: Iterable[tuple[str, Position]] = (),
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._flush_s = flush_s
        self._by_path: dict[Path | None, Positions] = {}
        self._by_source: dict[str, Positions] = {}
        self._inherited = list(inherited)
        self.spooling: Spooling | None = None
        self._forgotten = 0

    def open(
        self,
        source: str,
        path: str | None,
        modes: DatabaseModes = DatabaseModes(),  # noqa: B008 - frozen
    ) -> Positions:
        """The positions of an input; every caller of one path gets the same, in the modes of the last one.

        Raises PositionsUnusable.
        """
        place = None if path is None else Path(path).absolute()
        if place is None:
            store = self._by_source.get(source) or Positions(None, log=self._log, metrics=self._metrics)
        elif place in self._by_path:
            store = self._by_path[place]
            store.set_modes(modes)
        else:
            store = self._by_path[place] = Positions(place, modes, log=self._log, metrics=self._metrics)
        self._by_source[source] = store
        for position in (one for of_source, one in self._inherited if of_source == source):
            known = store.load(position.file)
            if known is not (found := present(known, position)):
                store.record(found)
        # Once: by the time of a reload the inode may be another file's.
        self._inherited = [one for one in self._inherited if one[0] != source]
        return store

    def begin_behind(self, source: str, positions: Iterable[Position]) -> None:
        """Before an input of that name begins anew; see Positions.begin_behind."""
        if source in self._by_source:
            self._by_source[source].begin_behind(positions)

    def record(self, source: str, position: Position) -> None:
        """What the router calls when a file's position has moved."""
        store = self._by_source.get(source)
        if store is not None:
            store.record(position)

    async def run(self) -> None:
        """Commits every `flush_s` until cancelled."""
        while True:
            await asyncio.sleep(self._flush_s)
            await self.commit()

    async def commit(self) -> None:
        """Once all are written, the spool need not keep positions any more."""
        mark = self.spooling.mark if self.spooling else 0
        if self.spooling:
            # Before the positions pass what was lost: nobody would know of it after a crash.
            await self.spooling.keep_losses()
        written = [await store.commit() for store in self._by_path.values()]
        if self.spooling and all(written) and mark > self._forgotten:
            await self.spooling.forget_positions(mark)
            self._forgotten = mark

    def close(self) -> None:
        """Writes what is left. To be called after the router has drained."""
        for store in self._by_path.values():
            store.close()

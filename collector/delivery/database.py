"""What the SQLite databases of delivery have in common: a damaged one is kept aside, not mended."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from collector.delivery.chunk import FileKey, Position

PositionRow = tuple[int, int, bytes, int, bytes, int, int, int, str]
"""device, inode, fingerprint, its bytes, path, offset, partial of stdout and of stderr, cursor."""


SYNC_HELP = (
    "How far a commit of positions waits for the disk (SQLite's `synchronous`): with `full` until it is "
    "there, with `normal` in mode WAL not at all; what a power cut takes then is sent again, not lost."
)
LOCKING_HELP = "No other process can open the database while this one runs (SQLite's `locking_mode`)."
JOURNAL_HELP = (
    "SQLite's `journal_mode`. With WAL no crash breaks the database; with MEMORY and OFF one in a commit "
    "can: it is kept aside then, and files are read from their heads."
)


@dataclass(frozen=True, slots=True)
class DatabaseModes:
    """How SQLite writes a database: Fluent Bit's keys DB.sync, DB.journal_mode and DB.locking."""

    sync: str = "normal"
    journal_mode: str = "wal"
    is_exclusive: bool = False

    def set(self, database: sqlite3.Connection) -> None:
        """Between transactions. Raises sqlite3.OperationalError where another process has it locked."""
        if not self.is_exclusive and database.execute("PRAGMA locking_mode").fetchone() == ("exclusive",):
            # A WAL that was begun without shared memory can't be shared: SQLite would keep the lock.
            database.execute("PRAGMA journal_mode = DELETE")
        database.execute(f"PRAGMA locking_mode = {'EXCLUSIVE' if self.is_exclusive else 'NORMAL'}")
        database.execute(f"PRAGMA journal_mode = {self.journal_mode}")
        database.execute(f"PRAGMA synchronous = {self.sync}")
        # The setting neither takes the lock nor lets go of it; the next access does.
        if self.is_exclusive:
            _lock(database)
        else:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _lock(database: sqlite3.Connection) -> None:
    try:
        database.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        database.execute("PRAGMA locking_mode = NORMAL")
        raise
    database.execute("COMMIT")


def set_aside(path: Path) -> Path:
    """Renames a database with all that belongs to it; the new name."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        # They belong to the damaged file; a new database would take them for its own.
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def position_row(position: Position) -> PositionRow:
    file = position.file
    stdout, stderr = position.partials
    return (
        file.device,
        signed(file.inode),
        file.fingerprint,
        file.fingerprint_bytes,
        # The path as bytes: names in containers need not be UTF-8.
        os.fsencode(position.path),
        position.offset,
        stdout,
        stderr,
        position.cursor,
    )


def position_of(row: PositionRow) -> Position:
    device, inode, fingerprint, fingerprint_bytes, path, offset, stdout, stderr, cursor = row
    key = FileKey(device, inode % 2**64, fingerprint, fingerprint_bytes)
    return Position(key, os.fsdecode(path), offset, (stdout, stderr), cursor)


def signed(inode: int) -> int:
    """SQLite's integers are signed; overlayfs and others use all 64 bits of an inode number."""
    return inode - 2**64 if inode >= 2**63 else inode

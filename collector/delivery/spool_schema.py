"""The spool's tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from collector.errors import OperatorError

SCHEMA_VERSION = 1

_CREATE = (
    # The entries last: what a query of the rest reads is then the first page of a row only.
    """CREATE TABLE chunks (
      seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL, tag BLOB NOT NULL, source TEXT NOT NULL,
      records INTEGER NOT NULL, worth INTEGER NOT NULL, created_ns INTEGER NOT NULL,
      raw_bytes INTEGER NOT NULL, path BLOB NOT NULL, to_offset INTEGER NOT NULL,
      checksum INTEGER, entries BLOB NOT NULL)""",
    """CREATE TABLE waiting (
      output TEXT NOT NULL, seq INTEGER NOT NULL, worth INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
      PRIMARY KEY (output, seq)) WITHOUT ROWID""",
    "CREATE INDEX waiting_by_worth ON waiting (output, worth, seq)",
    "CREATE INDEX waiting_by_seq ON waiting (seq)",
    "CREATE TABLE outputs (name TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE positions (
      source TEXT NOT NULL, mark INTEGER NOT NULL,
      device INTEGER NOT NULL, inode INTEGER NOT NULL, fingerprint BLOB NOT NULL,
      fingerprint_bytes INTEGER NOT NULL, path BLOB NOT NULL, offset INTEGER NOT NULL,
      stdout_partial INTEGER NOT NULL, stderr_partial INTEGER NOT NULL, cursor TEXT NOT NULL,
      PRIMARY KEY (source, device, inode)) WITHOUT ROWID""",
)


class SpoolUnusable(OperatorError):
    """The spool can't be opened."""


def not_opened(path: Path, reason: Exception) -> SpoolUnusable:
    return SpoolUnusable(
        f"The spool {path} can't be opened: {reason}.",
        "podwitness does not start without it, because what it promised to keep may be there.",
        "Check that storage.path can be written, has room, and is used by one podwitness only.",
    )


def create(database: sqlite3.Connection, path: Path, last_seq: int) -> None:
    """Makes what is not there. Raises SpoolUnusable where it is of another version."""
    # Beside the version: one that does not know the table leaves it alone.
    database.execute("CREATE TABLE IF NOT EXISTS losses (listener TEXT PRIMARY KEY, untold BLOB NOT NULL)")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise SpoolUnusable(
            f"The spool {path} has schema version {version}, this podwitness knows {SCHEMA_VERSION}.",
            "It was written by a newer podwitness.",
            "Run that version again until it is empty, or move the file away to begin anew.",
        )
    if version == 0:
        with database:
            database.execute("BEGIN EXCLUSIVE")
            for statement in _CREATE:
                database.execute(statement)
            # Numbers are not used again: chunks in memory may have had a row in a database that was damaged.
            database.execute("INSERT INTO sqlite_sequence VALUES ('chunks', ?)", (last_seq,))
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def read_through(database: sqlite3.Connection) -> None:
    """Every row but the chunks', so that damage shows at the start, when it can be kept aside.

    A whole check of a spool of a gigabyte would take seconds.
    """
    for table in ("losses", "outputs", "positions"):
        database.execute(f"SELECT * FROM {table}").fetchall()

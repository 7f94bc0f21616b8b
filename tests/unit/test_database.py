"""What databases of delivery share: positions as rows, and setting a damaged file aside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from collector.delivery.chunk import FileKey, Position
from collector.delivery.database import DatabaseModes, position_of, position_row, set_aside, signed


@pytest.mark.parametrize("inode", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_position_comes_back_from_its_row(inode: int) -> None:
    position = Position(FileKey(5, inode, b"f" * 16, 64), "/var/log/\udcff", 9, (3, -1), "cursor")
    assert position_of(position_row(position)) == position
    assert -(2**63) <= signed(inode) < 2**63


def test_all_that_belongs_to_a_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for suffix in ("", "-wal"):
        (tmp_path / f"a.db{suffix}").write_text(suffix)
    aside = set_aside(path)
    assert {one.name for one in tmp_path.iterdir()} == {aside.name, f"{aside.name}-wal"}
    assert aside.name.startswith("a.db.corrupt-")


@pytest.mark.parametrize(("sync", "level"), [("off", 0), ("normal", 1), ("full", 2), ("extra", 3)])
def test_sync_is_what_sqlite_calls_synchronous(tmp_path: Path, sync: str, level: int) -> None:
    database = sqlite3.connect(tmp_path / "a.db")
    DatabaseModes(sync).set(database)
    assert database.execute("PRAGMA synchronous").fetchone() == (level,)
    database.close()


@pytest.mark.parametrize("before", ["wal", "delete", "off"])
@pytest.mark.parametrize("after", ["delete", "truncate", "persist", "memory", "wal", "off"])
def test_the_journal_of_a_database_changes(tmp_path: Path, before: str, after: str) -> None:
    database = sqlite3.connect(tmp_path / "a.db")
    DatabaseModes(journal_mode=before.upper()).set(database)
    DatabaseModes(journal_mode=after.upper()).set(database)
    assert database.execute("PRAGMA journal_mode").fetchone() == (after,)
    database.close()


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_a_locked_database_is_of_one_process_until_it_is_shared_again(
    tmp_path: Path, journal_mode: str
) -> None:
    database = sqlite3.connect(tmp_path / "a.db")
    other = sqlite3.connect(tmp_path / "a.db", timeout=0)
    DatabaseModes(journal_mode=journal_mode).set(database)
    with database:
        database.execute("CREATE TABLE a (b)")
    assert other.execute("SELECT count(*) FROM a").fetchall() == [(0,)]
    other.close()
    DatabaseModes(journal_mode=journal_mode, is_exclusive=True).set(database)
    other = sqlite3.connect(tmp_path / "a.db", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT count(*) FROM a")
    with database:
        database.execute("INSERT INTO a VALUES (1)")
    DatabaseModes(journal_mode=journal_mode).set(database)
    assert other.execute("SELECT count(*) FROM a").fetchall() == [(1,)]
    database.close()
    other.close()


def test_a_database_that_another_has_open_is_not_locked_and_can_be_written(tmp_path: Path) -> None:
    """In WAL mode whoever has looked at it once stands in the way until it is closed."""
    database = sqlite3.connect(tmp_path / "a.db", timeout=0)
    DatabaseModes().set(database)
    with database:
        database.execute("CREATE TABLE a (b)")
    other = sqlite3.connect(tmp_path / "a.db", timeout=0)
    other.execute("SELECT count(*) FROM a").fetchone()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        DatabaseModes(is_exclusive=True).set(database)
    with database:
        database.execute("INSERT INTO a VALUES (1)")
    assert other.execute("SELECT count(*) FROM a").fetchall() == [(1,)]
    database.close()
    other.close()


def test_a_database_that_is_locked_from_its_beginning_can_be_shared_later(tmp_path: Path) -> None:
    """SQLite shares no WAL that it began without shared memory."""
    database = sqlite3.connect(tmp_path / "a.db")
    DatabaseModes(is_exclusive=True).set(database)
    with database:
        database.execute("CREATE TABLE a (b)")
    DatabaseModes().set(database)
    other = sqlite3.connect(tmp_path / "a.db", timeout=0)
    assert other.execute("SELECT count(*) FROM a").fetchall() == [(0,)]
    database.close()
    other.close()

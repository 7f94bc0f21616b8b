"""Positions: kept over restarts, taken over from Fluent Bit, and what happens to a damaged database."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from collector.delivery import positions
from collector.delivery.chunk import FileKey, Position, fingerprint
from collector.delivery.database import DatabaseModes
from collector.delivery.positions import Positions, PositionStores, PositionsUnusable
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.polling import until_so

LOG = logging.getLogger("test")


def opened(path: Path | None) -> Positions:
    return Positions(path, log=LOG, metrics=Metrics(TABLE))


def position(offset: int, *, inode: int = 7, device: int = 1, path: str = "/var/log/a") -> Position:
    return Position(FileKey(device, inode, b"f" * 16, 64), path, offset, (offset - 1, -1), "c")


def test_a_position_survives_a_restart_in_all_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    kept = position(5, inode=2**64 - 3, path="/var/log/\udcff")
    first = opened(path)
    first.record(position(3))
    first.record(position(9))
    first.record(kept)
    first.close()
    second = opened(path)
    assert second.load(FileKey(1, 7)) == position(9)
    assert second.load(FileKey(1, 2**64 - 3)) == kept
    assert second.load(FileKey(2, 7)) is None
    assert set(second.all()) == {position(9), kept}
    second.close()


def test_a_commit_is_on_disk_without_close(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    first = opened(path)
    first.record(position(3))
    asyncio.run(first.commit())
    second = opened(path)
    assert second.load(FileKey(1, 7)) == position(3)
    for store in (first, second):
        store.close()


def test_what_a_cancelled_commit_had_not_begun_to_write_is_written_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    first = opened(path)

    async def scenario() -> None:
        free = threading.Event()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        busy = asyncio.create_task(asyncio.to_thread(free.wait))
        await asyncio.sleep(0)
        first.record(position(3))
        commit = asyncio.create_task(first.commit())
        await asyncio.sleep(0)
        commit.cancel()
        await asyncio.wait((commit,))
        free.set()
        await busy

    asyncio.run(scenario())
    first.close()
    second = opened(path)
    assert second.load(FileKey(1, 7)) == position(3)
    second.close()


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    first = opened(path)
    for inode in (1, 2, 3):
        first.record(position(3, inode=inode))
    asyncio.run(first.commit())
    first.forget(FileKey(1, 1))
    assert first.keep_only([FileKey(1, 3)]) == 1
    first.close()
    second = opened(path)
    assert [found.file.inode for found in second.all()] == [3]
    second.close()


def test_without_a_database_positions_live_in_memory() -> None:
    store = opened(None)
    store.record(position(3))
    asyncio.run(store.commit())
    assert store.load(FileKey(1, 7)) == position(3)
    store.close()


@pytest.mark.parametrize("damage", ["garbage", "page"])
def test_a_damaged_database_is_kept_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "tail.db"
    if damage == "garbage":
        path.write_bytes(b"this is no database" * 1000)
    else:
        first = opened(path)
        for inode in range(2000):
            first.record(position(3, inode=inode))
        first.close()
        content = bytearray(path.read_bytes())
        content[4096 * 2 : 4096 * 3] = b"\xff" * 4096
        path.write_bytes(content)
    store = opened(path)
    assert store.all() == ()
    store.record(position(3))
    store.close()
    assert "is damaged" in caplog.text
    (aside,) = tmp_path.glob("tail.db.corrupt-*[0-9]")
    assert aside.stat().st_size > 0
    assert len(opened(path).all()) == 1


def fluent_bit_database(path: Path, rows: list[tuple[str, int, int]]) -> None:
    """As plugins/in_tail/tail_sql.h makes it; rows of name, offset, inode."""
    database = sqlite3.connect(path)
    with database:
        database.execute(
            "CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, "
            "inode INTEGER, created INTEGER, rotated INTEGER DEFAULT 0)"
        )
        database.executemany(
            "INSERT INTO in_tail_files (name, offset, inode, created) VALUES (?, ?, ?, 1)", rows
        )
    database.close()


def key_of(path: Path) -> FileKey:
    found = path.stat()
    return FileKey(found.st_dev, found.st_ino)


def test_a_database_of_fluent_bit_is_taken_over_once(tmp_path: Path) -> None:
    path, log, other = tmp_path / "flb-kube.db", tmp_path / "a.log", tmp_path / "b.log"
    log.touch()
    other.touch()
    link = tmp_path / "link.log"
    link.symlink_to(log)
    file, elsewhere = key_of(log), FileKey(key_of(log).device + 1, key_of(log).inode)
    fluent_bit_database(
        path, [(str(link), 100, file.inode), (str(log), 5, key_of(other).inode), ("/gone", 9, 2)]
    )
    first = opened(path)
    assert first.load(file) == Position(file, str(link), 100)
    assert first.load(elsewhere) is None
    assert first.load(key_of(other)) is None
    first.record(Position(file, str(log), 200))
    assert first.keep_only([file, key_of(other)]) == 1
    first.close()
    second = opened(path)
    assert {found.offset for found in second.all()} == {200, 5}
    assert second.load(file) == Position(file, str(log), 200)
    second.close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM in_tail_files").fetchone() == (3,)


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    opened(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(PositionsUnusable, match="has schema version 99"):
        opened(path)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PositionsUnusable, match="can't be opened: unable to open database file"):
        opened(tmp_path / "none" / "tail.db")


def test_a_commit_that_fails_is_said_counted_and_made_up_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tail.db"
    metrics = Metrics(TABLE)
    store = Positions(path, log=LOG, metrics=metrics, busy_s=0.01)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    store.record(position(3))
    asyncio.run(store.commit())
    assert metrics.total("podwitness_position_commit_failures_total") == 1
    asyncio.run(store.commit())
    assert metrics.total("podwitness_position_commit_failures_total") == 2
    assert caplog.text.count("can't be written (database is locked)") == 1, "not each second"
    blocker.execute("ROLLBACK")
    blocker.close()
    caplog.set_level(logging.INFO)
    asyncio.run(store.commit())
    assert "is written again" in caplog.text
    assert metrics.total("podwitness_position_commits_total") == 1
    store.close()
    assert opened(path).load(FileKey(1, 7)) == position(3)


def test_stores_share_a_path_and_route_by_source(tmp_path: Path) -> None:
    async def scenario() -> None:
        stores = PositionStores(log=LOG, metrics=Metrics(TABLE), flush_s=0.01)
        path = str(tmp_path / "tail.db")
        shared = stores.open("tail.0", path)
        assert stores.open("tail.1", path) is shared
        own = stores.open("tail.2", None)
        stores.record("tail.1", position(1))
        stores.record("tail.2", position(2))
        stores.record("nobody", position(3))
        running = asyncio.create_task(stores.run())
        await until_so(lambda: opened(tmp_path / "tail.db").load(FileKey(1, 7)))
        running.cancel()
        assert (own.load(FileKey(1, 7)), shared.load(FileKey(1, 7))) == (position(2), position(1))
        stores.close()

    asyncio.run(scenario())


def test_losses_are_on_disk_before_positions_pass_them(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    stores = PositionStores(log=LOG, metrics=Metrics(TABLE))
    stores.open("tail.0", str(path))
    stores.record("tail.0", position(1))
    seen = []

    class Kept:
        mark = 0

        async def keep_losses(self) -> None:
            seen.append(opened(path).load(FileKey(1, 7)))

    stores.spooling = Kept()  # type: ignore[assignment]
    asyncio.run(stores.commit())
    assert seen == [None]
    assert opened(path).load(FileKey(1, 7)) == position(1)
    stores.close()


@pytest.mark.parametrize("sync", ["extra", "full", "off"])
def test_a_database_is_written_as_its_input_says(tmp_path: Path, sync: str) -> None:
    """Two inputs with one file: as the last one says; a reload changes it in place."""
    path = tmp_path / "tail.db"
    stores = PositionStores(log=LOG, metrics=Metrics(TABLE))
    store = stores.open("tail.0", str(path), DatabaseModes("full", "WAL"))
    assert synchronous(store) == 2
    assert stores.open("tail.1", str(path), DatabaseModes(sync, "TRUNCATE")) is store
    assert synchronous(store) == {"extra": 3, "full": 2, "off": 0}[sync]
    store.record(position(3))
    asyncio.run(stores.commit())
    assert not path.with_name("tail.db-wal").exists()
    stores.close()
    assert opened(path).load(FileKey(1, 7)) == position(3)


def synchronous(store: Positions) -> int:
    assert store._database is not None
    return int(store._database.execute("PRAGMA synchronous").fetchone()[0])


def test_a_locked_database_stops_whoever_comes_second(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    first = Positions(path, DatabaseModes(is_exclusive=True), log=LOG, metrics=Metrics(TABLE))
    with pytest.raises(PositionsUnusable, match="can't be opened: database is locked"):
        Positions(path, log=LOG, metrics=Metrics(TABLE), busy_s=0.01)
    first.close()
    opened(path).close()


def test_modes_that_another_process_stands_against_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    store = Positions(path, log=LOG, metrics=Metrics(TABLE), busy_s=0.01)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(PositionsUnusable, match="database is locked"):
        store.set_modes(DatabaseModes("full", "DELETE"))
    blocker.close()
    store.record(position(3))
    assert asyncio.run(store.commit())
    store.close()
    assert opened(path).load(FileKey(1, 7)) == position(3)


def damage(store: Positions) -> None:
    """All pages but the first, while it is open."""
    assert store.path is not None
    assert store._database is not None
    store._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store._database.execute("PRAGMA cache_size = 0").fetchall()
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (store.path.stat().st_size - 4096))


def test_a_database_that_is_damaged_while_it_is_in_use_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(tmp_path / "tail.db")
    for inode in range(2000):
        store.record(position(inode + 1, inode=inode + 1))
    assert asyncio.run(store.commit())
    damage(store)
    store.record(position(9, inode=3000))
    store.forget(FileKey(1, 1))
    assert asyncio.run(store.commit())
    assert "written anew: nothing is read again" in caplog.text
    store.close()
    assert len(list(tmp_path.glob("tail.db.corrupt-*[0-9]"))) == 1
    again = opened(tmp_path / "tail.db")
    assert len(again.all()) == 2000
    assert again.load(FileKey(1, 2000)) == position(2000, inode=2000)
    again.close()


@pytest.mark.parametrize("refused", ["set_aside", "_create"])
def test_where_no_other_can_be_begun_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Fake: a file system that is read-only after an error refuses to rename, or to make a file."""

    def refuse(*args: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    store = opened(tmp_path / "tail.db")
    for inode in range(2000):
        store.record(position(inode + 1, inode=inode + 1))
    assert asyncio.run(store.commit())
    damage(store)
    with monkeypatch.context() as broken:
        broken.setattr(positions, refused, refuse)
        for inode in (3000, 3001):
            store.record(position(9, inode=inode))
            assert not asyncio.run(store.commit())
    assert asyncio.run(store.commit())
    store.close()
    assert len(list(tmp_path.glob("tail.db.corrupt-*[0-9]"))) == 1
    again = opened(tmp_path / "tail.db")
    assert len(again.all()) == 2002
    again.close()


def test_a_damaged_database_on_a_disk_that_is_read_only_is_told_to_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Path:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (tmp_path / "tail.db").write_bytes(b"this is no database" * 1000)
    monkeypatch.setattr(positions, "set_aside", refuse)
    with pytest.raises(PositionsUnusable, match="Read-only"):
        opened(tmp_path / "tail.db")


class Recorded(dict[tuple[int, int], Position | None]):
    """What was recorded since a commit began, and who puts what that could not write before it."""

    thread: threading.Thread | None = None

    def __ror__(self, before: Any) -> Any:
        self.thread = threading.current_thread()
        return {**before, **self}


def test_what_could_not_be_written_is_put_back_by_the_loop_which_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread it would take away what is recorded in that moment. Fake: a disk without room."""
    store, recorded = opened(tmp_path / "tail.db"), Recorded()

    def refuse(*args: object) -> None:
        store._changed = recorded
        raise sqlite3.OperationalError("database or disk is full")

    store.record(position(5))
    with monkeypatch.context() as full:
        full.setattr(store, "_write_rows", refuse)
        assert not asyncio.run(store.commit())
    assert recorded.thread is threading.main_thread()
    assert asyncio.run(store.commit())
    store.close()
    assert opened(tmp_path / "tail.db").all() == (position(5),)


def test_a_full_disk_is_said_counted_and_got_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Positions stay in memory meanwhile; nothing else stops."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=True)
    try:
        metrics = Metrics(TABLE)
        store = Positions(tmp_path / "tail.db", log=LOG, metrics=metrics)
        (tmp_path / "other").write_bytes(bytes(free_bytes(tmp_path)))
        for inode in range(3000):
            store.record(position(inode + 1, inode=inode + 1))
        assert not asyncio.run(store.commit())
        assert metrics.value("podwitness_position_commit_failures_total") == 1
        assert "make room on its file system" in caplog.text
        assert store.load(FileKey(1, 9)) == position(9, inode=9)
        (tmp_path / "other").unlink()
        for inode in range(2900):
            store.forget(FileKey(1, inode + 1))
        assert asyncio.run(store.commit())
        store.close()
        again = opened(tmp_path / "tail.db")
        assert len(again.all()) == 100
        again.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def test_positions_of_the_spool_go_before_older_ones(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    first = opened(path)
    first.record(position(5, inode=1))
    first.record(position(9, inode=2))
    first.close()
    inherited = [
        ("tail.0", position(7, inode=1)),
        ("tail.0", position(8, inode=2)),
        ("tail.0", position(3, inode=3)),
        ("tail.1", position(99, inode=1)),
    ]
    stores = PositionStores(log=LOG, metrics=Metrics(TABLE), inherited=inherited)
    store = stores.open("tail.0", str(path))
    assert {one.file.inode: one.offset for one in store.all()} == {1: 7, 2: 9, 3: 3}
    asyncio.run(stores.commit())
    stores.close()
    again = opened(path)
    assert {one.file.inode: one.offset for one in again.all()} == {1: 7, 2: 9, 3: 3}
    again.close()


def test_positions_of_the_spool_are_taken_over_once(tmp_path: Path) -> None:
    path = tmp_path / "tail.db"
    stores = PositionStores(log=LOG, metrics=Metrics(TABLE), inherited=[("tail.0", position(7))])
    stores.open("tail.0", str(path))
    newer = Position(FileKey(1, 7, b"n" * 16, 64), "/var/log/a", 5)
    stores.record("tail.0", newer)  # another file, which got the inode
    assert stores.open("tail.0", str(path)).load(FileKey(1, 7)) == newer
    stores.close()


def key(inode: int, head: bytes) -> FileKey:
    return FileKey(1, inode, fingerprint(head), len(head))


def test_positions_of_content_that_is_in_another_file_now_count_for_that(tmp_path: Path) -> None:
    store = opened(tmp_path / "tail.db")
    store.record(Position(key(7, b"one\n"), "/a", 4))
    store.follow_content(key(7, b"one\n"), b"one\ntwo\n", key(8, b"one\ntwo\n"))
    store.record(Position(key(7, b"one\ntwo\n"), "/a", 8))
    found = store.load(FileKey(1, 8))
    assert found == Position(key(8, b"one\ntwo\n"), "/a", 8)
    store.record(Position(key(8, b"one\ntwo\n"), "/a", 12))
    store.record(Position(key(7, b"one\ntwo\n"), "/a", 8))
    found = store.load(FileKey(1, 8))
    assert found is not None
    assert found.offset == 12, "what was read in the other file itself is further"
    store.record(Position(key(7, b"new\n"), "/a", 4))
    store.record(Position(key(7, b"one\ntwo\n"), "/a", 16))
    found = store.load(FileKey(1, 8))
    assert found is not None
    assert found.offset == 12, "with other content in the first file, nothing of the old is under way"
    store.close()

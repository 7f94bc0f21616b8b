"""The spool: all or nothing at every step, rows in order, bounds, damage, a full disk."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.delivery.chunk import Chunk, Worth
from collector.delivery.losses import Loss, Untold, row_loss
from collector.delivery.spool import FILE_NAME, PAGE_BYTES, Spool, SpoolDamaged
from collector.delivery.spool_rows import ROW_BYTES, Addition, Place, Written
from collector.delivery.spool_schema import SpoolUnusable
from tests.unit.spooled import LOG, copy, event, opened, position_of

ROW = 1000 + ROW_BYTES
ROOM = {"a": Place(1 << 30), "b": Place(1 << 30)}


def added(*numbers: int, outputs: tuple[str, ...] = ("a",), worth: Worth = Worth.WITNESS) -> list[Addition]:
    return [Addition(event(number, worth=worth), outputs) for number in numbers]


def read(spool: Spool, output: str = "a", **changes: object) -> list[int]:
    asked = {"after": 0, "max_bytes": 1 << 20, "max_chunks": 1000} | changes
    found = spool.read(output, **asked)  # type: ignore[arg-type]
    return [int.from_bytes(one.chunk.entries[:4], "big") for one in found.stored]


def seqs(written: Written) -> list[int]:
    return [kept.seq for kept in written.kept]


def test_what_is_written_is_read_after_a_restart_in_all_its_parts(tmp_path: Path) -> None:
    first = opened(tmp_path)
    whole = Chunk(b"i" * 16, "kube.\udcff", b"entries", 3, "tail.0", 0, position_of(7), 700, Worth.FLOW)
    first.write([Addition(whole, ("a", "b"), (("tail.0", position_of(7)),))], places=ROOM)
    first.close()
    second = opened(tmp_path)
    (stored,) = second.read("b", after=0, max_bytes=1, max_chunks=9).stored
    kept = stored.chunk
    assert (kept.id, kept.tag, kept.entries, kept.records) == (whole.id, whole.tag, b"entries", 3)
    assert (kept.source, kept.raw_bytes, kept.worth) == ("tail.0", 700, Worth.FLOW)
    assert kept.position is not None
    assert (kept.position.path, kept.position.offset) == ("/var/log/a", 7000)
    assert abs(kept.created_ns - whole.created_ns) < 1e9
    assert second.positions() == [("tail.0", position_of(7))]
    assert second.used_bytes == {"a": 7 + ROW_BYTES, "b": 7 + ROW_BYTES}
    second.close()


def test_a_chunk_goes_with_the_last_output_that_waits_for_it(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    (seq,) = seqs(spool.write(added(1, outputs=("a", "b")), places=ROOM))
    spool.write((), done=[("a", seq)], places={})
    assert (read(spool), read(spool, "b")) == ([], [1])
    spool.write((), done=[("b", seq)], places={})
    assert spool.contents() == []
    assert +spool.used_bytes == {}
    assert spool._database.execute("SELECT count(*) FROM chunks").fetchone() == (0,)
    spool.close()


def test_rows_are_read_in_order_within_bounds(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    numbered = seqs(spool.write(added(*range(6)), places=ROOM))
    assert read(spool, max_chunks=2) == [0, 1]
    assert read(spool, max_bytes=2500) == [0, 1]
    assert read(spool, max_bytes=1) == [0]
    assert read(spool, after=numbered[2], skip={numbered[4]}) == [3, 5]
    assert spool.read("a", after=numbered[2], max_bytes=1, max_chunks=1).after == numbered[3]
    spool.close()


def test_at_the_bound_the_least_and_oldest_goes_and_is_described(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    places = {"a": Place(3 * ROW), "b": Place(1 << 30)}
    spool.write(
        [
            *added(1, worth=Worth.WITNESS),
            *added(2, worth=Worth.FLOW, outputs=("a", "b")),
            *added(3, worth=Worth.FLOW),
        ],
        places=places,
    )
    written = spool.write(added(4, worth=Worth.LOG), places=places)
    (gone,) = written.dropped
    assert (gone.output, gone.seq, gone.records, gone.size_bytes) == ("a", 2, 1, ROW)
    assert (read(spool), read(spool, "b")) == ([1, 3, 4], [2])
    written = spool.write(added(5, 6, worth=Worth.WITNESS), places=places)
    assert [one.seq for one in written.dropped] == [3, 4]
    assert read(spool) == [1, 5, 6]
    written = spool.write(added(7, worth=Worth.LOG), places=places)
    assert [(one.seq, one.records) for one in written.dropped] == [(0, 1)]
    assert seqs(written) == [0]
    spool.close()


def test_what_an_output_is_sending_is_not_dropped(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    numbered = seqs(spool.write(added(1, 2, 3, 4), places=ROOM))
    place = Place(4 * ROW, kept={numbered[0], numbered[2]})
    written = spool.write(added(5, 6), places={"a": place})
    assert [one.seq for one in written.dropped] == [numbered[1], numbered[3]]
    spool.close()


def test_what_is_being_sent_passes_the_bound_when_nothing_else_is_left_and_only_for_so_long(
    tmp_path: Path,
) -> None:
    spool = opened(tmp_path)
    numbered = seqs(spool.write(added(1, 2, 3), places=ROOM))
    place = Place(2 * ROW, kept={numbered[1]})
    must = [Addition(event(number, worth=Worth.FLOW), ("a",), must=True) for number in (8, 9)]
    written = spool.write([*must, *added(4)], places={"a": place})
    assert [one.seq for one in written.dropped] == [0, numbered[0], numbered[2]]
    assert read(spool) == [2, 8, 9]
    written = spool.write((), places={"a": Place(ROW)})
    assert [one.records for one in written.dropped] == [1, 1]
    assert (read(spool), spool.used_bytes["a"]) == ([2], ROW)
    spool.close()


def images(spool: Spool, folder: Path) -> Iterator[Path]:
    """From now on, what a crash before each statement of the spool would leave; the last is what is now."""
    taken: list[Path] = []
    source = spool.path.parent

    def take(statement: str) -> None:
        taken.append(folder / f"image-{len(taken)}")
        copy(source, taken[-1])

    spool._database.set_trace_callback(take)
    yield folder
    spool._database.set_trace_callback(None)
    take("")
    yield from taken


Writes = list[tuple[int, bool]]


@settings(max_examples=settings().max_examples * 2 // 15)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=4))
def test_a_crash_between_any_two_steps(tmp_path_factory: pytest.TempPathFactory, batches: Writes) -> None:
    """Whatever is left of a spool: it has just the chunks that its position covers."""
    folder = tmp_path_factory.mktemp("spool")
    spool = opened(folder / "live")
    taking = images(spool, folder)
    next(taking)
    number, gone = 0, 0
    for size, removes in batches:
        chunks = [event(number + index + 1) for index in range(size)]
        covered = (("tail.0", position_of(number + size)),)
        additions = [Addition(chunk, ("a",)) for chunk in chunks[:-1]]
        removes &= gone < number
        done = [("a", gone + 1)] if removes else []
        gone += removes
        number += size
        spool.write([*additions, Addition(chunks[-1], ("a",), covered)], done=done, places=ROOM)
    found = set()
    for image in taking:
        left = opened(image)
        positions = left.positions()
        has = read(left)
        until = positions[0][1].offset // 1000 if positions else 0
        assert has == list(range(until - len(has) + 1, until + 1))
        assert left.used_bytes["a"] == len(has) * ROW
        found.add((until, len(has)))
        left.close()
        shutil.rmtree(image)
    spool.close()
    ends = [sum(size for size, _ in batches[:count]) for count in range(len(batches) + 1)]
    assert {until for until, _ in found} == set(ends)


def test_a_crash_between_dropping_and_telling(tmp_path: Path) -> None:
    """Whatever is left of a spool at its bound: what is not there is told as lost."""
    spool = opened(tmp_path / "live")
    places, nobody_knows = {"a": Place(2 * ROW)}, Loss("shed", 1000, 1, "kernel.process", "a")
    taking = images(spool, tmp_path)
    next(taking)
    untold = [nobody_knows]
    for number in range(1, 5):
        written = spool.write(added(number), places=places, untold={"b": Untold(waiting=tuple(untold))})
        untold = [*untold, *(row_loss(row, "storage_limit") for row in written.dropped)]
    seen = set()
    for image in taking:
        left = opened(image)
        has, losses = read(left), left.losses().get("b", Untold()).rows
        lost = sum(row.records for row in losses if row.cause == "storage_limit")
        assert lost + len(has) == max(has, default=0)
        assert (nobody_knows in losses) == bool(has)
        seen.add(lost)
        left.close()
    assert seen == {0, 1, 2}
    spool.close()


def test_positions_are_forgotten_up_to_a_mark(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number, inode in ((1, 1), (2, 2), (3, 1)):
        position = position_of(number, inode)
        spool.write([Addition(event(number), ("a",), (("tail.0", position),))], places=ROOM)
    spool.forget_positions(2)
    assert spool.positions() == [("tail.0", position_of(3, 1))]
    spool.close()


def test_a_wrong_checksum_is_told_and_removed(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.write(added(1, 2, 3), places=ROOM)
    spool._database.execute("UPDATE chunks SET entries = x'00' WHERE seq = 2")
    found = spool.read("a", after=0, max_bytes=1 << 20, max_chunks=9)
    assert [one.seq for one in found.stored] == [1, 3]
    assert [(one.seq, one.records) for one in found.damaged] == [(2, 1)]
    assert read(spool) == [1, 3]
    spool.close()


@pytest.mark.parametrize("garbage", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_spool_is_kept_aside_at_the_start(
    tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_bytes(garbage)
    spool = opened(tmp_path)
    spool.write(added(1), places=ROOM)
    assert read(spool) == [1]
    spool.close()
    (aside,) = tmp_path.glob(f"{FILE_NAME}.corrupt-*")
    assert aside.read_bytes() == garbage
    assert "damaged" in caplog.text


@pytest.mark.parametrize("table", ["losses", "outputs", "positions"])
def test_a_damaged_table_is_found_at_the_start(tmp_path: Path, table: str) -> None:
    spool = opened(tmp_path)
    spool.adopt({"a": bool})
    asked = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    (page,) = spool._database.execute(asked, (table,)).fetchone()
    spool.close()
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    spool = opened(tmp_path)
    assert list(tmp_path.glob(f"{FILE_NAME}.corrupt-*"))
    assert (spool.adopt({"a": bool}), spool.losses(), spool.positions()) == ((), {}, [])
    spool.close()


def test_a_start_with_the_same_outputs_writes_nothing(tmp_path: Path) -> None:
    """So a full disk does not keep it from starting, whether or not there is a reserve."""
    outputs = {"a": bool, "b": bool}
    opened(tmp_path).adopt(outputs)
    copy(tmp_path, tmp_path / "killed")
    before = {path.name: path.read_bytes() for path in (tmp_path / "killed").iterdir()}
    spool = opened(tmp_path / "killed")
    spool.adopt(outputs)
    spool.write((), places=ROOM, untold={})
    assert {path.name: path.read_bytes() for path in (tmp_path / "killed").iterdir()} == before
    spool.close()


def test_a_spool_that_gets_damaged_is_kept_aside_and_numbers_go_on(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.write(added(*range(50)), places=ROOM)
    spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    spool._database.execute("PRAGMA cache_size = 0").fetchall()
    size = spool.path.stat().st_size
    with open(spool.path, "r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(b"\xa5" * (size - PAGE_BYTES))
    with pytest.raises(SpoolDamaged):
        read(spool)
    assert len(list(tmp_path.glob(f"{FILE_NAME}.corrupt-*"))) >= 1
    assert seqs(spool.write(added(1), places=ROOM)) == [51]
    spool.close()


def test_one_spool_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.delivery.spool.BUSY_S", 0.05)
    spool = opened(tmp_path)
    with pytest.raises(SpoolUnusable, match="one podwitness only"):
        opened(tmp_path)
    spool.close()


def test_a_newer_spool_is_not_touched(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool._database.execute("PRAGMA user_version = 99")
    spool.close()
    with pytest.raises(SpoolUnusable, match="newer podwitness"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusable, match=r"storage.path"):
        Spool(tmp_path / "file" / "spool", log=logging.getLogger("test"))


def test_a_full_disk_loses_nothing_and_removing_makes_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], check=True)
    try:
        spool = opened(disk)
        numbered: list[int] = []
        with contextlib.suppress(sqlite3.OperationalError):
            for number in range(1000):
                big = [Addition(event(number, size=100_000), ("a",))]
                numbered += seqs(spool.write(big, places=ROOM))
        assert 50 < len(numbered) < 1000
        assert read(spool, max_bytes=1 << 30) == list(range(len(numbered)))
        for seq in numbered[:-10]:
            spool.write((), done=[("a", seq)], places={})
        spool.write([Addition(event(9999, size=100_000), ("a",))], places=ROOM)
        assert read(spool, max_bytes=1 << 30) == [*range(len(numbered) - 10, len(numbered)), 9999]
        spool.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_room_is_given_back_when_the_spool_is_emptied(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    numbered = seqs(spool.write(added(*range(8000)), places=ROOM))
    full = spool.file_bytes
    spool.write((), done=[("a", seq) for seq in numbered], places={})
    while spool.shrink():
        pass
    assert spool.file_bytes < full - 7000 * 1000
    spool.close()


def test_chunks_of_an_output_that_is_gone(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.adopt({"a": bool, "b": bool})
    spool.write(added(1, 2, outputs=("a", "b")), places=ROOM)
    (loss,) = spool.adopt({"b": lambda tag: True, "c": lambda tag: False})
    assert (loss.cause, loss.output, loss.records) == ("output_removed", "a", 2)
    assert (read(spool, "a"), read(spool, "b"), read(spool, "c")) == ([], [1, 2], [])
    assert spool.adopt({"d": lambda tag: True}) == ()
    assert read(spool, "d") == [1, 2]
    assert +spool.used_bytes == {"d": 2 * ROW}
    spool.close()


def test_many_rows_are_handed_over_or_dropped_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.delivery.spool.ROWS_AT_ONCE", 3)
    spool = opened(tmp_path)
    spool.adopt({"a": bool, "b": bool})
    spool.write(added(*range(10), outputs=("a",)), places=ROOM)
    spool.write(added(*range(10, 20), outputs=("b",)), places=ROOM)
    (loss,) = spool.adopt({"a": bool})
    assert loss.records == 10
    assert spool.adopt({"c": lambda tag: True}) == ()
    assert read(spool, "c") == list(range(10))
    left = []
    while dropped := spool.write((), places={"c": Place(3 * ROW)}).dropped:
        left.append(len(dropped))
    assert left == [3, 3, 1]
    assert read(spool, "c") == [7, 8, 9]
    spool.close()


def test_rows_of_an_output_that_was_never_noted(tmp_path: Path) -> None:
    """A reload brought it, and the next start is without it."""
    spool = opened(tmp_path)
    spool.adopt({"a": bool})
    spool.write(added(1, 2, outputs=("b",)), places=ROOM)
    assert [loss.records for loss in spool.adopt({"a": bool})] == [2]
    assert spool.contents() == []
    spool.close()


def test_the_oldest(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    assert spool.oldest_ns("a") == 0
    spool.write(added(1, 2), places=ROOM)
    assert spool.oldest_ns("a") > 1_500_000_000 * 10**9
    spool.close()


def test_log_says_nothing_in_good_times(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(tmp_path).close()
    opened(tmp_path).close()
    assert caplog.messages == []
    assert LOG.name == "test"

"""Stretches that are under way: kept over a restart, claimed by whom they are of, freed, damaged, full."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from collector.delivery.chunk import FileKey, Position, Stretch, chunk_id, fingerprint
from collector.delivery.positions import Positions
from collector.delivery.stretches import SLOT_BYTES, SUFFIX, Stretches, last_bytes_of
from collector.service.metrics import Metrics
from collector.service.table import TABLE

LOG = logging.getLogger("test")
HEAD = b"the first line\n"


def key(inode: int = 7, device: int = 2**40) -> FileKey:
    return FileKey(device, inode, fingerprint(HEAD), len(HEAD))


def stretch(start: int, end: int, *, source: str = "tail.0", inode: int = 7, **more: object) -> Stretch:
    made = Stretch(source, key(inode), start, end, end, chunk_id(source, inode, start, end, str(more)), 5)
    return made if not more else Stretch(**{**_fields(made), **more})  # type: ignore[arg-type]


def _fields(one: Stretch) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def opened(path: Path, slots: int = 16) -> Stretches:
    return Stretches(path, log=LOG, slots=slots)


def kept(path: Path, *stretches: Stretch, slots: int = 16) -> None:
    """By a run that was killed."""
    store = opened(path, slots)
    for one in stretches:
        store.keep(one)
    store.close()


def claimed(store: Stretches, source: str = "tail.0", offset: int = 0, inode: int = 7) -> list[Stretch]:
    return store.claim(source, key(inode), HEAD + b"and more", offset, lambda end: end)


def ranges(found: list[Stretch]) -> list[tuple[int, int]]:
    return [(one.start, one.end) for one in found]


def test_what_was_under_way_is_there_after_a_kill_in_the_order_of_the_file(tmp_path: Path) -> None:
    second, first = stretch(10, 20, ended=True), stretch(0, 10)
    flushed = stretch(20, 20, began=(3, 2**40))
    kept(tmp_path / "s", second, first, flushed)
    found = claimed(opened(tmp_path / "s"))
    assert [(one.id, one.ended, one.began) for one in found] == [
        (first.id, False, ()),
        (second.id, True, ()),
        (flushed.id, False, (3, 2**40)),
    ]
    assert {(one.source, one.now_ns, one.was_sent, one.file) for one in found} == {("tail.0", 5, True, key())}


def test_only_the_input_and_the_file_that_they_are_of_get_them(tmp_path: Path) -> None:
    kept(tmp_path / "s", stretch(0, 10), stretch(0, 10, source="tail.1"), stretch(0, 10, inode=8))
    store = opened(tmp_path / "s")
    assert claimed(store, inode=9) == []
    assert [one.inode for one in (found.file for found in claimed(store, inode=8))] == [8]
    assert len(claimed(store)) == 1
    assert claimed(store) == []
    assert len(claimed(store, "tail.1")) == 1


@pytest.mark.parametrize(
    ("head", "offset", "last"),
    [(b"another file", 0, 10), (HEAD, 1, 10), (HEAD, 0, 11), (HEAD, 0, None)],
    ids=["another beginning", "behind its start", "other bytes", "too short"],
)
def test_other_content_gets_none_and_they_are_gone(
    tmp_path: Path, head: bytes, offset: int, last: int | None
) -> None:
    kept(tmp_path / "s", stretch(0, 10))
    assert opened(tmp_path / "s").claim("tail.0", key(), head, offset, lambda _: last) == []
    assert claimed(opened(tmp_path / "s")) == []


def test_of_two_that_overlap_the_later_counts(tmp_path: Path) -> None:
    kept(tmp_path / "s", stretch(0, 10), stretch(10, 20), stretch(0, 15), stretch(20, 30))
    assert ranges(claimed(opened(tmp_path / "s"))) == [(0, 15), (20, 30)]
    kept(tmp_path / "t", stretch(0, 15), stretch(10, 20), stretch(5, 10))
    assert ranges(claimed(opened(tmp_path / "t"))) == [(5, 10), (10, 20)]


@pytest.mark.parametrize("at", range(0, SLOT_BYTES, 7))
def test_a_damaged_slot_is_none(tmp_path: Path, at: int) -> None:
    path = tmp_path / "s"
    kept(path, stretch(0, 10), stretch(10, 20))
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)
    assert ranges(claimed(opened(path))) == [(10, 20)]
    assert len(path.read_bytes()) == 2 * SLOT_BYTES


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"SQLite format 3\0" * 64, bytes(4096)])
def test_what_is_not_ours_is_no_stretch(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s"
    path.write_bytes(content)
    store = opened(path)
    assert claimed(store) == []
    store.keep(stretch(0, 10))
    assert ranges(claimed(opened(path))) == [(0, 10)]


def test_a_cut_off_file_has_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "s"
    kept(path, stretch(0, 10), stretch(10, 20))
    os.truncate(path, 2 * SLOT_BYTES - 1)
    assert ranges(claimed(opened(path))) == [(0, 10)]


def test_when_all_slots_are_taken_the_rest_is_not_kept_until_positions_are_committed(tmp_path: Path) -> None:
    store = opened(tmp_path / "s", slots=2)
    for one in (stretch(0, 10), stretch(10, 20), stretch(20, 30)):
        store.keep(one)
    assert len(store) == 2
    store.pass_by(key(), 15)
    store.keep(stretch(20, 30))
    assert len(store) == 1  # its slot counts until the position is on disk
    store.free(store.take_passed(), is_committed=False)
    store.keep(stretch(20, 30))
    assert len(store) == 1
    store.free(store.take_passed(), is_committed=True)
    store.keep(stretch(20, 30))
    assert len(store) == 2
    assert ranges(claimed(opened(tmp_path / "s", slots=2))) == [(10, 20), (20, 30)]


def test_what_nobody_claims_gives_way(tmp_path: Path) -> None:
    kept(tmp_path / "s", stretch(0, 10, inode=8), stretch(0, 10, inode=9), slots=2)
    store = opened(tmp_path / "s", slots=2)
    assert len(claimed(store, inode=9)) == 1
    store.keep(stretch(0, 10))
    assert len(store) == 2
    again = opened(tmp_path / "s", slots=2)
    assert (claimed(again, inode=8), len(claimed(again, inode=9)), len(claimed(again))) == ([], 1, 1)


def test_one_is_written_once_and_again_only_under_another_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    store = opened(path)
    one = stretch(0, 10)
    store.keep(one)
    written = path.read_bytes()
    store.keep(one)
    assert path.read_bytes() == written
    moved = Stretch(**{**_fields(one), "file": key(8)})  # type: ignore[arg-type]
    store.keep(moved)
    assert len(path.read_bytes()) == SLOT_BYTES
    store.pass_by(key(), 10)
    assert len(store) == 1
    store.pass_by(key(8), 10)
    assert len(store) == 0
    assert ranges(claimed(opened(path), inode=8)) == [(0, 10)]


def test_what_a_file_had_may_be_in_another_one_by_now(tmp_path: Path) -> None:
    kept(tmp_path / "s", stretch(0, 10))
    store = opened(tmp_path / "s")
    store.follow_content(key(), HEAD, key(8))
    found = claimed(store, inode=8)
    assert [(one.file.inode, one.id) for one in found] == [(8, stretch(0, 10).id)]
    assert ranges(claimed(opened(tmp_path / "s"), inode=8)) == [(0, 10)]
    assert claimed(store) == []


def test_only_what_begins_so_follows(tmp_path: Path) -> None:
    """A log was copied and truncated twice: of both contents something is under way."""
    kept(tmp_path / "s", stretch(0, 10))
    store = opened(tmp_path / "s")
    store.follow_content(key(), b"other content", key(8))
    assert store.has_unclaimed(2**40, 7)
    assert not store.has_unclaimed(2**40, 8)
    assert ranges(claimed(store)) == [(0, 10)]


def test_what_was_claimed_can_be_given_back_or_dropped(tmp_path: Path) -> None:
    kept(tmp_path / "s", stretch(0, 10), stretch(10, 20))
    store = opened(tmp_path / "s")
    first, second = claimed(store)
    store.give_back([second])
    assert [one.id for one in claimed(store)] == [second.id]
    store.drop([first])
    assert ranges(claimed(opened(tmp_path / "s"))) == [(10, 20)]


def test_a_disk_that_refuses_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(tmp_path / "s")
    store.close()
    store._fd = os.open("/dev/full", os.O_WRONLY)
    for end in (10, 20):
        store.keep(stretch(0, end))
    assert len(store) == 0
    assert len(caplog.messages) == 1
    store.close()


def test_a_place_that_can_not_be_opened_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(tmp_path / "missing" / "s")
    store.keep(stretch(0, 10))
    assert (len(store), len(caplog.messages)) == (0, 1)


def test_positions_free_them_with_their_commit(tmp_path: Path) -> None:
    def positions() -> Positions:
        return Positions(tmp_path / "p.db", log=LOG, metrics=Metrics(TABLE))

    first = positions()
    assert first.stretches is not None
    first.stretches.keep(stretch(0, 10))
    first.stretches.keep(stretch(10, 20))
    first.record(Position(key(), "/x", 10))
    asyncio.run(first.commit())
    assert len(first.stretches) == 1
    first.close()
    second = positions()
    assert second.stretches is not None
    assert ranges(claimed(second.stretches, offset=10)) == [(10, 20)]
    second.forget(key())
    assert len(second.stretches) == 0
    second.close()


def test_who_removes_the_database_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    kept(tmp_path / f"p.db{SUFFIX}", stretch(0, 10))
    positions = Positions(path, log=LOG, metrics=Metrics(TABLE))
    assert positions.stretches is not None
    assert claimed(positions.stretches) == []
    positions.close()


def test_the_last_bytes_tell_content_apart(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 300 + b"one")
    fd = os.open(path, os.O_RDWR)
    before = [last_bytes_of(fd, end) for end in (0, 10, 303)]
    os.pwrite(fd, b"two", 300)
    assert [last_bytes_of(fd, end) for end in (0, 10)] == before[:2]
    assert last_bytes_of(fd, 303) not in (before[2], None)
    assert last_bytes_of(fd, 304) is None
    os.close(fd)
    assert last_bytes_of(fd, 1) is None

"""Where reading begins."""

from __future__ import annotations

import gzip
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.delivery.chunk import INHERITED, FileKey, Position
from collector.delivery.positions import Positions
from collector.inputs.beginnings import Beginnings
from collector.inputs.follow import FollowedFile
from collector.inputs.tail_open import open_pinned, pin
from collector.inputs.tail_paths import select
from collector.service.metrics import Metrics
from collector.service.table import TABLE

Follow = Callable[[Path], FollowedFile]


@pytest.fixture
def positions() -> Positions:
    return Positions(None, log=logging.getLogger("test"), metrics=Metrics(TABLE))


def read_to(file: FollowedFile, positions: Positions, path: Path, offset: int) -> None:
    file.look_at_head()
    positions.record(Position(file.key, str(path), offset))


@pytest.mark.parametrize(
    ("is_first_start", "read_from_head", "at_start", "offset"),
    [
        (True, False, True, 6),
        (True, True, True, 0),
        (True, False, False, 0),
        (False, False, True, 0),
        (False, False, False, 0),
    ],
)
def test_without_a_position(
    tmp_path: Path, positions: Positions, follow: Follow, is_first_start: bool, read_from_head: bool,
    at_start: bool, offset: int,
) -> None:  # fmt: skip
    path = tmp_path / "a.log"
    path.write_bytes(b"1\n2\n3\n")
    beginnings = Beginnings(positions, is_first_start=is_first_start, read_from_head=read_from_head)
    file = follow(path)
    beginnings.begin(file, str(path), at_start=at_start)
    assert file.offset == offset
    stored = positions.load(FileKey(*file.inode))
    assert (stored.offset if stored else 0) == offset


def test_a_position_goes_before_all_if_it_is_of_this_file(
    tmp_path: Path, positions: Positions, follow: Follow
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"1\n2\n3\n")
    beginnings = Beginnings(positions, is_first_start=True, read_from_head=False)
    read_to(follow(path), positions, path, 4)
    file = follow(path)
    beginnings.begin(file, str(path), at_start=True)
    assert file.offset == 4
    read_to(follow(path), positions, tmp_path / "b.log", 4)
    elsewhere = follow(path)
    beginnings.begin(elsewhere, str(path), at_start=False)
    assert elsewhere.offset == 0, "files of two logs may begin alike"
    path.write_bytes(b"another file with this inode\n")
    reused = follow(path)
    beginnings.begin(reused, str(path), at_start=False)
    assert reused.offset == 0


def test_a_finished_file_is_known_again(tmp_path: Path, positions: Positions, follow: Follow) -> None:
    path = tmp_path / "a.log.1"
    path.write_bytes(b"1\n")
    beginnings = Beginnings(positions, is_first_start=True, read_from_head=True)
    file = follow(path)
    file.read_portion(1)
    file.look_at_head()
    assert not beginnings.is_read(file.file)
    beginnings.finish(file, str(path))
    assert beginnings.is_read(file.file)
    with path.open("ab") as writer:
        writer.write(b"2\n")
    assert not beginnings.is_read(file.file)
    again = follow(path)
    beginnings.begin(again, str(path), at_start=False)
    assert again.offset == 2


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("a.log.1", "a.log.2"),
        ("a.log.9", "a.log.10"),
        ("a.log", "a.log.3"),
        ("a.log.2", "a.log"),  # put back
        ("a.log-20261128", "a.log-20261128-1"),
    ],
)
def test_a_file_that_was_known_by_a_renamed_one_s_name_is_known_by_the_next(
    tmp_path: Path, positions: Positions, follow: Follow, before: str, now: str
) -> None:
    """Path may mean them too (`*`); with each rotation all of them get other names."""
    path = tmp_path / before
    path.write_bytes(b"1\n2\n")
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=True)
    file = follow(path)
    file.read_portion(1)
    beginnings.finish(file, str(path))
    read_to(file, positions, path, 4)
    moved = path.rename(tmp_path / now)
    assert beginnings.is_read(follow(moved).file)
    restarted = Beginnings(positions, is_first_start=False, read_from_head=True)
    again = follow(moved)
    restarted.begin(again, str(moved), at_start=True)
    assert again.offset == 4


def test_an_empty_file_is_not_known_again(tmp_path: Path, positions: Positions, follow: Follow) -> None:
    """Its inode may be that of another file by now, a compressed one or the next log."""
    path = tmp_path / "a.log.1"
    path.touch()
    beginnings = Beginnings(positions, is_first_start=True, read_from_head=True)
    file = follow(path)
    beginnings.finish(file, str(path))
    assert not beginnings.is_read(file.file)
    path.write_bytes(b"1\n")
    again = follow(path)
    beginnings.finish(again, str(path))
    assert again.head == b"1\n"
    assert not beginnings.is_read(again.file)


def siblings(
    beginnings: Beginnings, place: Path, since_ns: int = 0, current: Path | None = None
) -> list[tuple[str, bool]]:
    roots = (str(place.parent),)
    file = open_pinned(pin(str(current or place)), roots)
    found = beginnings.siblings(file, str(place), str(place), roots, since_ns)
    os.close(file.fd)
    for one in found:
        os.close(one.file.fd)
    return [(Path(one.file.real_path).name, one.is_done) for one in found]


def test_siblings_that_are_not_read_to_their_end(
    tmp_path: Path, positions: Positions, follow: Follow
) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(b"1\n2\n")
    for day, content in enumerate((b"read\n", b"half\nread\n", b"never seen\n"), 1):
        (tmp_path / f"0.log.2026010{day}-000000").write_bytes(content)
    (tmp_path / "0.log.20260101-000000.gz").write_bytes(b"not there yet as a whole")
    read_to(follow(tmp_path / "0.log.20260101-000000"), positions, log, 5)
    read_to(follow(tmp_path / "0.log.20260102-000000"), positions, log, 5)
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=False)
    assert siblings(beginnings, log) == [("0.log.20260102-000000", False), ("0.log.20260103-000000", False)]
    beginnings.forget_listings()
    later_ns = time.time_ns() + 10**12
    assert siblings(beginnings, log, later_ns) == [("0.log.20260102-000000", False)]
    beginnings.forget_listings()
    renamed = tmp_path / "0.log.20260103-000000"
    assert siblings(beginnings, log, current=renamed) == [("0.log.20260102-000000", False)]


def test_a_log_that_was_never_renamed_is_not_opened_to_look_for_siblings(
    tmp_path: Path, positions: Positions, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(b"1\n")
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=True)
    opened: list[str] = []

    def count(path: str) -> int:
        opened.append(path)
        return pin(path)

    monkeypatch.setattr("collector.inputs.beginnings.pin", count)
    assert siblings(beginnings, log) == []
    assert opened == []


def test_siblings_of_a_log_that_is_rotated_after_the_first_look_has_listed_its_directory(
    tmp_path: Path, positions: Positions, follow: Follow
) -> None:
    log, half, whole = (
        tmp_path / name for name in ("0.log", "0.log.20260101-000000", "0.log.20260102-000000")
    )
    half.write_bytes(b"1\n2\n")
    read_to(follow(half), positions, log, 2)
    log.write_bytes(b"3\n")
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=False)
    found = follow(log)

    def before_it() -> list[str]:
        roots = (str(tmp_path),)
        siblings = beginnings.siblings(found.file, str(log), str(log), roots, 0)
        for one in siblings:
            os.close(one.file.fd)
        return [Path(one.file.real_path).name for one in siblings]

    assert before_it() == [half.name]
    half.with_name(f"{half.name}.gz").write_bytes(gzip.compress(half.read_bytes()))
    half.unlink()
    log.rename(whole)
    log.write_bytes(b"4\n")
    assert before_it() == [f"{half.name}.gz"]
    whole.with_name(f"{whole.name}.gz").write_bytes(gzip.compress(whole.read_bytes()))
    whole.unlink()
    assert before_it() == [f"{half.name}.gz"]


def test_at_the_first_start_the_past_is_left_alone(tmp_path: Path, positions: Positions) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(b"1\n")
    old = tmp_path / "0.log.20260101-000000"
    old.write_bytes(b"old\n")
    os.utime(old, (1, 1))
    beginnings = Beginnings(positions, is_first_start=True, read_from_head=False)
    assert siblings(beginnings, log) == []
    (tmp_path / "0.log.20260102-000000").write_bytes(b"made and renamed since\n")
    beginnings.forget_listings()
    assert siblings(beginnings, log) == [("0.log.20260102-000000", False)]
    from_head = Beginnings(positions, is_first_start=True, read_from_head=True)
    assert len(siblings(from_head, log)) == 2


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((-1, -1), []),  # completed in the next file
        ((INHERITED, -1), [("0.log.20260101-000000", False)]),  # open there still
        ((0, -1), []),  # another record is open there
    ],
)
def test_what_was_left_open_and_completed_later_is_not_read_again(
    tmp_path: Path, positions: Positions, follow: Follow, there: tuple[int, int], expected: list[object]
) -> None:
    log, old = tmp_path / "0.log", tmp_path / "0.log.20260101-000000"
    log.write_bytes(b"1\n2\n")
    old.write_bytes(b"partial\n")
    for path, partials in ((old, (4, -1)), (log, there)):
        file = follow(path)
        file.look_at_head()
        positions.record(Position(file.key, str(log), path.stat().st_size, partials))
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=False)
    assert siblings(beginnings, log) == expected


@pytest.mark.parametrize("went_on", [True, False])
def test_what_was_left_open_is_read_again_unless_it_went_on_in_a_file_that_is_held(
    tmp_path: Path, positions: Positions, follow: Follow, went_on: bool
) -> None:
    log, old = tmp_path / "0.log", tmp_path / "0.log.20260101-000000"
    old.write_bytes(b"partial\n")
    log.write_bytes(b"1\n")
    file, held = follow(old), follow(log)
    file.look_at_head()
    positions.record(Position(file.key, str(log), 8, (4, -1)))
    held.look_at_head()
    if went_on:
        held.resume(Position(held.key, str(log), 2))
    log.rename(tmp_path / "elsewhere")
    log.write_bytes(b"2\n")
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=False)
    found = beginnings.siblings(follow(log).file, str(log), str(log), (str(tmp_path),), 0, [held])
    for one in found:
        os.close(one.file.fd)
    assert [Path(one.file.real_path).name for one in found] == ([] if went_on else [old.name])


def test_positions_of_missing_files_are_forgotten_and_no_others(
    tmp_path: Path, positions: Positions, follow: Follow
) -> None:
    held, renamed, gone, foreign = (
        tmp_path / f"{name}.log" for name in ("held", "renamed", "gone", "x.other")
    )
    for path in (held, renamed, gone, foreign):
        path.write_bytes(path.name.encode())
        read_to(follow(path), positions, path, 1)
    keep = {position.file.inode for position in positions.all() if position.path != str(gone)}
    renamed.rename(f"{renamed}.20260101-000000")
    gone.unlink()
    foreign.unlink()
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=False)
    status = held.stat()
    selection = select([f"{tmp_path}/*.log"], ["*other*"])
    beginnings.forget_missing({(status.st_dev, status.st_ino)}, selection)
    assert {position.file.inode for position in positions.all()} == keep


def test_a_million_names_of_generations_are_not_all_opened(
    tmp_path: Path, positions: Positions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.beginnings.MAX_SIBLINGS", 3)
    for number in range(1, 9):
        (tmp_path / f"a.log.{number}").write_bytes(b"%d\n" % number)
    (tmp_path / "a.log").write_bytes(b"0\n")
    beginnings = Beginnings(positions, is_first_start=False, read_from_head=True)
    assert [name for name, _ in siblings(beginnings, tmp_path / "a.log")] == ["a.log.3", "a.log.2", "a.log.1"]

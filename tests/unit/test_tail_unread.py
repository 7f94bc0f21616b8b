"""Files that nobody reads: only those that get no turn, and of a log only the oldest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.inputs import tail_unread
from collector.inputs.follow import FollowedFile
from collector.inputs.succession import Succession
from collector.inputs.tail_open import OpenFile
from collector.inputs.tail_unread import UnreadFiles
from collector.native.logs import LogStream
from collector.plan import Framing, Layout, LogPlan

REFRESH_S = 10.0
PLAN = LogPlan(Framing.LINE, Layout())


def followed(path: Path) -> FollowedFile:
    status = path.stat()
    opened = OpenFile(os.open(path, os.O_RDONLY), str(path), status.st_dev, status.st_ino)
    return FollowedFile(opened, str(path), LogStream(PLAN))


class Log:
    """One log with its files, and the answers of one who asks at given times."""

    def __init__(self, *paths: Path) -> None:
        self.files = [followed(path) for path in paths]
        self.succession = Succession("log", PLAN, 0.0, files=self.files)
        self.unread = UnreadFiles("tail.0", {"log": self.succession}, REFRESH_S)

    def ages_s(self, *times_s: float) -> list[float | None]:
        found = [next(iter(self.unread.stalls(now_s)), None) for now_s in times_s]
        return [None if stall is None else stall.age_s for stall in found]


def test_a_file_that_is_read_is_no_stall(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\n")
    log = Log(path)
    assert log.ages_s(100, 111, 130) == [0, 1, 20]
    log.files[0].offset = 4
    assert log.ages_s(131) == [None]
    path.write_text("one\ntwo\n")
    assert log.ages_s(140, 151) == [0, 1]


def test_a_turn_that_left_something_counts_as_well(tmp_path: Path) -> None:
    """A line without its end, or no room at the outputs: it is looked at, and stays as it is."""
    path = tmp_path / "a.log"
    path.write_text("no end")
    log = Log(path)
    for now_s in range(100, 200, 5):
        assert log.ages_s(now_s) == [0]
        if now_s % 10 == 0:
            log.files[0].turned_s = now_s + 1
    (stall,) = log.unread.stalls(230)
    assert stall.subject == "tail.0"
    assert stall.is_own
    assert stall.reason == f"{path} has grown beyond byte 0 and is not read"


def test_a_file_waits_for_those_before_it(tmp_path: Path) -> None:
    older, newer = tmp_path / "a.log.1", tmp_path / "a.log"
    older.write_text("older\n")
    newer.write_text("newer\n")
    log = Log(older, newer)
    assert log.ages_s(100) == [0]
    log.files[0].turned_s = 120  # it is read, slowly
    assert log.ages_s(121, 125) == [0, 0]
    log.files[0].offset = 6
    assert log.ages_s(140, 151) == [0, 1]


def test_of_a_file_that_is_gone_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\n")
    log = Log(path)
    assert log.ages_s(100) == [0]
    log.succession.files.clear()
    assert log.ages_s(200) == [None]


def test_of_many_logs_some_are_looked_at_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.inputs.tail_unread.LOGS_A_LOOK", 10)
    looked_at: list[FollowedFile] = []
    logs = {}
    for number in range(35):
        path = tmp_path / f"{number}.log"
        path.write_text("one\n")
        logs[str(path)] = Succession(str(path), PLAN, 0.0, files=[followed(path)])
        logs[str(path)].files[0].offset = 4
    has_more = tail_unread._has_more

    def look(file: FollowedFile) -> bool:
        looked_at.append(file)
        return has_more(file)

    monkeypatch.setattr("collector.inputs.tail_unread._has_more", look)
    unread = UnreadFiles("tail.0", logs, REFRESH_S)
    for now_s in range(100, 110):
        assert list(unread.stalls(now_s)) == []
        assert len(looked_at) == 10 * (now_s - 99)
    (tmp_path / "7.log").write_text("one\ntwo\n")
    for now_s in range(110, 130):
        found = list(unread.stalls(now_s))
    assert found[0].age_s > 0
    assert "7.log" in found[0].reason

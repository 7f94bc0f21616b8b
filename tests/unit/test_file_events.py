"""What happens to open files, told by inotify or found by looking."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.errors import OperatorError
from collector.inputs.file_events import FileEvents
from collector.inputs.follow import FollowedFile

Touch = Callable[[str], FollowedFile]


@pytest.fixture
def touch(tmp_path: Path, follow: Callable[..., FollowedFile]) -> Touch:
    """Makes a file and follows it."""

    def make(name: str) -> FollowedFile:
        (tmp_path / name).touch()
        return follow(tmp_path / name)

    return make


@pytest.fixture
def problems() -> list[OperatorError]:
    return []


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x\n")


def test_only_files_with_events_are_touched(
    tmp_path: Path, problems: list[OperatorError], touch: Touch
) -> None:
    events = FileEvents(problems.append)
    files = [touch(f"{number}.log") for number in range(3)]
    for file in files:
        events.add(file)
    assert events.take() == ([], False)
    append(tmp_path / "1.log")
    assert events.take() == ([files[1]], False)
    assert files[1].was_closed
    (tmp_path / "0.log").rename(tmp_path / "0.log.1")
    (tmp_path / "2.log").unlink()
    assert events.take() == ([files[0], files[2]], False)
    assert files[0].is_rotated
    assert files[2].is_gone
    append(tmp_path / "0.log.1")
    assert events.take() == ([files[0]], False)
    events.leave(files[0])
    append(tmp_path / "0.log.1")
    assert events.take() == ([], False)
    assert not events.must_look
    assert problems == []
    events.close()


def test_lost_events_are_told(tmp_path: Path, problems: list[OperatorError], touch: Touch) -> None:
    events = FileEvents(problems.append)
    files = [touch(f"{number}.log") for number in range(2)]
    writers = []
    for file in files:
        events.add(file)
        writers.append(os.open(file.place, os.O_WRONLY))
    for turn in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) + 2):
        os.pwrite(writers[turn % 2], b"x", 0)
    lost = False
    while not lost:
        touched, lost = events.take()
        assert touched or lost
    assert set(events.look(files)) == set(files)
    for writer in writers:
        os.close(writer)
    events.close()


@pytest.mark.parametrize(
    ("call", "error", "sysctl"),
    [("add", 28, "fs.inotify.max_user_watches"), ("__init__", 24, "fs.inotify.max_user_instances")],
)
def test_without_inotify_files_are_looked_at(
    tmp_path: Path, problems: list[OperatorError], touch: Touch, monkeypatch: pytest.MonkeyPatch,
    call: str, error: int, sysctl: str,
) -> None:  # fmt: skip
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(f"collector.native.files.FileWatch.{call}", refuse)
    events = FileEvents(problems.append)
    files = [touch("0.log"), touch("1.log")]
    for file in files:
        events.add(file)
    assert events.must_look
    (problem,) = problems
    assert sysctl in problem.remedy
    assert events.look() == []
    append(tmp_path / "0.log")
    (tmp_path / "1.log").unlink()
    assert set(events.look()) == set(files)
    for file in files:
        events.leave(file)
    assert not events.must_look
    assert events.take() == ([], False)
    events.close()


def test_a_look_at_files_costs_the_same_however_many_are_watched(
    tmp_path: Path, problems: list[OperatorError], touch: Touch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.file_events.LOOKED_AT_LEAST", 10)
    events = FileEvents(problems.append)
    files = [touch(f"{number}.log") for number in range(35)]
    for file in files:
        events.add(file)
        append(Path(file.place))
    events.look_at_some(0.1)  # begins a round
    looks = [events.look_at_some(0.1) for _ in range(4)]
    assert [len(look) for look in looks] == [10, 10, 10, 5]
    assert {file for look in looks for file in look} == set(files)
    events.leave(files[0])
    assert files[0] not in events.look_at_some(0.1)
    assert len(events.look_at_some(10.0)) == 25
    events.close()


def test_a_file_of_which_inotify_does_not_tell_all_is_looked_at_each_time(
    tmp_path: Path, problems: list[OperatorError], touch: Touch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.file_events.LOOKED_AT_LEAST", 0)
    monkeypatch.setattr("collector.inputs.watched_devices.tells_all", lambda path: False)
    events = FileEvents(problems.append)
    file = touch("network.log")
    events.add(file)
    append(Path(file.place))
    for _ in range(2):
        assert events.look_at_some(0.0) == [file]
    events.leave(file)
    assert events.look_at_some(0.0) == []
    events.close()


def test_a_file_that_is_behind_is_looked_at_each_time(
    tmp_path: Path, problems: list[OperatorError], touch: Touch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.file_events.LOOKED_AT_LEAST", 0)
    events = FileEvents(problems.append)
    other, behind = touch("other.log"), touch("behind.log")
    for file in (other, behind):
        events.add(file)
        append(Path(file.place))
    events.behind.add(behind)
    for _ in range(2):
        assert events.look_at_some(0.0) == [behind]
    events.leave(behind)
    assert events.look_at_some(0.0) == []
    events.close()

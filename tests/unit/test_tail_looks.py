"""Looks at directories: all that inotify does not tell of, and little of what it does."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.inputs import tail_open
from collector.native.files import Lookout, WatchEvent
from tests.polling import until
from tests.unit.discovering import Follow, Seen, discovering

# A look, when nothing else has it come sooner.
LOOK_S = 0.02


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    seen.close()


@pytest.fixture
def follow(seen: Seen) -> Iterator[Follow]:
    with discovering(seen) as start:
        yield start


@pytest.fixture
def only_needful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at what inotify does not tell of, and at nothing else."""
    monkeypatch.setattr("collector.inputs.tail_files.STEPS_AT_LEAST", 0)
    monkeypatch.setattr("collector.inputs.tail_files.STEPS_A_SECOND", 0)


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """inotify does not tell of anything."""
    wait = Lookout.wait

    def forget(lookout: Lookout, timeout_ms: int) -> list[WatchEvent]:
        for event in wait(lookout, timeout_ms):
            if event.pinned_fd >= 0:
                os.close(event.pinned_fd)
        return []

    monkeypatch.setattr("collector.native.files.Lookout.wait", forget)


def make_pods(folder: Path, count: int) -> list[Path]:
    directories = [folder / f"pod{number}" / "c" for number in range(count)]
    for directory in directories:
        directory.mkdir(parents=True)
        (directory / "0.log").write_text("x")
    return directories


def test_a_look_at_directories_that_are_watched_costs_the_same_however_many_they_are(
    tmp_path: Path, seen: Seen, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, looks, each_calls = 10, 20, 3
    calls: Counter[str] = Counter()

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def count(path: str, **how: object) -> object:
            if threading.current_thread().name == "tail discovery":
                calls[path] += 1
            return call(path, **how)

        return count

    directories = make_pods(tmp_path, 300)
    monkeypatch.setattr("collector.inputs.tail_files.STEPS_AT_LEAST", steps)
    follow(tmp_path / "*" / "*" / "*.log", refresh_s=LOOK_S)
    until(lambda: all(os.path.exists(one) for one in seen.paths) and len(seen.paths) == len(directories))
    # Those that are not known to be held are gone through once more, and there is a first round.
    for name in ("stat", "lstat", "listdir"):
        monkeypatch.setattr(f"collector.inputs.tail_files.os.{name}", counted(getattr(os, name)))
    until(lambda: calls["/"] > 1)
    calls.clear()
    until(lambda: calls["/"] > looks)
    above = len(tmp_path.parts)
    assert calls.total() < (calls["/"] + 1) * (each_calls * steps + 2 * above)
    until(lambda: all(calls[str(one)] for one in directories))


def test_what_inotify_did_not_tell_is_found_some_time(
    tmp_path: Path, seen: Seen, follow: Follow, untold: None
) -> None:
    directories = make_pods(tmp_path, 300)
    follow(tmp_path / "*" / "*" / "*.log", refresh_s=LOOK_S)
    (directories[200] / "1.log").write_text("x")
    seen.wait_for(directories[200] / "1.log")


def test_what_other_machines_change_is_found_by_the_next_look(
    tmp_path: Path, seen: Seen, follow: Follow, untold: None, only_needful: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("collector.inputs.watched_devices.tells_all", lambda path: False)
    pods, links = tmp_path / "pods", tmp_path / "links"
    links.mkdir()
    (directory,) = make_pods(pods, 1)
    (links / "x.log").symlink_to(directory / "0.log")
    follow(pods / "*" / "*" / "1.log", links / "*.log", refresh_s=LOOK_S)
    (directory / "1.log").write_text("x")
    seen.wait_for(directory / "1.log")
    (pods / "new" / "c").mkdir(parents=True)
    (pods / "new" / "c" / "1.log").write_text("x")
    seen.wait_for(pods / "new" / "c" / "1.log")
    (directory / "0.log").rename(directory / "0.log.1")
    (directory / "0.log").write_text("x")
    seen.wait(lambda: seen.paths.count(str(links / "x.log")) == 2)


def test_a_directory_that_can_t_be_watched_is_polled_and_no_other(
    tmp_path: Path, seen: Seen, follow: Follow, untold: None, only_needful: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, second = make_pods(tmp_path, 2)
    add_dir = Lookout.add_dir

    def refuse(lookout: Lookout, path: str, below: list[str]) -> int:
        if path == str(second):
            raise OSError(28, "No space left on device")
        return add_dir(lookout, path, below)

    monkeypatch.setattr("collector.native.files.Lookout.add_dir", refuse)
    monkeypatch.setattr("collector.inputs.tail_files.POLL_S", LOOK_S)
    follow(tmp_path / "*" / "*" / "*.log")
    (first / "1.log").write_text("x")
    (second / "1.log").write_text("x")
    seen.wait_for(second / "1.log")
    assert str(first / "1.log") not in seen.paths


def test_a_directory_put_over_another_is_found_by_the_next_look(
    tmp_path: Path, seen: Seen, follow: Follow, untold: None, only_needful: None
) -> None:
    """As by a mount, of which inotify does not tell."""
    logs = tmp_path / "logs"
    make_pods(logs, 1)
    follow(logs / "*" / "*" / "*.log", logs / "*" / "*" / "*.txt", refresh_s=LOOK_S)
    logs.rename(tmp_path / "covered")
    (directory,) = make_pods(logs, 1)
    (directory / "0.txt").write_text("x")
    seen.wait(lambda: seen.paths.count(str(directory / "0.log")) == 2)
    seen.wait_for(directory / "0.txt")


def test_a_file_that_was_left_is_found_again(
    tmp_path: Path, seen: Seen, follow: Follow, only_needful: None
) -> None:
    pods, links = tmp_path / "pods", tmp_path / "links"
    links.mkdir()
    (directory,) = make_pods(pods, 1)
    (links / "x.log").symlink_to(directory / "0.log")
    follow(links / "*.log", pods / "*" / "*" / "1.log", refresh_s=LOOK_S)
    (directory / "1.log").write_text("x")
    seen.wait_for(directory / "1.log")
    for path, name in ((links / "x.log", "0.log"), (directory / "1.log", "1.log")):
        status = os.stat(path)
        del seen.held[status.st_dev, status.st_ino]
        seen.left.append(str(directory / name))
        seen.wait(lambda path=str(path): seen.paths.count(path) == 2)  # type: ignore[misc]


def test_a_file_that_could_not_be_opened_is_tried_again(
    tmp_path: Path, seen: Seen, follow: Follow, only_needful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.log"
    path.write_text("x")
    pin, refused = tail_open.pin, [str(path)]

    def refuse_once(path: str) -> int:
        if path in refused:
            refused.remove(path)
            raise OSError(24, "Too many open files")
        return pin(path)

    monkeypatch.setattr("collector.inputs.tail_files.pin", refuse_once)
    follow(tmp_path / "*.log", refresh_s=LOOK_S)
    seen.wait_for(tmp_path / "x.log")
    (problem,) = seen.problems
    assert "RLIMIT_NOFILE" in problem.remedy


def test_a_directory_that_could_not_be_read_is_tried_again(
    tmp_path: Path, seen: Seen, follow: Follow, only_needful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory,) = make_pods(tmp_path, 1)
    listdir, refused = os.listdir, [str(directory)]

    def refuse_once(path: str) -> list[str]:
        if path in refused:
            refused.remove(path)
            raise OSError(24, "Too many open files")
        return listdir(path)

    monkeypatch.setattr("collector.inputs.tail_files.os.listdir", refuse_once)
    follow(tmp_path / "*" / "*" / "*.log", refresh_s=LOOK_S)
    seen.wait_for(directory / "0.log")


def test_files_that_were_found_and_are_held_are_not_asked_for(
    tmp_path: Path, seen: Seen, follow: Follow, only_needful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    stat = os.stat

    def count(path: str, **how: bool) -> os.stat_result:
        asked[path] += 1
        return stat(path, **how)

    directories = make_pods(tmp_path, 10)
    follow(tmp_path / "*" / "*" / "*.log", refresh_s=0.3)
    monkeypatch.setattr("collector.inputs.tail_files.os.stat", count)
    until(lambda: asked["/"] > 1)
    assert not any(asked[str(directory / "0.log")] for directory in directories)

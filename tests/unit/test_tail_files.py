"""Finding log files: at start, as they appear, behind links, and however short they live."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import until
from tests.unit.discovering import Follow, Seen, discovering

DEADLINE_S = 20.0
QUEUED = 4096  # PW_LOOKOUT_EVENTS


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    seen.close()


@pytest.fixture
def follow(seen: Seen) -> Iterator[Follow]:
    with discovering(seen) as start:
        yield start


def test_files_that_are_there_and_files_that_come(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    (tmp_path / "old.log").write_text("x")
    (tmp_path / "other.txt").write_text("x")
    follow(tmp_path / "*.log", excluded="*secret*")
    assert seen.paths == [str(tmp_path / "old.log")]
    assert seen.files[0].at_start
    (tmp_path / "secret.log").write_text("x")
    (tmp_path / "new.log").write_text("x")
    found = seen.wait_for(tmp_path / "new.log")
    assert not found.at_start
    assert os.pread(found.file.fd, 10, 0) == b"x"
    assert str(tmp_path / "secret.log") not in seen.paths


def test_a_file_moved_in_is_found(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    (tmp_path / "x.tmp").write_text("x")
    follow(tmp_path / "*.log")
    (tmp_path / "x.tmp").rename(tmp_path / "x.log")
    seen.wait_for(tmp_path / "x.log")


def test_wildcards_in_directories(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    follow(tmp_path / "*" / "b*" / "*.log")
    for number in range(5):
        directory = tmp_path / f"pod{number}" / "b"
        directory.mkdir(parents=True)
        (directory / "0.log").write_text("x")
        seen.wait_for(directory / "0.log")
        (directory / "1.log").write_text("x")
        seen.wait_for(directory / "1.log")


def test_a_missing_directory_is_awaited_and_may_come_again(
    tmp_path: Path, seen: Seen, follow: Follow
) -> None:
    (tmp_path / "stays").touch()
    directory = tmp_path / "a" / "b" / "c"
    follow(directory / "*.log")
    for number in range(3):
        directory.mkdir(parents=True)
        path = directory / f"{number}.log"
        path.write_text("x")
        seen.wait_for(path)
        path.unlink()
        os.removedirs(directory)


def test_a_link_and_what_takes_the_place_of_its_target(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    pods, links = tmp_path / "pods", tmp_path / "containers"
    pods.mkdir()
    links.mkdir()
    (pods / "0.log").write_text("first")
    (links / "x.log").symlink_to(pods / "0.log")
    follow(links / "*.log", pods / "none")
    assert seen.files[0].file.real_path == str(pods / "0.log")
    for number in range(4):
        (pods / "0.log").rename(pods / f"0.log.{number}")
        (pods / "0.log").write_text(f"second {number}")
        seen.wait_for_files(number + 2)
    assert set(seen.paths) == {str(links / "x.log")}
    (pods / "0.tmp").write_text("renamed over")
    (pods / "0.tmp").rename(pods / "0.log")
    seen.wait(lambda: len(seen.files) == 6)


def test_a_link_made_before_its_target(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    pods, links = tmp_path / "pods", tmp_path / "containers"
    pods.mkdir()
    links.mkdir()
    (links / "x.log").symlink_to(pods / "0.log")
    follow(links / "*.log", pods / "none")
    (pods / "0.log").write_text("x")
    seen.wait_for(links / "x.log")


def test_links_never_lead_out_of_the_permitted_directories(
    tmp_path: Path, seen: Seen, follow: Follow
) -> None:
    logs, outside = tmp_path / "logs", tmp_path / "outside"
    logs.mkdir()
    outside.mkdir()
    (outside / "shadow").write_text("secret")
    (logs / "evil.log").symlink_to(outside / "shadow")
    os.mkfifo(logs / "fifo.log")
    (logs / "directory.log").mkdir()
    follow(logs / "*.log")
    (logs / "evil2.log").symlink_to(outside / "shadow")
    (logs / "good.log").write_text("x")
    seen.wait_for(logs / "good.log")
    assert seen.paths == [str(logs / "good.log")]
    assert {str(logs / "evil.log"), str(logs / "evil2.log"), str(logs / "fifo.log")} <= set(seen.refused)


def test_early_files_are_told_once_and_again_under_their_link(
    tmp_path: Path, seen: Seen, follow: Follow
) -> None:
    pods, links = tmp_path / "pods", tmp_path / "containers"
    (pods / "p" / "c").mkdir(parents=True)
    links.mkdir()
    follow(links / "*.log", early=f"{pods}/*/*/*.log", refresh_s=0.05)
    target = pods / "p" / "c" / "0.log"
    target.write_text("x")
    assert seen.wait_for(target).early
    (links / "x.log").symlink_to(target)
    assert not seen.wait_for(links / "x.log").early
    assert seen.files[0].file.inode == seen.files[1].file.inode


SHORT_LIVED = """
import os, sys, time
for number in range(100):
    path = f"{sys.argv[1]}/{number}.log"
    with open(path, "wb") as file:
        file.write(b"%d" % number)
    time.sleep(0.02)
    os.unlink(path)
"""


SHORT_LIVED_PODS = """
import os, sys, time
for number in range(100):
    pod = f"{sys.argv[1]}/pod{number}"
    path = f"{pod}/container/0.log"
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(b"%d" % number)
    time.sleep(0.02)
    os.unlink(path)
    os.removedirs(os.path.dirname(path))
"""


@contextlib.contextmanager
def busy_interpreter() -> Iterator[None]:
    """Another thread gets its turn only five times a second."""
    ended = threading.Event()

    def compete() -> None:
        while not ended.is_set():
            sum(range(1000))

    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(0.2)
    rival = threading.Thread(target=compete)
    rival.start()
    try:
        yield
    finally:
        ended.set()
        rival.join()
        sys.setswitchinterval(usual_s)


@pytest.mark.parametrize(
    ("script", "pattern"), [(SHORT_LIVED, "*.log"), (SHORT_LIVED_PODS, "*/*/*.log")], ids=["files", "pods"]
)
def test_files_that_live_for_an_instant_are_opened(
    tmp_path: Path, seen: Seen, follow: Follow, script: str, pattern: str
) -> None:
    """Python gets its turn here only after several of them, or of their directories, have come and gone."""
    (tmp_path / "stays").touch()
    follow(tmp_path / pattern)
    with busy_interpreter():
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    seen.wait_for_files(100)
    assert [os.pread(found.file.fd, 100, 0) for found in seen.files] == [b"%d" % n for n in range(100)]
    assert seen.missed == []


def test_what_was_pinned_is_found_at_the_end_too(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    discovery = follow(tmp_path / "*.log")
    with stalled(tmp_path, seen):
        (tmp_path / "x.log").write_text("x")
        until(lambda: is_pinned(tmp_path / "x.log"))
        (tmp_path / "x.log").unlink()
        closing = threading.Thread(target=discovery.close)
        closing.start()
        until(discovery._ending.is_set)
    closing.join()
    assert seen.paths == [str(tmp_path / "stall.log"), str(tmp_path / "x.log")]


def is_pinned(path: Path) -> bool:
    return any(_leads_to(link, str(path)) for link in Path("/proc/self/fd").iterdir())


def _leads_to(link: Path, path: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(link) == path
    return False


@contextlib.contextmanager
def stalled(folder: Path, seen: Seen) -> Iterator[None]:
    """Nobody takes what the lookout sees, from when the file stall.log was found."""
    seen.is_quick.clear()
    (folder / "stall.log").write_text("x")
    seen.wait_for(folder / "stall.log")
    try:
        yield
    finally:
        seen.is_quick.set()


def make_events(folder: Path, count: int) -> None:
    for number in range(count // 2):
        name = folder / f"{number}.tmp"
        name.touch()
        name.unlink()


def test_what_was_gone_before_it_could_be_opened_is_told(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    """The lookout stands still, as its queue is full and nobody takes of it."""
    follow(tmp_path / "*.log", tmp_path / "pod*" / "c" / "*.log")
    with stalled(tmp_path, seen):
        make_events(tmp_path, 2 * QUEUED)
        (tmp_path / "x.log").write_text("x")
        (tmp_path / "renamed.log").write_text("x")
        (tmp_path / "renamed.log").rename(tmp_path / "kept.log")
        (tmp_path / "x.log").unlink()
        (tmp_path / "x.txt").touch()
        (tmp_path / "x.txt").unlink()
        (tmp_path / "pod1").mkdir()
        (tmp_path / "pod1").rmdir()
        for pod, name in (("pod2", "0.log"), ("pod3", "0.log")):
            (tmp_path / pod / "c").mkdir(parents=True)
            (tmp_path / pod / "c" / name).write_text("x")
        (tmp_path / "pod2" / "c" / "0.log").unlink()
        (tmp_path / "pod4" / "c").mkdir(parents=True)
    (tmp_path / "last.log").write_text("x")
    seen.wait_for(tmp_path / "last.log")
    seen.wait_for(tmp_path / "pod3" / "c" / "0.log")
    assert seen.missed == [str(tmp_path / name) for name in ("x.log", "pod1", "pod2/c")]
    assert str(tmp_path / "kept.log") in seen.paths


def test_what_was_replaced_before_it_could_be_opened_is_told(
    tmp_path: Path, seen: Seen, follow: Follow
) -> None:
    """As CRI-O rotates: the next file is renamed over the log. Put back under its name, none is missed."""
    follow(tmp_path / "*.log", excluded="*secret*")
    with stalled(tmp_path, seen):
        make_events(tmp_path, 2 * QUEUED)
        for name in ("0.log", "secret.log"):
            for number in range(3):
                (tmp_path / "next").write_text(str(number))
                (tmp_path / "next").rename(tmp_path / name)
        (tmp_path / "1.log").write_text("x")
        (tmp_path / "1.log").rename(tmp_path / "1.old")
        (tmp_path / "1.old").rename(tmp_path / "1.log")
    (tmp_path / "last.log").write_text("x")
    seen.wait_for(tmp_path / "last.log")
    assert seen.missed == [str(tmp_path / "0.log")] * 2
    assert seen.paths.count(str(tmp_path / "0.log")) >= 1


IN_AN_INSTANT = """
import os, sys
for number in range(3000):
    folder = f"{sys.argv[1]}/pod{number}"
    os.mkdir(folder)
    open(folder + "/0.log", "w").close()
    os.unlink(folder + "/0.log")
    os.rmdir(folder)
"""


def test_what_was_opened_is_not_told_as_missed(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    """A file in a new directory is found by the look into it, and gone when its own event is taken."""
    follow(tmp_path / "*" / "*.log")
    subprocess.run([sys.executable, "-c", IN_AN_INSTANT, str(tmp_path)], check=True)
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "0.log").touch()
    seen.wait_for(tmp_path / "last" / "0.log")
    opened = {name for path in seen.paths for name in (path, os.path.dirname(path))}
    assert not opened.intersection(seen.missed)


def test_an_empty_directory_whose_time_is_set_back_had_no_log(
    tmp_path: Path, seen: Seen, follow: Follow
) -> None:
    follow(tmp_path / "*" / "*.log")
    for number in range(300):
        folder = tmp_path / f"pod{number}"
        folder.mkdir()
        os.utime(folder, (1, 1))
    (tmp_path / "pod299" / "0.log").touch()
    seen.wait_for(tmp_path / "pod299" / "0.log")
    assert seen.missed == []


def test_a_directory_that_is_renamed_is_watched_on(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "c").mkdir(parents=True)
    (tmp_path / "stays").touch()
    follow(tmp_path / "*" / "*" / "*.log")
    before.rename(after)
    (after / "c" / "0.log").touch()
    seen.wait_for(after / "c" / "0.log")
    (after / "d").mkdir()
    (after / "d" / "0.log").touch()
    seen.wait_for(after / "d" / "0.log")
    (before / "c").mkdir(parents=True)
    (before / "c" / "0.log").touch()
    seen.wait_for(before / "c" / "0.log")
    (after / "c" / "1.log").touch()
    seen.wait_for(after / "c" / "1.log")


def test_lost_events_are_made_up_for(tmp_path: Path, seen: Seen, follow: Follow) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    follow(tmp_path / "*.log")
    with stalled(tmp_path, seen):
        make_events(tmp_path, limit + QUEUED + 100)
        (tmp_path / "after.log").write_text("x")
    seen.wait_for(tmp_path / "after.log")
    (problem,) = seen.problems
    assert "fs.inotify.max_queued_events" in problem.remedy


def test_without_an_instance_directories_are_polled(
    tmp_path: Path, seen: Seen, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lookout: object) -> None:
        raise OSError(24, "Too many open files", "inotify_init1")

    monkeypatch.setattr("collector.native.files.Lookout.__init__", refuse)
    monkeypatch.setattr("collector.inputs.tail_files.POLL_S", 0.02)
    follow(tmp_path / "*.log")
    (tmp_path / "x.log").write_text("x")
    seen.wait_for(tmp_path / "x.log")
    (problem,) = seen.problems
    assert "inotify_init1: Too many open files" in problem.problem
    assert problem.remedy == "Raise the sysctl fs.inotify.max_user_instances."


def test_without_watches_directories_are_polled(
    tmp_path: Path, seen: Seen, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(watch: object, path: str, below: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("collector.native.files.Lookout.add_dir", refuse)
    monkeypatch.setattr("collector.inputs.tail_files.POLL_S", 0.02)
    follow(tmp_path / "*.log")
    (tmp_path / "x.log").write_text("x")
    seen.wait_for(tmp_path / "x.log")
    (problem,) = seen.problems
    assert "fs.inotify.max_user_watches" in problem.remedy

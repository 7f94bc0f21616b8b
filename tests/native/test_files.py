"""inotify and reading, as Python sees them (collector.native.files)."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

import pytest

from collector.entries import unpack_entries
from collector.native import files, logs
from collector.native.files import FileWatch, Lookout, has_writer, read, tells_all
from collector.native.logs import INPUT_BYTES, LogStream
from collector.plan import Framing, Layout, LogPlan

PLAN = LogPlan(Framing.LINE, Layout(content="log"))
WAIT_MS = 20_000


def test_a_lookout_tells_names_and_pins_what_appeared(tmp_path: Path) -> None:
    lookout = Lookout()
    wd = lookout.add_dir(str(tmp_path))
    assert lookout.add_dir(str(tmp_path)) == wd
    name = os.fsdecode(b"not utf-8 \xff.log")
    (tmp_path / name).write_text("x")
    (event,) = lookout.wait(WAIT_MS)
    assert (event.wd, event.mask, event.name) == (wd, files.CREATE, name)
    assert os.readlink(f"/proc/self/fd/{event.pinned_fd}") == str(tmp_path / name)
    os.close(event.pinned_fd)
    (tmp_path / name).rename(tmp_path / "b")
    seen = [seen for _ in range(2) for seen in lookout.wait(WAIT_MS if not _ else 0)]
    assert {event.mask for event in seen} <= {files.MOVED_FROM, files.MOVED_TO}
    for event in seen:
        if event.pinned_fd >= 0:
            os.close(event.pinned_fd)
    lookout.close()
    lookout.close()


def test_a_directory_that_could_not_be_looked_into_is_left_to_the_receiver(tmp_path: Path) -> None:
    """One descriptor is left, which pins the directory; what is in it would be told by nobody."""
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "0.log").touch()
    watched = tmp_path / "watched"
    watched.mkdir()
    lookout = Lookout()
    lookout.add_dir(str(watched), ["*/*.log"])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, most[1]))
    try:
        (tmp_path / "pod").rename(watched / "pod")
        event = lookout.wait(WAIT_MS)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert (event.name, event.child_wd, event.error) == ("pod", -1, 0)
    lookout.close()


def test_a_lookout_is_woken(tmp_path: Path) -> None:
    lookout = Lookout()
    waker = threading.Timer(0.05, lookout.wake)
    waker.start()
    started_s = time.monotonic()
    assert lookout.wait(WAIT_MS) == []
    assert time.monotonic() - started_s < WAIT_MS / 1000
    waker.join()
    lookout.close()


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    lookout = Lookout()
    with pytest.raises(FileNotFoundError):
        lookout.add_dir(str(tmp_path / "x"))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        lookout.add_dir(str(tmp_path / "file"))
    lookout.close()


def test_when_no_descriptor_is_left_the_error_says_so() -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, usual[1]))
    try:
        for made in (FileWatch, Lookout):
            with pytest.raises(OSError, match="Too many open files"):
                made()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def test_a_watched_file_tells_growth_by_any_name(tmp_path: Path) -> None:
    watch = FileWatch()
    path = tmp_path / "a"
    path.touch()
    reader = os.open(path, os.O_RDONLY)
    wd = watch.add(reader)
    assert watch.read() == []
    path.rename(tmp_path / "b")
    with (tmp_path / "b").open("ab") as writer:
        writer.write(b"x")
        writer.flush()
        assert watch.read() == [(wd, files.MOVE_SELF | files.MODIFY)]
    (tmp_path / "b").unlink()
    assert watch.read() == [(wd, files.CLOSE_WRITE | files.ATTRIB)]
    watch.remove(wd)
    watch.remove(wd)
    os.close(reader)
    watch.close()


@pytest.mark.parametrize("portion_bytes", [1, INPUT_BYTES, 3 * INPUT_BYTES, 1 << 20])
def test_reading_goes_in_portions(
    tmp_path: Path, portion_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of INPUT_BYTES, until the portion is consumed or written."""
    monkeypatch.setattr(logs.ARENA.input, "enough_bytes", portion_bytes)
    lines = [f"line {number}" for number in range(INPUT_BYTES)]
    path = tmp_path / "a"
    path.write_text("\n".join(lines) + "\nrest")
    fd = os.open(path, os.O_RDONLY)
    stream, offset, found = LogStream(PLAN), 0, []
    at_end = False
    while not at_end:
        batch, at_end = read(stream, fd, offset, 1)
        offset += batch.consumed
        assert at_end or max(batch.consumed, len(batch.entries)) >= min(portion_bytes, INPUT_BYTES - 16)
        assert batch.consumed < portion_bytes + INPUT_BYTES
        found += [str(dict(pairs)["log"]) for _, pairs in unpack_entries(batch.entries)]
    assert found == lines
    batch, at_end = read(stream, fd, offset, 1, end=True)
    assert (batch.records, batch.consumed, at_end) == (1, 4, True)
    os.close(fd)


def test_a_portion_ends_with_a_line_however_long(tmp_path: Path) -> None:
    """Else each of many logs would hold the start of a line in memory, and not in its file."""
    lines = [f"{number} " + "x" * (1 << 20) for number in range(7)]
    path = tmp_path / "a"
    path.write_text("\n".join(lines) + "\n")
    fd = os.open(path, os.O_RDONLY)
    stream, offset, found = LogStream(PLAN), 0, []
    at_end = False
    while not at_end:
        batch, at_end = read(stream, fd, offset, 1)
        offset += batch.consumed
        found += [str(dict(pairs)["log"]) for _, pairs in unpack_entries(batch.entries)]
        assert batch.partials == (-1, -1)
        assert offset == sum(len(line) + 1 for line in found)
    assert found == lines
    os.close(fd)


def test_a_line_that_has_no_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """It is longer than any record, and the rest of it is to be passed over."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * (16 << 20))
    fd = os.open(path, os.O_RDONLY)
    batch, at_end = read(LogStream(PLAN), fd, 0, 1)
    assert not at_end
    assert batch.consumed <= logs.DEFAULT_MAX_RECORD_BYTES + 2 * INPUT_BYTES
    os.close(fd)


def test_a_read_that_fails_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        read(LogStream(PLAN), -1, 0, 1)
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        read(LogStream(PLAN), directory, 0, 1)
    os.close(directory)


def test_a_writer_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb"):
        reader = os.open(path, os.O_RDONLY)
        assert has_writer(reader) is True
    assert has_writer(reader) is False
    os.close(reader)
    assert has_writer(reader) is None


def test_where_other_machines_write_watches_do_not_tell_all(tmp_path: Path) -> None:
    assert tells_all("/dev/shm")
    assert not tells_all("/proc")
    with pytest.raises(FileNotFoundError):
        tells_all(str(tmp_path / "missing"))

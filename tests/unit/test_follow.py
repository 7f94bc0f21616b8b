"""One followed file: what tells it from others, and when it has come to its end."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.delivery.chunk import INHERITED, FileKey, Position, fingerprint
from collector.entries import unpack_entries
from collector.inputs.follow import FollowedFile, is_file_of
from collector.inputs.portion import Portion
from collector.inputs.tail_open import open_pinned, pin
from collector.native import logs
from collector.native.logs import LogStream
from collector.plan import CRI_JOINED_LAYOUT, Framing, LogPlan
from tests.unit.conftest import LINES

CRI = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)

Follow = Callable[..., FollowedFile]


def texts(portion: Portion) -> list[str]:
    return [str(dict(pairs)["log"]) for _, pairs in unpack_entries(portion.entries)]


def cri(stream: str, tag: str, text: str) -> bytes:
    return f"2026-01-01T00:00:00Z {stream} {tag} {text}\n".encode()


def test_a_portion_moves_the_offset_over_whole_lines(tmp_path: Path, follow: Follow) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\nthr")
    file = follow(path)
    portion = file.read_portion(1)
    assert texts(portion) == ["one", "two"]
    assert (portion.from_offset, portion.to_offset, portion.at_end) == (0, 8, True)
    assert file.has_rest
    with path.open("ab") as writer:
        writer.write(b"ee\n")
    assert texts(file.read_portion(1)) == ["three"]
    assert not file.has_rest


def test_what_was_read_of_a_file_that_was_empty_when_it_was_looked_at_has_a_fingerprint(
    tmp_path: Path, follow: Follow
) -> None:
    """Its first line is written between the look and the read."""
    path = tmp_path / "a.log"
    path.touch()
    file = follow(path)
    file.look_at_head()
    path.write_bytes(b"one\n")
    assert texts(file.read_portion(1)) == ["one"]
    assert file.key.fingerprint == fingerprint(b"one\n")


def test_the_fingerprint_grows_with_a_short_file(tmp_path: Path, follow: Follow) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"short\n")
    file = follow(path)
    file.look_at_head()
    first = file.key
    assert first.fingerprint == fingerprint(b"short\n")
    with path.open("ab") as writer:
        writer.write(b"x" * 5000)
    assert not file.is_truncated()
    assert file.key.fingerprint_bytes == 1024
    assert is_file_of(file.file, first)
    assert is_file_of(file.file, file.key)
    path.write_bytes(b"other\n" + b"x" * 5000)
    assert not is_file_of(file.file, first)
    assert not is_file_of(file.file, FileKey(first.device, first.inode + 1, first.fingerprint, 6))


@pytest.mark.parametrize("content", [b"", b"one\n", b"another beginning, and longer than before\n"])
def test_a_file_written_anew_is_truncated(tmp_path: Path, follow: Follow, content: bytes) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\nthree\n")
    file = follow(path)
    assert not file.is_truncated()
    file.read_portion(1)
    path.write_bytes(content)
    assert file.is_truncated()
    file.begin_anew()
    assert not file.is_truncated()
    assert texts(file.read_portion(1)) == content.decode().splitlines()


@pytest.mark.parametrize(
    ("content", "offset"), [(b"", 0), (b"a\n", 2), (b"a\nb", 2), (b"b", 0), (b"x" * 100_000, 100_000)]
)
def test_the_end_is_behind_a_whole_line(tmp_path: Path, follow: Follow, content: bytes, offset: int) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(content)
    file = follow(path)
    file.start_at_end()
    assert file.offset == offset


def test_a_file_is_final_when_it_lost_its_name_and_nobody_can_write(tmp_path: Path, follow: Follow) -> None:
    path = tmp_path / "a.log"
    writer = path.open("wb")
    file = follow(path)
    file.look_at_names()
    assert not file.is_final(100, 5)
    path.rename(tmp_path / "a.log.1")
    file.look_at_names()
    assert file.is_rotated
    assert not file.is_final(100, 5)
    writer.close()
    assert file.is_final(100, 5)
    (tmp_path / "a.log.1").rename(path)
    file.look_at_names()
    assert not file.is_final(100, 5)
    path.unlink()
    file.look_at_names()
    assert file.is_gone
    assert file.is_final(100, 5)


def test_where_writers_can_not_be_seen_time_decides(
    tmp_path: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x")
    file = follow(path)
    path.unlink()
    file.look_at_names()
    monkeypatch.setattr("collector.inputs.follow.has_writer", lambda fd: None)
    file.grown_s = 100
    assert not file.is_final(104, 5)
    assert file.is_final(105, 5)


def test_open_records_go_on_in_the_next_file(tmp_path: Path, follow: Follow) -> None:
    first, second = tmp_path / "0.log.1", tmp_path / "0.log"
    first.write_bytes(cri("stdout", "F", "whole") + cri("stdout", "P", "be") + cri("stderr", "P", "er"))
    second.write_bytes(cri("stderr", "F", "ror") + cri("stdout", "P", "gi") + cri("stdout", "F", "n"))
    earlier, later = follow(first, CRI), follow(second, CRI)
    assert texts(earlier.read_portion(1)) == ["whole"]
    later.inherit(earlier)
    assert max(later.inherited) >= 0
    assert texts(later.read_portion(1)) == ["error", "begin"]
    assert later.take_partials() == (-1, -1)
    assert later.inherited_lines == b""


def test_an_inherited_record_is_marked_by_offset_0(tmp_path: Path, follow: Follow) -> None:
    first, second, third = (tmp_path / f"0.log.{number}" for number in (2, 1, 0))
    first.write_bytes(cri("stdout", "P", "a"))
    second.write_bytes(cri("stdout", "P", "b") + cri("stderr", "F", "x"))
    third.write_bytes(cri("stdout", "F", "c"))
    one, two, three = follow(first, CRI), follow(second, CRI), follow(third, CRI)
    one.read_portion(1)
    two.inherit(one)
    two.read_portion(1)
    assert two.take_partials() == (INHERITED, -1)
    three.inherit(two)
    assert texts(three.read_portion(1)) == ["abc"]


def test_after_a_restart_only_what_was_open_is_inherited(tmp_path: Path, follow: Follow) -> None:
    first, second = tmp_path / "0.log.1", tmp_path / "0.log"
    first.write_bytes(cri("stdout", "P", "a") + cri("stderr", "P", "x"))
    second.write_bytes(cri("stderr", "F", "y") + cri("stdout", "F", "b"))
    earlier, later = follow(first, CRI), follow(second, CRI)
    earlier.read_portion(1)
    delivered = len(cri("stderr", "F", "y"))
    later.resume(Position(later.key, str(second), delivered, (INHERITED, -1)))
    later.inherit(earlier)
    assert texts(later.read_portion(1)) == ["ab"]


def test_closing_open_records_needs_no_more_bytes(tmp_path: Path, follow: Follow) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(cri("stdout", "P", "never ended"))
    file = follow(path, CRI)
    assert texts(file.read_portion(1)) == []
    assert file.has_open_records
    assert texts(file.close_open_records(1)) == ["never ended"]
    assert not file.has_open_records


def test_the_file_is_closed_with_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x\n")
    file = FollowedFile(open_pinned(pin(str(path)), (str(tmp_path),)), str(path), LogStream(LINES))
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.fd)


def test_a_file_that_says_nothing_takes_little_memory(tmp_path: Path, follow: Follow) -> None:
    """Ten thousand of them are to fit beside the rest."""
    path, count = tmp_path / "a.log", 200
    path.write_bytes(b"one\n")
    tracemalloc.start()
    try:
        files = [follow(path) for _ in range(count)]
        for file in files:
            file.read_portion(1)
        for _ in range(2):
            logs.forget_unused_plans()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken_bytes / count < 1600

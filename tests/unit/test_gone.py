"""What the next start can read again of a log, by whatever name, and what it can't."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.inputs.follow import FollowedFile
from collector.inputs.gone import is_gone
from collector.inputs.tail_open import open_pinned, pin
from collector.native.logs import LogStream
from tests.unit.conftest import LINES

Follow = Callable[..., FollowedFile]
OLD = "20260101-000001"


def read(path: Path, follow: Follow) -> FollowedFile:
    path.write_bytes(b"one\ntwo\n")
    file = follow(path)
    file.read_portion(1)
    return file


def test_the_oldest_of_several_rotated_files_is_about_to_go_and_there(tmp_path: Path, follow: Follow) -> None:
    log = tmp_path / "0.log"
    file = read(log, follow)
    assert not is_gone(file.vanishing, file.key)
    log.rename(tmp_path / f"0.log.{OLD}")
    for name in ("0.log", "0.log.20260101-000002"):
        (tmp_path / name).write_bytes(b"other\n")
    assert file.vanishing()
    assert not is_gone(file.vanishing, file.key)


def test_without_a_name_it_is_gone_and_compressed_it_is_not(tmp_path: Path, follow: Follow) -> None:
    log = tmp_path / "0.log"
    file = read(log, follow)
    log.unlink()
    assert is_gone(file.vanishing, file.key)
    log.write_bytes(b"other\n")
    assert is_gone(file.vanishing, file.key)
    (tmp_path / f"0.log.{OLD}.gz").write_bytes(gzip.compress(b"another\n"))
    assert is_gone(file.vanishing, file.key)
    (tmp_path / f"0.log.{OLD}.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert not is_gone(file.vanishing, file.key)


@pytest.mark.parametrize("becomes", ["renamed", "copied", "unlinked", "not a file", "of no directory"])
def test_after_it_was_closed(tmp_path: Path, becomes: str) -> None:
    log = tmp_path / "logs" / "0.log"
    log.parent.mkdir()
    log.write_bytes(b"one\n")
    file = FollowedFile(open_pinned(pin(str(log)), (str(tmp_path),)), str(log), LogStream(LINES))
    file.read_portion(1)
    key = file.key
    file.close()
    assert not is_gone(file.vanishing, key)
    if becomes == "renamed":
        log.rename(f"{log}.{OLD}")
    else:
        log.unlink()
    if becomes == "copied":
        Path(f"{log}.1").write_bytes(b"one\nmore\n")
    elif becomes == "not a file":
        os.mkfifo(f"{log}.{OLD}")
    elif becomes == "of no directory":
        log.parent.rmdir()
    assert is_gone(file.vanishing, key) == (becomes not in ("renamed", "copied"))


def test_what_a_truncation_cut_off_is_gone(tmp_path: Path, follow: Follow) -> None:
    file = read(tmp_path / "0.log", follow)
    before = file.vanishing
    file.cut_off()
    assert is_gone(before, file.key)
    assert not is_gone(file.vanishing, file.key)

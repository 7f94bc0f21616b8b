"""Opening a log file: only regular files, only where logs are, and the very file that was looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.inputs.tail_open import Refused, open_pinned, path_of, pin


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_opened_by_its_real_name(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("text")
    (tmp_path / "link.log").symlink_to("a.log")
    before = descriptors()
    opened = open_pinned(pin(str(tmp_path / "link.log")), (str(tmp_path),))
    status = (tmp_path / "a.log").stat()
    assert (opened.device, opened.inode) == (status.st_dev, status.st_ino)
    assert opened.real_path == str(tmp_path / "a.log")
    assert os.read(opened.fd, 10) == b"text"
    os.close(opened.fd)
    assert descriptors() == before


def test_a_pinned_file_is_opened_after_its_name_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("text")
    pinned = pin(str(tmp_path / "a.log"))
    (tmp_path / "a.log").unlink()
    (tmp_path / "a.log").write_text("another")
    opened = open_pinned(pinned, (str(tmp_path),))
    assert os.read(opened.fd, 10) == b"text"
    assert opened.real_path == path_of(opened.fd) == str(tmp_path / "a.log")
    os.close(opened.fd)


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "outside"])
def test_what_is_no_log_file_is_refused(tmp_path: Path, kind: str) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    path = logs / "x.log"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        (tmp_path / "secret").write_text("x")
        path.symlink_to(tmp_path / "secret")
    before = descriptors()
    with pytest.raises(Refused):
        open_pinned(pin(str(path)), (str(logs),))
    assert descriptors() == before

"""Whether a file could be read again: renamed, the oldest of several, unlinked, closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.inputs import vanishing
from collector.inputs.vanishing import Vanishing


@pytest.fixture(autouse=True)
def always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vanishing, "LISTING_S", 0.0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, Vanishing, int]]:
    path = tmp_path / "0.log"
    path.write_text("x\n")
    fd = os.open(path, os.O_RDONLY)
    yield path, Vanishing(fd, str(path)), fd
    os.close(fd)


def test_until_it_is_the_oldest_of_two(log: tuple[Path, Vanishing, int]) -> None:
    path, is_vanishing, _ = log
    assert not is_vanishing()
    path.rename(f"{path}.20260101-000001")
    assert not is_vanishing()
    Path(f"{path}.20260101-000002").touch()
    assert is_vanishing()
    Path(f"{path}.20260101-000000").touch()
    assert not is_vanishing()


def test_unlinked(log: tuple[Path, Vanishing, int]) -> None:
    path, is_vanishing, _ = log
    path.unlink()
    assert is_vanishing()


def test_closed(log: tuple[Path, Vanishing, int]) -> None:
    path, is_vanishing, _ = log
    path.rename(f"{path}.20260101-000001")
    is_vanishing.closing()
    assert not is_vanishing()
    Path(f"{path}.20260101-000002").touch()
    assert is_vanishing()


@pytest.mark.parametrize("happening", ["unlinked", "renamed", "replaced", "truncated"])
def test_closed_and_gone(log: tuple[Path, Vanishing, int], happening: str) -> None:
    path, is_vanishing, _ = log
    is_vanishing.closing()
    if happening == "renamed":
        path.rename(f"{path}.20260101-000001")
    elif happening == "unlinked":
        path.unlink()
    elif happening == "truncated":
        os.truncate(path, 0)
    else:
        Path(f"{path}.new").touch()
        os.rename(f"{path}.new", path)
    assert is_vanishing()


def test_unlinked_then_closed_and_another_file_has_name_and_inode(
    log: tuple[Path, Vanishing, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, is_vanishing, fd = log
    path.unlink()
    is_vanishing.closing()
    other = os.fstat(fd)
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda _: other)
        answer = is_vanishing()
    assert answer


def test_a_large_directory_is_not_listed_for_each_question(
    log: tuple[Path, Vanishing, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, is_vanishing, _ = log
    monkeypatch.setattr(vanishing, "LISTING_S", 1000.0)
    path.rename(f"{path}.20260101-000001")
    assert not is_vanishing()
    Path(f"{path}.20260101-000002").touch()
    assert not is_vanishing()

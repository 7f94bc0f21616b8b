"""Directories that are watched, and what is wanted in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.errors import OperatorError
from collector.inputs.tail_directories import Directories, Wanted
from collector.inputs.tail_paths import compile_path

PATTERN = compile_path("/logs/*/*.log")


@pytest.fixture
def directories() -> Iterator[Directories]:
    def fail(problem: OperatorError) -> None:
        pytest.fail(str(problem))

    made = Directories(fail, watches=True)
    made.begin()
    yield made
    made.close()


def wanted_in(shown: Path | str) -> Wanted:
    return Wanted(PATTERN, 1, str(shown), False)


def test_wanted_names_go_down_the_pattern() -> None:
    above = Wanted(PATTERN, -1, "/", False)
    assert above.matches("logs")
    assert not above.matches("log")
    top = above.inside("logs")
    assert (top.level, top.shown, top.is_last, top.below) == (0, "/logs", False, "*/*.log")
    inside = top.inside("pod")
    assert (inside.level, inside.shown, inside.is_last) == (1, "/logs/pod", True)
    assert inside.matches("0.log")
    assert not inside.matches("0.txt")


def test_a_directory_is_one_under_each_of_its_names(tmp_path: Path, directories: Directories) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    place.mkdir()
    link.symlink_to(place)
    by_link = directories.watch(str(link), wanted_in(link))
    by_place = directories.watch(str(place), wanted_in(place))
    assert by_link is not None
    assert by_link is by_place is directories.at(str(place)) is directories.of_event(by_link.wd)
    assert by_link.wanted == (wanted_in(link), wanted_in(place))
    assert directories.watch(str(tmp_path / "missing")) is None


def test_what_is_wanted_is_to_be_listed_once(tmp_path: Path, directories: Directories) -> None:
    wanted = wanted_in(tmp_path)
    directory = directories.watch(str(tmp_path), wanted)
    assert directory is not None
    assert directory.take_unlisted(wanted)
    assert directories.watch(str(tmp_path), wanted) is directory
    assert not directory.take_unlisted(wanted)


def test_one_made_anew_is_another(tmp_path: Path, directories: Directories) -> None:
    place = tmp_path / "place"
    place.mkdir()
    before = directories.watch(str(place), wanted_in(place))
    assert before is not None
    held = os.open(place, os.O_PATH)  # so that its inode is not given away
    place.rmdir()
    assert not before.is_there
    place.mkdir()
    after = directories.watch(str(place), wanted_in(place))
    assert after is not None
    assert after is not before
    assert after.is_there
    assert before.wd == -1
    os.close(held)


def test_what_inotify_does_not_tell_of_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems: list[OperatorError] = []
    directories = Directories(problems.append, watches=False)
    directories.begin()
    directories.watch(str(tmp_path))
    assert list(directories.untold) == [str(tmp_path)]
    assert not directories.are_watched
    monkeypatch.setattr("collector.inputs.watched_devices.tells_all", lambda path: False)
    of_network = Directories(problems.append, watches=True)
    of_network.begin()
    directory = of_network.watch(str(tmp_path))
    assert directory is not None
    assert list(of_network.untold) == [str(tmp_path)]
    assert of_network.are_watched
    of_network.forget(directory)
    assert not of_network.untold
    of_network.close()
    assert problems == []


def test_places_are_those_without_links(
    tmp_path: Path, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    (place / "c").mkdir(parents=True)
    link.symlink_to("place")
    (place / "c" / "0.log").touch()
    for name, target in (
        ("plain", place / "c" / "0.log"),
        ("through", link / "c" / "0.log"),
        ("relative", Path("place/c/0.log")),
        ("crooked", Path(f"{place}/c/../c/0.log")),
        ("twice", tmp_path / "plain"),
    ):
        (tmp_path / name).symlink_to(target)
        assert directories.place_of(str(tmp_path / name)) == str(place / "c" / "0.log"), name
    assert directories.place_of(str(link / "c" / "0.log")) == str(place / "c" / "0.log")
    shown = directories.watch(str(link))
    monkeypatch.setattr(os.path, "realpath", lambda path: pytest.fail(f"{path} is resolved all the way"))
    inside = directories.watch(str(link / "c"))
    assert shown is not None
    assert inside is not None
    assert (shown.path, inside.path) == (str(place), str(place / "c"))
    assert directories.place_of(str(link / "c" / "0.log")) == str(place / "c" / "0.log")
    assert directories.place_of(str(tmp_path / "plain")) == str(place / "c" / "0.log")

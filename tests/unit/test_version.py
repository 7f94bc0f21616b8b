"""The version is that of the installed package, also when there is none."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from collector.version import version, version_in


def test_it_is_the_packages() -> None:
    assert version() == metadata.version("podwitness")


def test_a_tree_that_was_not_installed_says_0(tmp_path: Path) -> None:
    assert version_in([str(tmp_path), str(tmp_path / "no.zip")]) == "0"


def test_the_first_of_the_path_counts(tmp_path: Path) -> None:
    for folder, name in (("a", "other-7"), ("b", "podwitness-1.2.3rc4"), ("c", "podwitness-9")):
        (tmp_path / folder / f"{name}.dist-info").mkdir(parents=True)
    assert version_in([str(tmp_path / folder) for folder in "abc"]) == "1.2.3rc4"

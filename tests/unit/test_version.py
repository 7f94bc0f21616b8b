"""The version is that of the installed package, also when there is none."""

from __future__ import annotations

from importlib import metadata

import pytest

from collector.version import version


def test_it_is_the_packages() -> None:
    assert version() == metadata.version("podwitness")


def test_a_tree_that_was_not_installed_says_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert version() == "0"

"""The table of plugins: each row is a module with what a plugin has."""

from __future__ import annotations

import dataclasses

import pytest

from collector.config.schema import keys_of
from collector.plugins import PLUGINS, Row, find, names


@pytest.mark.parametrize("row", PLUGINS, ids=lambda row: row.module)
def test_each_module_has_what_a_plugin_has(row: Row) -> None:
    module = row.load()
    assert dataclasses.is_dataclass(module.Settings)
    assert module.SUMMARY.endswith(".")
    assert callable(module.make)
    assert all(key.help for key in keys_of(module.Settings))


def test_names_are_found_without_case() -> None:
    row = find("output", "STDOUT")
    assert row is not None
    assert row.module == "collector.outputs.stdout"
    assert find("input", "stdout") is None
    assert names("filter")[:2] == ("kubernetes", "modify")

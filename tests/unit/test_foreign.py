"""Keys of Fluent Bit: which are accepted without effect, which are refused by name."""

from __future__ import annotations

import pytest

from collector.config.foreign import FLUENT_BIT, IGNORED, unsupported
from collector.config.instances import FilterCommon, InputCommon, OutputCommon
from collector.config.schema import keys_of
from collector.config.service import ServiceSettings
from collector.plugins import PLUGINS


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("service", ServiceSettings),
        ("input", InputCommon),
        ("filter", FilterCommon),
        ("output", OutputCommon),
    ],
)
def test_what_is_ignored_is_not_a_key_as_well(kind: str, settings: type) -> None:
    assert IGNORED[kind].keys() & {key.name.lower() for key in keys_of(settings)} == set()


def test_tables_name_plugins_that_exist() -> None:
    assert {row for row in FLUENT_BIT if row[0] != "service"} <= {(row.kind, row.name) for row in PLUGINS}


def test_names_are_in_lower_case() -> None:
    names = {name for row in FLUENT_BIT.values() for name in row} | {
        name for row in IGNORED.values() for name in row
    }
    assert names == {name.lower() for name in names}


def test_keys_of_the_plugin_and_of_its_kind() -> None:
    assert {"multiline", "listen"} <= unsupported("input", "tail")
    assert "listen" in unsupported("input", "ebpf")

"""The page of keys: every key of every plugin is on it. That the page is fresh is in test_pages.py."""

from __future__ import annotations

import pytest

from collector.config import reference
from collector.config.instances import FilterCommon, InputCommon, OutputCommon
from collector.config.parsers import Parser
from collector.config.schema import keys_of
from collector.config.service import ServiceSettings
from collector.config.upstreams import NodeKeys
from collector.plugins import PLUGINS


def test_every_key_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main([]) == 0
    page = capsys.readouterr().out
    declared = [ServiceSettings, InputCommon, FilterCommon, OutputCommon, NodeKeys, Parser]
    declared += [row.load().Settings for row in PLUGINS]
    for settings in declared:
        for key in keys_of(settings):
            names = ", ".join(f"`{name}`" for name in key.names)
            assert f"| {names} |" in page
    assert all(f"### {row.name}\n" in page for row in PLUGINS)


def test_the_table_of_a_class() -> None:
    assert "| `Flush` | time | `1` | Longest time that records wait to be sent. |" in reference.page()
    assert "| `Name` | text | (required) | The plugin. |" in reference.page()
    assert "| `HTTP2`, `http_server.http2` | On or Off | `On` |" in reference.page()

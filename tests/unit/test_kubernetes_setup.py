"""Parsers that are not there, and no server to ask (collector.filters.kubernetes_setup)."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.context import Context
from collector.errors import ConfigError
from collector.filters.kubernetes import Kubernetes, Settings, make
from collector.identity.identity import Identity
from collector.record import Record
from tests.kubernetes_filter import ID, House


@pytest.mark.parametrize(
    ("key", "value"), [("Regex_Parser", "kv"), ("Regex_Parser", "none"), ("Merge_Parser", "none")]
)
def test_parsers_that_cannot_be_used(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.conf:1: .*" + value):
        House(tmp_path, (key, value))


def test_without_a_server_the_node_says_whose_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = (Entry("Kube_Token_File", str(tmp_path / "none"), "a.conf", 2),)
    section = Section("FILTER", "a.conf", 1, entries)
    house = House(tmp_path)
    context = SimpleNamespace(
        plugin=SimpleNamespace(section=section, matches=lambda tag: True),
        document=SimpleNamespace(parsers={}),
        name="kubernetes.0",
        node="node1",
        log=logging.getLogger("t"),
        metrics=house.metrics,
        identities=house.identities,
    )
    with caplog.at_level(logging.INFO):
        made = make(load(Settings, section), cast(Context, context))
    assert "no API server is asked" in caplog.text
    identity = Identity("node1", ID, "containerd", "shop", "web-0", "u-1", "web")
    assert isinstance(made, Kubernetes)
    record = made.apply_batch("kube.x", [Record([], 7)], identity, lambda *_: None)[0]
    assert record.pairs == [("kubernetes", identity.kubernetes())]

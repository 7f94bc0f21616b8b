"""The node's name and number: where they come from, and what stands in."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from collector.identity.node import node_id, node_name


def root_with(path: Path, **files: str) -> str:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return str(path)


def test_name_is_kubernetes_name_if_given() -> None:
    assert node_name({"NODE_NAME": "node-7"}) == "node-7"
    assert node_name({"NODE_NAME": " "}) == socket.gethostname().lower()
    assert node_name({}) == socket.gethostname().lower()


def test_id_is_the_same_every_time_and_another_on_another_machine(tmp_path: Path) -> None:
    one = root_with(tmp_path / "1", **{"etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n"})
    two = root_with(tmp_path / "2", **{"etc/machine-id": "4d1219c7c4c5404aaa1f6d2a48adfda4\n"})
    assert len(node_id("n", one)) == 8
    assert node_id("n", one) == node_id("renamed", one)
    assert node_id("n", one) != node_id("n", two)


def test_id_without_machine_id_says_what_it_uses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = root_with(tmp_path, **{"etc/machine-id": "uninitialized\n"})
    with caplog.at_level(logging.WARNING):
        assert node_id("a", root) != node_id("b", root)
    assert "the node's name (a)" in caplog.text
    caplog.clear()
    root_with(tmp_path, **{"sys/class/dmi/id/product_uuid": "11-22\n"})
    with caplog.at_level(logging.WARNING):
        assert node_id("a", root) == node_id("b", root)
    assert "product_uuid (11-22)" in caplog.text

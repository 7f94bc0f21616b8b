"""What the container runtime answers, in collector.identity.table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from collector.identity.bundles import Bundle
from collector.identity.identity import Identity
from tests.unit.node_files import POD_PATH, SIDE, UID, WEB, Node, in_full


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


class Runtime:
    """collector.cri.runtime.Runtime, as the table knows it."""

    def __init__(self) -> None:
        self.answers: dict[str, Bundle] = {}
        self.asked: list[str] = []

    def read(self, container_id: str) -> Bundle | None:
        self.asked.append(container_id)
        return self.answers.get(container_id)


TOLD = Bundle(
    "containerd", "shop", "web-0", UID, "web", "docker.io/library/web:1", "sha256:1", labels=(("app", "web"),)
)


def told(container_id: str) -> Identity:
    return replace(in_full(container_id, "web"), image_id="sha256:1", runtime_labels=(("app", "web"),))


def test_the_runtime_is_asked_for_each_container_once(node: Node) -> None:
    node.table.runtime = runtime = Runtime()
    node.bundle(WEB, "web")
    node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0)
    node.table.cgroup_made(12, f"{POD_PATH}/{WEB}/inner", 0)
    node.table.by_cgroup(11, 0)
    assert runtime.asked == [WEB]


def test_what_the_runtime_tells_later_changes_what_was_given_out(node: Node) -> None:
    node.table.runtime = runtime = Runtime()
    concerned: list[Callable[[Identity], bool]] = []
    node.table.pod_news.append(concerned.append)
    assert node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0).pod_name == ""
    runtime.answers[WEB] = TOLD
    node.table.runtime_learned([SIDE, WEB])
    assert node.table.by_cgroup(11, 0) == told(WEB)
    assert node.changes[-1] == (11, told(WEB))
    (concerns,) = concerned
    assert concerns(told(WEB))
    assert not concerns(told(SIDE))


def test_what_the_runtime_told_before_the_cgroup_was_made(node: Node) -> None:
    node.table.runtime = runtime = Runtime()
    runtime.answers[WEB] = TOLD
    node.table.runtime_learned([WEB])
    assert node.table.cgroup_made(11, f"{POD_PATH}/{WEB}", 0) == told(WEB)


def test_a_log_of_a_container_that_only_its_runtime_knows(node: Node) -> None:
    node.table.runtime = runtime = Runtime()
    runtime.answers[WEB] = TOLD
    assert node.table.by_log_path(node.link("web", WEB, node.log("web"))) == told(WEB)
    runtime.answers[SIDE] = replace(TOLD, container_name="side")
    assert node.table.by_container(SIDE) == replace(told(SIDE), container_name="side")

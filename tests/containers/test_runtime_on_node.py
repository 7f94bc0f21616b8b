"""A real containerd is asked for what neither cgroups nor logs tell, by collector.cri.runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from collector.cri.runtime import Runtime
from collector.identity.bundles import Bundle
from collector.identity.cgroup_tree import CgroupTree
from collector.identity.identity import Identity
from collector.identity.log_directories import LogDirectories
from collector.identity.table import IdentityTable
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.agent.agent import Agent
from tests.containers.aggregator import CONFIGURATION, Aggregator
from tests.containers.images import BUSYBOX
from tests.containers.node import Node, Pod

SLEEP = ["/bin/sleep", "100"]
TICKS = ["/bin/sh", "-c", "while true; do echo tick; /bin/sleep 0.2; done"]
LABELS = {"app": "web", "tier": "front"}


class Unreadable:
    """Bundles where the folder is not mounted."""

    def read(self, container_id: str) -> Bundle | None:
        return None


@pytest.fixture
def pod(node: Node) -> Iterator[Pod]:
    made = node.pod("web-0", "shop", labels=LABELS)
    yield made
    made.remove()


async def asked(
    node: Node, then: Callable[[IdentityTable, Callable[[str], Awaitable[None]]], Awaitable[None]]
) -> None:
    """Runs `then` with a table whose runtime is asked, and with what waits until that has told of an id."""
    table = IdentityTable("node1", Unreadable(), LogDirectories(node.root), CgroupTree.find(node.root))
    told: set[str] = set()
    news = asyncio.Event()

    def learned(ids: list[str]) -> None:
        table.runtime_learned(ids)
        told.update(ids)
        news.set()

    async def until_told(container_id: str) -> None:
        async with asyncio.timeout(20):
            while container_id not in told:
                news.clear()
                await news.wait()

    runtime = Runtime(
        "auto", node.root, metrics=Metrics(TABLE), report=lambda part, ok, reason: None, learned=learned
    )
    table.runtime = runtime
    task = asyncio.create_task(runtime.run())
    try:
        await then(table, until_told)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_container_whose_bundle_can_not_be_read(node: Node, pod: Pod) -> None:
    """One that was there before, and one that shows up: Debian 12's containerd has no events."""

    async def then(table: IdentityTable, until_told: Callable[[str], Awaitable[None]]) -> None:
        for name in ("first", "second"):
            container = pod.run(name, SLEEP)
            table.by_cgroup(container.cgroup_id, 0)
            await until_told(container.id)
            found = table.by_cgroup(container.cgroup_id, 0)
            assert found is not None
            assert found == Identity(
                "node1",
                container.id,
                "containerd",
                "shop",
                "web-0",
                pod.uid,
                name,
                BUSYBOX,
                found.image_id,
                runtime_labels=tuple(sorted(LABELS.items())),
            )
            assert found.image_id.startswith("sha256:")
            assert table.by_log_path(container.log_path) == found

    asyncio.run(asked(node, then))


def test_sandbox(node: Node, pod: Pod) -> None:
    async def then(table: IdentityTable, until_told: Callable[[str], Awaitable[None]]) -> None:
        await until_told(pod.sandbox_id)
        found = table.by_cgroup(pod.sandbox_cgroup_id, 0)
        assert found is not None
        assert found.is_sandbox
        assert found.labels() == LABELS

    asyncio.run(asked(node, then))


def is_told(record: dict[str, Any]) -> bool:
    """Of the container, and by when the runtime has answered."""
    known = record.get("kubernetes", {})
    return known.get("container_name") == "web" and "labels" in known


@pytest.fixture
def configuration() -> str:
    return CONFIGURATION.replace("Cri_Socket off", "Cri_Socket auto")


def test_labels_and_image_id_in_records(agent: Agent, aggregator: Aggregator, pod: Pod) -> None:
    """Of the whole agent: kernel events and log lines of a container that was made while it ran."""
    container = pod.run("web", TICKS)
    execed = aggregator.wait_for(lambda tag, record: tag == "kernel.process" and is_told(record))
    line = aggregator.wait_for(lambda tag, record: record.get("log") == "tick" and is_told(record))
    for record in (execed, line):
        known = record["kubernetes"]
        assert known["labels"] == LABELS
        assert (known["docker_id"], known["container_image"]) == (container.id, BUSYBOX)
        assert known["container_hash"].startswith("sha256:")

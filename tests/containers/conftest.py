"""The node that tests with real containers share, and what most of them have on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.agent import Agent
from tests.containers.aggregator import CONFIGURATION, Aggregator
from tests.containers.node import Node, Pod


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    # A UNIX socket's path has 107 bytes; pytest's own directories are too deep.
    with Node(Path(tempfile.mkdtemp(prefix="pw-", dir="/tmp"))) as started:
        yield started


@pytest.fixture
def aggregator() -> Iterator[Aggregator]:
    started = Aggregator()
    yield started
    started.close()


@pytest.fixture
def configuration() -> str:
    """Of the agent, with places for `root` and `port`."""
    return CONFIGURATION


@pytest.fixture
def agent(node: Node, aggregator: Aggregator, configuration: str, tmp_path: Path) -> Iterator[Agent]:
    config = tmp_path / "podwitness.conf"
    config.write_text(configuration.format(root=node.root, port=aggregator.port))
    with Agent("-c", str(config)) as started:
        started.wait_until_probes()
        yield started
        assert started.stop() == 0


@pytest.fixture
def pod(node: Node) -> Iterator[Pod]:
    made = node.pod("web-0", "shop")
    yield made
    made.remove()

"""Flows of a real container, whose processes have a tree: each is one, however many packets it has."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.containers.aggregator import CONFIGURATION, Aggregator, expected
from tests.containers.node import Container, Pod

COUNT = 5000  # several times as many as a container may have records at once, by default
DATAGRAM_BYTES = 64


@pytest.fixture
def configuration() -> str:
    watched = "    Tag    kernel.*\n"
    assert watched in CONFIGURATION
    return CONFIGURATION.replace(watched, f"{watched}    Trace  process network flow\n    Flow_Interval 1\n")


@pytest.fixture
def talk(tmp_path: Path) -> str:
    program = tmp_path / "talk"
    source = Path(__file__).with_name("talk.c")
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    return str(program)


def of(container: Container, action: str, direction: str) -> Callable[[str, dict[str, Any]], bool]:
    return lambda tag, record: (
        tag == "kernel.network"
        and record["event"]["action"] == action
        and record["network"].get("direction") == direction
        and record.get("container", {}).get("id") == container.id
    )


def is_suppressed(record: dict[str, Any], container: Container) -> bool:
    """Something of the container's, by its limits."""
    is_its = record.get("container", {}).get("id") == container.id
    return is_its and "suppressed" in record.get("podwitness", {})


def has_all(record: dict[str, Any]) -> bool:
    return bool(record["source"]["packets"] == COUNT and record["destination"]["packets"] == COUNT)


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_many_datagrams_are_one_flow_and_hide_no_connection(
    agent: Agent, aggregator: Aggregator, pod: Pod, talk: str, direction: str
) -> None:
    container = pod.run("talk", ["/talk", str(COUNT)], mounts={"/talk": talk})
    update = of(container, "flow-update", direction)
    so_far = aggregator.wait_for(lambda tag, record: update(tag, record) and has_all(record))
    os.kill(container.pid, signal.SIGUSR1)
    assert container.wait() == 0
    end = aggregator.wait_for(of(container, "flow-end", direction))
    start = aggregator.wait_for(of(container, "flow-start", direction))
    connection = aggregator.wait_for(of(container, "close", direction))
    for record, count in ((so_far, COUNT), (end, COUNT + 1)):
        for side in ("source", "destination"):
            assert (record[side]["packets"], record[side]["bytes"]) == (count, count * DATAGRAM_BYTES)
    assert end["podwitness"]["flow"]["end_cause"] == "closed"
    ids = {record["podwitness"]["socket"]["id"] for record in (start, so_far, end)}
    assert len(ids) == 1
    names = expected(pod, container, end["host"]["name"])
    for record in (start, so_far, end, connection):
        assert record["kubernetes"] == names
        assert record["process"]["name"] == "talk"
        assert record["podwitness"]["in_init_tree"] is True
    assert len(aggregator.received(of(container, "flow-start", direction))) == 1
    assert not aggregator.received(lambda tag, record: is_suppressed(record, container))

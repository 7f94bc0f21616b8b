"""The netlink witness on a node with a real containerd: what it sees names its pod too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.containers.aggregator import CONFIGURATION, Aggregator, expected, is_exec
from tests.containers.node import Node, Pod

NETLINK = CONFIGURATION.replace("Name   ebpf\n", "Name   ebpf\n    Witness netlink\n")


@pytest.fixture
def agent(node: Node, aggregator: Aggregator, tmp_path: Path) -> Iterator[Agent]:
    config = tmp_path / "podwitness.conf"
    config.write_text(NETLINK.format(root=node.root, port=aggregator.port))
    with Agent("-c", str(config)) as started:
        started.log.wait_for("kernel events come from netlink only")
        yield started
        assert started.stop() == 0


def test_an_exec_names_pod_and_container(agent: Agent, aggregator: Aggregator, pod: Pod) -> None:
    argv = ["/bin/sleep", "100"]
    container = pod.run("web", argv)
    record = aggregator.wait_for(is_exec(argv))
    assert record["event"]["provider"] == "netlink"
    assert record["kubernetes"] == expected(pod, container, record["host"]["name"])
    assert record["podwitness"]["scope"] == "container"
    assert record["process"]["executable"] == "/bin/busybox"
    assert record["process"]["vpid"] == 1


def test_a_connection_between_pods_names_both(
    agent: Agent, aggregator: Aggregator, node: Node, pod: Pod
) -> None:
    """The client's end is too short for a look at it: its network namespace names the pod."""
    server = pod.run("web", ["/bin/httpd", "-f", "-p", "8080", "-h", "/"])
    other = node.pod("client-0", "shop")
    try:

        def is_listener(tag: str, record: dict[str, Any]) -> bool:
            return bool(record.get("event", {}).get("action") == "listen")

        listener = aggregator.wait_for(is_listener)
        client = other.run("curl", ["/bin/sleep", "100"])
        aggregator.wait_for(lambda tag, record: names_pod(record, other))
        client.exec(["/bin/wget", "-q", "-O", "/dev/null", f"http://{pod.ip}:8080/bin/busybox"])

        def is_close_of(wanted: Pod, record: dict[str, Any]) -> bool:
            is_close = record.get("event", {}).get("action") == "close"
            return is_close and record["destination"]["port"] == 8080 and names_pod(record, wanted)

        outgoing = aggregator.wait_for(lambda tag, record: is_close_of(other, record))
        incoming = aggregator.wait_for(lambda tag, record: is_close_of(pod, record))
    finally:
        other.remove()
    assert listener["kubernetes"]["docker_id"] == server.id
    assert listener["process"]["name"] == "httpd"
    assert outgoing["source"]["ip"] == incoming["source"]["ip"]
    sent = incoming["destination"]["bytes"]
    assert sent > 500_000
    assert outgoing["destination"]["bytes"] == sent + 1  # the FIN
    assert outgoing["network"]["community_id"] == incoming["network"]["community_id"]
    assert (outgoing["network"]["direction"], incoming["network"]["direction"]) == ("egress", "ingress")


def names_pod(record: dict[str, Any], pod: Pod) -> bool:
    return bool(record.get("kubernetes", {}).get("pod_id") == pod.uid)

"""The whole agent on a node with a real containerd: execs, connections and log lines name their pod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.agent.agent import Agent
from tests.containers.aggregator import Aggregator, expected, is_exec
from tests.containers.images import BUSYBOX
from tests.containers.node import Container, Node, Pod


def test_exec_inside_names_pod_container_and_argv(agent: Agent, aggregator: Aggregator, pod: Pod) -> None:
    container = pod.run("web", ["/bin/sleep", "100"])
    container.exec(["/bin/id", "-u", "root"])
    record = aggregator.wait_for(is_exec(["/bin/id", "-u", "root"]))
    host = record["host"]["name"]
    assert record["kubernetes"] == expected(pod, container, host)
    assert record["container"] == {
        "id": container.id,
        "name": "web",
        "runtime": "containerd",
        "image": {"name": BUSYBOX},
    }
    assert record["process"]["executable"] == "/bin/busybox"


def test_a_log_line_has_the_same_identity_as_an_exec(agent: Agent, aggregator: Aggregator, pod: Pod) -> None:
    argv = ["/bin/sh", "-c", 'echo \'{"level":"info","said":"hello"}\'; exec /bin/sleep 100']
    pod.run("web", argv)
    exec_record = aggregator.wait_for(is_exec(argv))
    line = aggregator.wait_for(lambda tag, record: record.get("said") == "hello")
    assert line["kubernetes"] == exec_record["kubernetes"]
    assert (line["level"], line["stream"], line["_p"]) == ("info", "stdout", "F")


def test_a_container_that_lives_a_tenth_of_a_second_is_attributed_in_full(
    agent: Agent, aggregator: Aggregator, pod: Pod
) -> None:
    argv = ["/bin/sh", "-c", "echo short; exec /bin/sleep 0.1"]
    container = pod.run("short", argv)
    assert container.wait() == 0
    container.remove()
    started = aggregator.wait_for(is_exec(argv))
    names = expected(pod, container, started["host"]["name"])
    assert started["kubernetes"] == names
    slept = aggregator.wait_for(is_exec(["/bin/sleep", "0.1"]))
    ended = aggregator.wait_for(
        lambda tag, record: (
            record.get("event", {}).get("action") == "exit"
            and record["process"]["entity_id"] == slept["process"]["entity_id"]
        )
    )
    assert slept["kubernetes"] == names
    assert ended["kubernetes"] == names
    assert ended["process"]["exit_code"] == 0
    said = aggregator.wait_for(lambda tag, record: record.get("log") == "short")
    assert said["kubernetes"] == names


def test_a_connection_between_pods_names_both_sides(
    agent: Agent, aggregator: Aggregator, node: Node, pod: Pod
) -> None:
    server = pod.run("web", ["/bin/httpd", "-f", "-p", "8080", "-h", "/"])
    other = node.pod("client-0", "shop")
    try:
        aggregator.wait_for(lambda tag, record: record.get("event", {}).get("action") == "listen")
        client = other.run("curl", ["/bin/sleep", "100"])
        client.exec(["/bin/wget", "-q", "-O", "/dev/null", f"http://{pod.ip}:8080/bin/busybox"])

        def close_of(container: Container) -> Callable[[str, dict[str, Any]], bool]:
            return lambda tag, record: (
                tag == "kernel.network"
                and record["event"]["action"] == "close"
                and record["destination"]["port"] == 8080
                and record.get("kubernetes", {}).get("docker_id") == container.id
            )

        outgoing, incoming = aggregator.wait_for(close_of(client)), aggregator.wait_for(close_of(server))
    finally:
        other.remove()
    assert outgoing["source"]["ip"] == incoming["source"]["ip"]
    assert outgoing["destination"]["ip"] == incoming["destination"]["ip"]
    assert outgoing["network"]["direction"] == "egress"
    assert incoming["network"]["direction"] == "ingress"
    assert outgoing["destination"]["bytes"] > 500_000
    assert incoming["destination"]["bytes"] == outgoing["destination"]["bytes"]
    assert outgoing["process"]["name"] == "wget"

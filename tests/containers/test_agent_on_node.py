"""The whole agent on a node with a real containerd: execs, connections and log lines name their pod."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.containers.images import BUSYBOX
from tests.containers.node import Container, Node, Pod
from tests.receiver import Receiver, receiving

CONFIGURATION = """
[SERVICE]
    Flush      1
    Host_Root  {root}
    # What the runtime adds comes a moment later: test_runtime_on_node.py.
    Cri_Socket off

[INPUT]
    Name              tail
    Tag               kube.*
    Path              {root}/var/log/containers/*.log
    multiline.parser  cri
    Read_from_Head    On

[INPUT]
    Name   ebpf
    Tag    kernel.*

[FILTER]
    Name       kubernetes
    Match      kube.*
    Merge_Log  On

[OUTPUT]
    Name   forward
    Match  *
    Host   127.0.0.1
    Port   {port}
    Require_ack_response  On
"""


class Aggregator:
    """A forward receiver in a thread of its own; records can be waited for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._receiver = Receiver()
        self._end: asyncio.Event
        self._up = threading.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        )
        self._thread.start()
        assert self._up.wait(20)

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with receiving(self._receiver) as receiver:
            self.port = receiver.port
            self._up.set()
            await self._end.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)

    def wait_for(self, wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        """The first record for which `wanted(tag, record)` holds."""
        pending = asyncio.run_coroutine_threadsafe(self._wait_for(wanted), self._loop)
        return pending.result(40)

    async def _wait_for(self, wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        found = functools.partial(self._find, wanted)
        await self._receiver.wait_until(lambda: found() is not None, 30)
        record = found()
        assert record is not None
        return record

    def _find(self, wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any] | None:
        for message in self._receiver.received:
            for record in (text_of(record) for _, record in message.entries):
                if wanted(message.tag, record):
                    return dict(record)
        return None


def text_of(value: Any) -> Any:
    """What the receiver leaves as bytes, as text."""
    if isinstance(value, dict):
        return {text_of(key): text_of(content) for key, content in value.items()}
    if isinstance(value, list):
        return [text_of(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def aggregator() -> Iterator[Aggregator]:
    started = Aggregator()
    yield started
    started.close()


@pytest.fixture
def agent(node: Node, aggregator: Aggregator, tmp_path: Path) -> Iterator[Agent]:
    config = tmp_path / "podwitness.conf"
    config.write_text(CONFIGURATION.format(root=node.root, port=aggregator.port))
    with Agent("-c", str(config)) as started:
        started.wait_until_probes()
        yield started
        assert started.stop() == 0


@pytest.fixture
def pod(node: Node) -> Iterator[Pod]:
    made = node.pod("web-0", "shop")
    yield made
    made.remove()


def expected(pod: Pod, container: Container, node_name: str) -> dict[str, str]:
    return {
        "pod_name": pod.name,
        "namespace_name": pod.namespace,
        "pod_id": pod.uid,
        "host": node_name,
        "container_name": container.name,
        "docker_id": container.id,
        "container_image": BUSYBOX,
    }


def is_exec(argv: list[str]) -> Callable[[str, dict[str, Any]], bool]:
    def wanted(tag: str, record: dict[str, Any]) -> bool:
        is_one = tag == "kernel.process" and record["event"]["action"] == "exec"
        return is_one and record["process"].get("args") == argv

    return wanted


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

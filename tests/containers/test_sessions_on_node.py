"""Sessions on a node with a real containerd: who comes in by CRI or by nsenter."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

from tests.agent.agent import Agent
from tests.containers.aggregator import Aggregator, expected, is_exec
from tests.containers.node import Pod


def wait_for_action(aggregator: Aggregator, action: str, session: str) -> dict[str, Any]:
    return aggregator.wait_for(
        lambda tag, record: (
            record.get("event", {}).get("action") == action
            and record["podwitness"].get("session", {}).get("id") == session
        )
    )


def test_an_exec_by_cri_is_a_session_and_what_the_container_does_is_none(
    agent: Agent, aggregator: Aggregator, pod: Pod
) -> None:
    argv = ["/bin/sh", "-c", "/bin/true own; exec /bin/httpd -f -p 8080 -h /"]
    container = pod.run("web", argv)
    first = aggregator.wait_for(is_exec(argv))
    child = aggregator.wait_for(is_exec(["/bin/true", "own"]))
    aggregator.wait_for(lambda tag, record: record.get("event", {}).get("action") == "listen")
    fetch = ["/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/bin/busybox"]
    container.exec(["/bin/sh", "-c", f"{' '.join(fetch)}; exit 0"])
    setup = aggregator.wait_for(
        lambda tag, record: (
            record.get("container", {}).get("id") == container.id and "setup" in record.get("podwitness", {})
        )
    )
    assert (setup["podwitness"]["in_init_tree"], setup["process"]["name"][:4]) == (True, "runc")
    for record in (first, child):
        assert "setup" not in record["podwitness"]
        assert record["podwitness"]["in_init_tree"] is True
        assert "session" not in record["podwitness"]
        assert record["process"]["entry_leader"]["entity_id"] == first["process"]["entity_id"]
    inner = aggregator.wait_for(is_exec(fetch))
    session = inner["podwitness"]["session"]
    assert (session["entered"], inner["podwitness"]["in_init_tree"]) == ("container", False)
    start, end = (wait_for_action(aggregator, f"session-{what}", session["id"]) for what in ("start", "end"))
    assert start["process"]["entity_id"] == session["id"] == inner["process"]["parent"]["entity_id"]
    assert start["kubernetes"] == end["kubernetes"] == expected(pod, container, start["host"]["name"])
    assert (end["podwitness"]["session"]["processes"], end["event"]["category"]) == (2, ["session"])
    assert [one["entity_id"] for one in inner["podwitness"]["ancestors"]] == [session["id"]]
    connection = wait_for_action(aggregator, "connect", session["id"])
    assert connection["destination"]["port"] == 8080
    answer = aggregator.wait_for(
        lambda tag, record: (
            record.get("event", {}).get("action") == "close"
            and record["network"]["direction"] == "ingress"
            and record.get("container", {}).get("id") == container.id
        )
    )
    assert answer["podwitness"]["in_init_tree"] is True


def test_nsenter_from_the_host_is_told_with_the_pod(agent: Agent, aggregator: Aggregator, pod: Pod) -> None:
    argv = ["/bin/sleep", "100"]
    container = pod.run("web", argv)
    pid = aggregator.wait_for(is_exec(argv))["process"]["pid"]
    subprocess.run(["nsenter", "-t", str(pid), "-m", "-p", "/bin/id", "-u", "root"], check=True)
    inside = aggregator.wait_for(is_exec(["/bin/id", "-u", "root"]))
    session = inside["podwitness"]["session"]
    assert session == {"id": inside["process"]["entity_id"], "entered": "namespaces"}
    assert inside["podwitness"]["scope"] == "host"
    start = wait_for_action(aggregator, "session-start", session["id"])
    assert start["kubernetes"] == expected(pod, container, start["host"]["name"])
    assert start["podwitness"]["session"]["process_cgroup_id"] == inside["podwitness"]["cgroup_id"]
    assert "nsenter" in [one["name"] for one in inside["podwitness"]["ancestors"]]


def test_a_signal_from_the_host_is_told_with_the_pod_that_gets_it(
    agent: Agent, aggregator: Aggregator, pod: Pod
) -> None:
    argv = ["/bin/sleep", "101"]
    container = pod.run("web", argv)
    pid = aggregator.wait_for(is_exec(argv))["process"]["pid"]
    os.kill(pid, signal.SIGCONT)
    told = aggregator.wait_for(
        lambda tag, record: (
            record.get("event", {}).get("action") == "kill"
            and record["podwitness"]["privilege"]["target"]["pid"] == pid
        )
    )
    target = told["podwitness"]["privilege"]["target"]
    assert (told["podwitness"]["scope"], target["scope"]) == ("host", "container")
    assert target["container"] == {"id": container.id, "name": "web"}
    pod_keys = {"pod_name": pod.name, "namespace_name": pod.namespace, "pod_id": pod.uid}
    assert target["kubernetes"] == pod_keys

"""collector.inputs.netlink_witness in the agent: forced, by lack of permission, and when its child dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.agent.agent import Agent, get
from tests.agent.test_run_lifecycle import EBPF, STDOUT, WITHOUT_BPF, configuration, free_port, service

pytestmark = pytest.mark.kernel

WITHOUT_ANY = ("unshare", "--net", "setpriv", "--bounding-set=-all", "--inh-caps=-all")
FROM_NETLINK = r"kernel events come from netlink only"
# An argument that no other process of this machine has.
MARK = f"podwitness-{os.getpid()}"


def component(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, "/api/v2/health")[1])["components"]["ebpf.0"]
    return found


def marked_exec(agent: Agent) -> dict[str, Any]:
    """The record of a program that the test executes. cat waits until it was looked at."""
    with subprocess.Popen(["cat", "-", MARK], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        agent.out.wait_for(rf'"action":"exec".*"{MARK}"')
        assert process.stdin is not None
        process.stdin.close()
    agent.out.wait_for(rf'"action":"exit".*"pid":{process.pid},')
    (found,) = [
        one
        for one in agent.records()
        if one["event"]["action"] == "exec" and one["process"]["pid"] == process.pid
    ]
    assert found["process"]["args"] == ["cat", "-", MARK]
    assert found["event"]["provider"] == "netlink"
    assert found["podwitness"]["scope"] == "host"
    assert found["host"]["name"]
    return found


def test_forced_by_the_configuration_it_is_well(tmp_path: Path) -> None:
    port = free_port()
    config = configuration(tmp_path, service(port, 0.1), EBPF + "    Witness netlink\n", STDOUT)
    with Agent("-c", config) as agent:
        agent.log.wait_for(FROM_NETLINK)
        found = marked_exec(agent)
        ids = {
            one["process"]["entity_id"]
            for one in agent.records()
            if one.get("process", {}).get("pid") == found["process"]["pid"]
        }
        assert ids == {found["process"]["entity_id"]}
        health = component(port)
        assert (health["ok"], "as Witness asks" in health["reason"]) == (True, True)
        assert agent.stop() == 0


def test_without_permission_for_ebpf_it_takes_over_and_says_why(tmp_path: Path) -> None:
    port = free_port()
    config = configuration(tmp_path, service(port, 0.1), EBPF, STDOUT)
    with Agent("-c", config, prefix=WITHOUT_BPF) as agent:
        agent.log.wait_for(rf"\[error\] \[ebpf\.0\] {FROM_NETLINK} because eBPF can't be used: .*EPERM")
        marked_exec(agent)
        health = component(port)
        assert not health["ok"]
        assert "EPERM" in health["reason"]
        assert "capabilities BPF, PERFMON" in health["reason"]
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
        ):
            accepted, _ = server.accept()
            client.sendall(b"x" * 4999)
            accepted.recv(4999, socket.MSG_WAITALL)
            client.shutdown(socket.SHUT_WR)
            accepted.recv(1)
            accepted.close()
            remote = server.getsockname()[1]
            client.close()
            agent.out.wait_for(rf'"action":"close".*"port":{remote},.*"network"', 2)
        closes = [one for one in agent.records() if one["event"]["action"] == "close"]
        own = [one for one in closes if one["destination"]["port"] == remote]
        assert [one["source"]["bytes"] for one in own if one["network"]["direction"] == "egress"] == [4999]
        assert "podwitness_kernel_events_total" in get(port, "/metrics")[1]
        assert agent.stop() == 0


def test_without_any_permission_it_says_what_is_not_seen(tmp_path: Path) -> None:
    """In a network namespace of its own, without capabilities: no proc connector, no other namespace."""
    config = configuration(tmp_path, service(), EBPF, STDOUT)
    with Agent("-c", config, prefix=WITHOUT_ANY) as agent:
        (line,) = agent.log.wait_for("kernel events are not seen: netlink has none to tell.")
        assert "eBPF can't be used: " in line
        assert "process: The proc connector refuses" in line
        assert "hostNetwork" in line
        assert "hide their network namespace" in line
        assert agent.stop() == 0


def witness_children(agent: Agent) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(agent.process.pid).children(recursive=True)
        if "probes.netlink_witness" in child.cmdline()
    ]


def test_a_witness_that_dies_is_told_and_started_again(tmp_path: Path) -> None:
    port = free_port()
    config = configuration(tmp_path, service(port, 0.1), EBPF + "    Witness netlink\n", STDOUT)
    with Agent("-c", config) as agent:
        agent.log.wait_for(FROM_NETLINK)
        first = min(witness_children(agent), key=lambda one: one.create_time())
        first.send_signal(signal.SIGKILL)
        agent.log.wait_for(r"the netlink witness has ended: status -9")
        assert not component(port)["ok"]
        agent.out.wait_for(r'"witness_ended"')
        agent.log.wait_for(FROM_NETLINK, 2)
        assert component(port)["ok"]
        marked_exec(agent)
        assert agent.stop() == 0


def test_it_leaves_no_process_behind(tmp_path: Path) -> None:
    config = configuration(tmp_path, service(), EBPF + "    Witness netlink\n", STDOUT)
    with Agent("-c", config) as agent:
        agent.log.wait_for(FROM_NETLINK)
        children = witness_children(agent)
        assert children
        agent.stop(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []

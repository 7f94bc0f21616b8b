"""What crosses the border of a container, on a node with a real containerd: records name the pod."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.containers.aggregator import CONFIGURATION, Aggregator
from tests.containers.node import Pod, cgroup2_root
from tests.kernel.sandbox import Cgroup, Process, run
from tests.polling import until

TRACE = "    Tag    kernel.*\n    Trace  process privilege syscalls\n"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
VERSION = "..2025_11_24_01_58_00.12"


@pytest.fixture
def configuration() -> str:
    return CONFIGURATION.replace("    Tag    kernel.*\n", TRACE)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A projected volume as kubelet writes it."""
    folder = tmp_path / "kube-api-access"
    (folder / VERSION).mkdir(parents=True)
    (folder / VERSION / "token").write_text("secret")
    (folder / "..data").symlink_to(VERSION)
    (folder / "token").symlink_to("..data/token")
    return folder


def action(record: dict[str, Any]) -> str:
    return str(record.get("event", {}).get("action"))


def pid_of(record: dict[str, Any]) -> int | None:
    found: int | None = record.get("process", {}).get("pid")
    return found


def container_of(record: dict[str, Any]) -> str | None:
    found: str | None = record.get("kubernetes", {}).get("docker_id")
    return found


def test_reading_the_token_names_the_pod(
    agent: Agent, aggregator: Aggregator, pod: Pod, volume: Path
) -> None:
    container = pod.run("web", ["/bin/sleep", "100"], mounts={SERVICE_ACCOUNT: str(volume)})
    container.exec(["/bin/cat", f"{SERVICE_ACCOUNT}/token"])
    record = aggregator.wait_for(
        lambda tag, record: action(record) == "file-read" and container_of(record) == container.id
    )
    assert (record["kubernetes"]["pod_name"], record["kubernetes"]["pod_id"]) == (pod.name, pod.uid)
    assert (record["process"]["name"], record["event"]["outcome"]) == ("cat", "success")
    told = record["podwitness"]["privilege"]
    assert told["path"] == f"{SERVICE_ACCOUNT}/token"
    assert told["file"].endswith(f"/serviceaccount/{VERSION}/token")


def test_a_signal_from_the_host_names_the_container_that_it_went_to(
    agent: Agent, aggregator: Aggregator, pod: Pod
) -> None:
    container = pod.run("web", ["/bin/sleep", "100"])
    cgroup_id, pid = container.cgroup_id, container.pid
    os.kill(pid, signal.SIGKILL)
    assert container.wait() == 128 + signal.SIGKILL
    record = aggregator.wait_for(
        lambda tag, record: (
            action(record) == "kill" and record["podwitness"]["privilege"]["target"]["pid"] == pid
        )
    )
    told = record["podwitness"]["privilege"]
    assert (told["signal"], told["target"]["cgroup_id"]) == ("SIGKILL", cgroup_id)
    assert record["process"]["pid"] == os.getpid()
    assert "kubernetes" not in record


def test_a_signal_stays_inside_a_container_whatever_its_cgroups(
    agent: Agent, aggregator: Aggregator, pod: Pod
) -> None:
    """As with systemd in a container: each of its services has a cgroup below the container's own."""
    own, other = (pod.run(name, ["/bin/sleep", "100"]) for name in ("web", "other"))
    outer = Cgroup(cgroup2_root() / own.cgroup_path[1:])
    inner = Cgroup(outer.path / "service")
    inner.path.mkdir()
    service, victim = Process(inner, signal.pause), other.pid
    until(lambda: str(service.pid) in (inner.path / "cgroup.procs").read_text().split())

    def work() -> None:
        os.kill(service.pid, signal.SIGTERM)
        os.kill(victim, signal.SIGKILL)

    sender, _ = run(outer, work)
    assert service.wait() == signal.SIGTERM
    inner.remove()
    aggregator.wait_for(lambda tag, record: (action(record), pid_of(record)) == ("exit", sender))
    told = aggregator.received(lambda tag, record: (action(record), pid_of(record)) == ("kill", sender))
    assert [one["podwitness"]["privilege"]["target"]["container"]["id"] for one in told] == [other.id]
    assert [container_of(one) for one in told] == [own.id]


def test_an_attempt_to_leave_the_container_names_it(agent: Agent, aggregator: Aggregator, pod: Pod) -> None:
    container = pod.run("web", ["/bin/sleep", "100"])
    container.exec(["/bin/mount", "-t", "tmpfs", "what", "/bin"])
    record = aggregator.wait_for(
        lambda tag, record: (
            action(record) == "mount"
            and container_of(record) == container.id
            and record["process"]["name"] == "mount"
        )
    )
    assert (record["event"]["outcome"], record["error"]["code"]) == ("failure", "EPERM")
    told = record["podwitness"]["privilege"]
    assert (told["source"], told["path"], told["type"]) == ("what", "/bin", "tmpfs")

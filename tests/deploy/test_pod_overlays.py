"""What the overlays of deploy/kustomize add is enough for what they are for, in a pod's own confinement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from probes import netns
from tests.deploy.pod import Pod
from tests.polling import until

pytestmark = [pytest.mark.kernel, pytest.mark.containers]

HEALTH = "/api/v2/health"
CONFIG = """\
[SERVICE]
    Flush        0.1
    HTTP_Server  {http}
    HTTP_Port    2020
[INPUT]
    Name         ebpf
    Tag          kernel.*
    {key}
[OUTPUT]
    Name         stdout
    Match        *
    Format       json_lines
"""
# An argument that no other process of this machine has, and a port that none listens at.
MARK, PORT = f"podwitness-{os.getpid()}", 8099
LISTENER = f"import socket; server = socket.create_server(('127.0.0.1', {PORT})); print(flush=True); input()"


def health(pod: Pod, expected: str) -> dict[str, Any]:
    """Of the input, once its reason has `expected`."""

    def component() -> dict[str, Any] | None:
        found: dict[str, Any] = components(pod).get("ebpf.0", {})
        return found if expected in found.get("reason", "") else None

    pod.wait_for("/livez", "")
    return until(component, pod.output())


def components(pod: Pod) -> dict[str, Any]:
    return dict(json.loads(pod.get(HEALTH)[1])["components"])


def checks(pod: Pod) -> dict[str, dict[str, Any]]:
    report = json.loads(pod.run("doctor", "--json").stdout)
    return {check["check"]: check for check in report["checks"]}


def records(pod: Pod, *expected: str) -> list[str]:
    return [line for line in pod.output().splitlines() if all(one in line for one in expected)]


def test_with_the_base_alone_netlink_says_that_it_sees_nothing(tmp_path: Path) -> None:
    with Pod(tmp_path, CONFIG.format(http="On", key="Witness netlink")) as pod:
        found = health(pod, "only podwitness' own connections")
        assert not found["ok"]
        assert found["reason"].startswith("kernel events are not seen: netlink has none to tell.")
        assert "process: The proc connector refuses" in found["reason"]
        assert "hostNetwork" in found["reason"]
        doctor = checks(pod)
        assert {doctor[name]["state"] for name in ("for netlink", "netlink instead")} == {"lesser"}
        assert doctor["connection tracking"]["state"] == "off"  # the default of Trace has no flow
        assert "hostNetwork" in doctor["connection tracking"]["remedy"]


def test_with_its_overlay_netlink_sees_processes_and_connections_of_others(tmp_path: Path) -> None:
    with Pod(tmp_path, CONFIG.format(http="On", key="Witness netlink"), "netlink") as pod:
        assert health(pod, "come from netlink only")["ok"]
        with subprocess.Popen(["cat", "-", MARK], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL):
            until(lambda: records(pod, '"action":"exec"', MARK), "the exec")
        listener = ["unshare", "--net", sys.executable, "-c", LISTENER]
        with subprocess.Popen(listener, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdout.readline()
            namespace = os.stat(f"/proc/{other.pid}/ns/net").st_ino
            until(lambda: records(pod, '"action":"listen"', f'"port":{PORT}', f'"net":{namespace}'), "listen")
            other.communicate(b"\n")
        doctor = checks(pod)
        assert {doctor[name]["state"] for name in ("for netlink", "netlink instead")} == {"works"}


def test_with_the_base_alone_health_says_that_services_are_not_followed(tmp_path: Path) -> None:
    with Pod(tmp_path, CONFIG.format(http="On", key="Trace process flow")) as pod:
        pod.wait_for("/livez", "")
        found = until(lambda: components(pod).get("ebpf.0 Services"), pod.output(), 60)
        assert not found["ok"]
        assert netns.NOT_ENTERED in found["reason"]
        assert netns.NOT_ENTERED in pod.output()


def test_with_its_overlay_flow_is_in_the_nodes_network(tmp_path: Path) -> None:
    """Its service is off: its port would be one of this machine."""
    with Pod(tmp_path, CONFIG.format(http="Off", key="Trace process network flow privilege"), "flow") as pod:
        until(lambda: "hooks attached" in pod.output(), deadline_s=60)
        assert netns.NOT_ENTERED not in pod.output()
        doctor = checks(pod)
        flows = {check["state"] for name, check in doctor.items() if name.startswith("cgroup_skb")}
        assert (flows, doctor["connection tracking"]["state"]) == ({"works"}, "works")

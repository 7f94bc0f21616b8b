"""A running agent tells the single events that `Trace` names, before a reload and after it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.agent.agent import Agent, get
from tests.agent.test_reload import Conf, reload
from tests.agent.test_run_lifecycle import STDOUT, free_port

pytestmark = pytest.mark.kernel

# A limit is of a cgroup, and this one is that of whatever else runs on the machine.
EBPF = "[INPUT]\n    Name ebpf\n    Tag kernel.*\n    Rate_Limit_Process 0\n    State Off\n    Trace "


def executed(mark: str) -> None:
    subprocess.run(["/bin/true", mark], check=True)


def attached(port: int) -> set[str]:
    _, text = get(port, "/api/v2/metrics/prometheus")
    lines = [line for line in text.split("\n") if line.startswith("podwitness_kernel_hook_attached{")]
    return {line.split('"')[1] for line in lines}


def test_only_named_events_are_told_and_a_reload_names_others(tmp_path: Path) -> None:
    port = free_port()
    conf = Conf(tmp_path, port)
    conf.write(EBPF, "exec privilege.clone\n", STDOUT)
    with Agent("-c", str(conf.path)) as agent:
        agent.wait_until_probes()
        executed("the-first")
        agent.out.wait_for('"exec".*the-first')
        first = attached(port)
        conf.write(EBPF, "process, -exec, -fork\n", STDOUT)
        assert reload(port)[0] == 200
        agent.log.wait_for("hooks attached", 2)
        executed("the-second")
        agent.out.wait_for('"exit".*the-second')
        assert first - attached(port) == {"task_newtask"}
        assert agent.stop() == 0
        agent.out.rest()
    told = [record for record in agent.records() if record["event"]["kind"] == "event"]
    of = {
        mark: {one["event"]["action"] for one in told if mark in one["process"].get("args", ())}
        for mark in ("the-first", "the-second")
    }
    assert of == {"the-first": {"exec"}, "the-second": {"exit"}}  # which tells the program nevertheless
    assert {one["event"]["action"] for one in told} <= {
        "exec",
        "clone",
        "exit",
        "session-start",
        "session-end",
    }

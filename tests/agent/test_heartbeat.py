"""The heartbeat of a running agent, and probes that are taken from under it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.inputs.event_heartbeat import MISSING_AFTER
from tests.agent.agent import Agent, get
from tests.agent.test_run_lifecycle import STDOUT, configuration, free_port, service
from tests.kernel.conftest import cgroup
from tests.kernel.sandbox import Cgroup, Process, fork_one_by_one
from tests.polling import until

__all__ = ["cgroup"]

pytestmark = pytest.mark.kernel

BEAT_S = 0.2
EBPF = f"[INPUT]\n    Name ebpf\n    Tag kernel.*\n    Heartbeat_Interval {BEAT_S}\n"
# Closes the links of the probes at SIGUSR1, as a debugger or a bug would; the kernel detaches them then. With
# "unnoticed" the descriptors seem to be there still, so that only the heartbeat can tell.
SABOTEUR = """
import os, signal, sys
from collector.cli import main
from probes.launch import Attached

def sabotage(*_):
    for name in os.listdir("/proc/self/fd"):
        try:
            if f"tp_name:\\t{sys.argv[2]}\\n" in open(f"/proc/self/fdinfo/{name}").read():
                os.close(int(name))
        except FileNotFoundError:
            pass

if sys.argv[1] == "unnoticed":
    gone = Attached.gone
    Attached.gone = lambda self: gone(self) and ()
signal.signal(signal.SIGUSR1, sabotage)
sys.exit(main(sys.argv[3:]))
"""


def saboteur(tmp_path: Path, manner: str, tracepoint: str) -> list[str]:
    path = tmp_path / "saboteur.py"
    path.write_text(SABOTEUR)
    return [sys.executable, str(path), manner, tracepoint]


def metrics(port: int) -> dict[str, float]:
    lines = [line for line in get(port, "/metrics")[1].splitlines() if line.startswith("podwitness_")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def component(port: int) -> dict[str, Any]:
    found = json.loads(get(port, "/api/v2/health")[1])["components"].get("ebpf.0 probes", {})
    assert isinstance(found, dict)
    return found


def await_beats(port: int, count: int, kind: str = "") -> None:
    """Each begins the ages anew; that of one kind, if it is only part of it."""
    for _ in range(count):
        oldest_s = 0.0

        def has_begun_anew() -> bool:
            nonlocal oldest_s
            before_s, oldest_s = oldest_s, max(ages_s(port, kind))
            return oldest_s < before_s

        until(has_begun_anew, "a heartbeat")


def ages_s(port: int, kind: str = "") -> list[float]:
    shown = f'"{kind}"' if kind else ""
    return [value for name, value in metrics(port).items() if "heartbeat_age" in name and shown in name]


def test_it_goes_through_all_probes_and_is_not_shipped(tmp_path: Path) -> None:
    port = free_port()
    with Agent("-c", configuration(tmp_path, service(port), EBPF, STDOUT)) as agent:
        agent.wait_until_probes()
        until(lambda: component(port).get("ok"))
        first = metrics(port)
        kinds = {
            match[1] for name in first if (match := re.match(r"podwitness_heartbeat_age.*\"(.*)\"", name))
        }
        assert kinds == {"exec", "fork", "exit", "listen", "unlisten"}
        latency_s = first["podwitness_heartbeat_latency_seconds"]
        assert 0 < latency_s < 5
        await_beats(port, 10)
        assert max(ages_s(port)) < 10 * BEAT_S
        pid = agent.process.pid
        agent.stop()
        agent.out.rest()
        records = agent.records()
    children = [one for one in records if one.get("process", {}).get("parent", {}).get("pid") == pid]
    assert not [one for one in children if one["process"]["name"] == "true"]
    assert not [one for one in records if one["event"]["action"] in ("unlisten", "probes-detached")
                and one.get("process", {}).get("pid") == pid]  # fmt: skip


def test_it_is_recognized_from_within_another_pid_namespace(tmp_path: Path) -> None:
    """As in a pod without hostPID: the kernel's pids are not those that the collector knows."""
    port = free_port()
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with Agent("-c", configuration(tmp_path, service(port), EBPF, STDOUT), prefix=alone) as agent:
        agent.wait_until_probes()
        until(lambda: component(port).get("ok"))
        await_beats(port, 5)
        assert not [one for one in agent.records() if one["event"]["kind"] == "pipeline_error"]
        assert not [one for one in agent.records()
                    if one.get("process", {}).get("executable") == "/usr/bin/true"
                    and one["process"]["vpid"] != one["process"]["pid"]]  # fmt: skip


def fork_until_told(stop: int) -> None:
    while not select.select([stop], [], [], 0)[0]:
        fork_one_by_one(100)


@contextmanager
def fork_storm(cgroup: Cgroup) -> Iterator[None]:
    told, tell = os.pipe()
    storm = Process(cgroup, lambda: fork_until_told(told))
    try:
        yield
    finally:
        os.write(tell, b"x")
        assert storm.wait() == 0
        os.close(told)
        os.close(tell)


def test_limits_of_its_own_cgroup_don_t_make_probes_look_broken(tmp_path: Path, cgroup: Cgroup) -> None:
    """Its forks are suppressed with others' of the cgroup; its listener has another limit."""
    port = free_port()
    config = configuration(tmp_path, service(port), EBPF + "    Rate_Limit_Process 10 5\n", STDOUT)
    inside = ["sh", "-c", f'echo $$ > {cgroup.path}/cgroup.procs && exec "$@"', "sh"]
    with Agent("-c", config, prefix=inside) as agent:
        agent.wait_until_probes()
        until(lambda: component(port).get("ok"))
        with fork_storm(cgroup):
            await_beats(port, 2 * MISSING_AFTER, "listen")
            assert ages_s(port, "fork") > ages_s(port, "listen")
        await_beats(port, 1, "fork")
        assert component(port)["ok"]
        assert not [name for name, count in metrics(port).items() if count and "heartbeats_missed" in name]
        assert agent.stop() == 0
        agent.out.rest()
        assert not [one for one in agent.records() if "probes" in one.get("podwitness", {})]


@pytest.mark.parametrize(
    ("manner", "tracepoint", "action"),
    [
        ("noticed", "cgroup_mkdir", "probes-detached"),
        ("noticed", "sched_process_exec", "probes-detached"),
        ("unnoticed", "sched_process_exec", "heartbeat-missing"),
        ("unnoticed", "inet_sock_set_state", "heartbeat-missing"),
    ],
)
def test_probes_that_are_gone_are_attached_again_on_record(
    tmp_path: Path, manner: str, tracepoint: str, action: str
) -> None:
    port = free_port()
    config = configuration(tmp_path, service(port), EBPF, STDOUT)
    with Agent("-c", config, command=saboteur(tmp_path, manner, tracepoint)) as agent:
        agent.wait_until_probes()
        until(lambda: component(port).get("ok"))
        agent.process.send_signal(signal.SIGUSR1)
        agent.log.wait_for(rf"{action}: .*{tracepoint}")
        agent.log.wait_for("probes-reattached")
        until(lambda: component(port).get("ok"))
        subprocess.run(["/bin/sleep", "0.0123"], check=True)
        agent.out.wait_for(r'sleep","0\.0123"')
        assert metrics(port)[f'podwitness_probes_reattached_total{{cause="{action}"}}'] == 1
        assert agent.stop() == 0
        agent.out.rest()
        found = [one for one in agent.records() if one["event"]["kind"] == "pipeline_error"]
    told = [one for one in found if "probes" in one["podwitness"]]
    assert [one["event"]["action"] for one in told] == [action, "probes-reattached"]
    assert {tuple(one["podwitness"]["probes"]["hooks"]) for one in told} == {(tracepoint,)}
    assert told[0]["event"]["start"] == told[1]["event"]["start"] < told[1]["event"]["end"]


def test_health_is_bad_while_probes_are_gone(tmp_path: Path) -> None:
    """The starter is killed first, so that they can't come back."""
    port = free_port()
    config = configuration(tmp_path, service(port), EBPF, STDOUT)
    with Agent("-c", config, command=saboteur(tmp_path, "noticed", "sched_process_exec")) as agent:
        agent.wait_until_probes()
        until(lambda: component(port).get("ok"))
        assert get(port, "/api/v1/health")[0] == 200
        pid = agent.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"saboteur" in Path(f"/proc/{child}/cmdline").read_bytes():  # not the child of a heartbeat
                subprocess.run(["kill", "-9", child], check=True)
        agent.process.send_signal(signal.SIGUSR1)
        agent.log.wait_for("can't be attached again")
        assert get(port, "/api/v1/health")[0] == 500
        assert "sched_process_exec" in component(port)["reason"]
        status, reasons = get(port, "/readyz")
        assert status == 503
        assert "ebpf.0 probes: detached from outside: sched_process_exec\n" in reasons
        assert get(port, "/livez") == (200, "ok\n"), "a restart does not bring them back"
        assert agent.stop() == 0

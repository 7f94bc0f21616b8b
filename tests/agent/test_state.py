"""What was there before a running agent: its records, of the same entities as what follows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import STDOUT, configuration

pytestmark = pytest.mark.kernel

EBPF = "[INPUT]\n    Name ebpf\n    Tag kernel.*\n    Heartbeat_Interval 0\n"
SERVER = """
import socket
s = socket.create_server(('127.0.0.1', 0))
print(s.getsockname()[1], flush=True)
s.accept()
"""


def of_process(agent: Agent, pid: int, action: str) -> list[dict[str, Any]]:
    return [
        record
        for record in agent.records()
        if record["event"]["action"] == action and record.get("process", {}).get("pid") == pid
    ]


def test_old_process_and_its_listener_are_told_and_are_those_that_end_later(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVER, "an old process"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as old:
        assert old.stdout is not None
        port = int(old.stdout.readline())
        with Agent("-c", str(configuration(tmp_path, EBPF, STDOUT))) as agent:
            agent.out.wait_for(f'"listening".*"port": ?{port}|"port": ?{port}.*"listening"')
            with socket.create_connection(("127.0.0.1", port)):
                pass
            old.wait()
            agent.out.wait_for(f'"action": ?"exit".*"pid": ?{old.pid},')
            assert agent.stop() == 0
        agent.out.rest()
        (running,) = of_process(agent, old.pid, "running")
        (listening,) = of_process(agent, old.pid, "listening")
        (accepted,) = of_process(agent, old.pid, "accept")
        (ended,) = of_process(agent, old.pid, "exit")
        assert running["process"]["args"] == command
        assert running["process"]["executable"] == os.path.realpath(sys.executable)
        assert running["process"]["parent"]["pid"] == os.getpid()
        assert {record["event"]["kind"] for record in (running, listening)} == {"state"}
        entities = {record["process"]["entity_id"] for record in (running, listening, accepted, ended)}
        assert len(entities) == 1
        # The parent is on record too, so an event of an old process has its ancestry.
        (parent,) = of_process(agent, os.getpid(), "running")
        assert parent["process"]["entity_id"] == running["process"]["parent"]["entity_id"]
        assert not of_process(agent, old.pid, "fork")


def test_nothing_of_it_is_told_when_it_is_off(tmp_path: Path) -> None:
    with Agent("-c", str(configuration(tmp_path, EBPF + "    State off\n", STDOUT))) as agent:
        agent.wait_until_probes()
        done = subprocess.Popen(["true"])
        done.wait()
        agent.out.wait_for(f'"action": ?"exit".*"pid": ?{done.pid},')
        assert agent.stop(signal.SIGTERM) == 0
    assert {record["event"]["kind"] for record in agent.records()} == {"event"}

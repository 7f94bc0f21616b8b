"""A running agent tells the program in all records of its process, also of one that is older."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import STDOUT, configuration

pytestmark = pytest.mark.kernel

# Limits are of a cgroup, and this one is that of whatever else runs on the machine.
UNLIMITED = "    Rate_Limit_Process 0\n    Rate_Limit_Network 0\n"
EBPF = (
    f"[INPUT]\n    Name ebpf\n    Tag kernel.*\n    Heartbeat_Interval 0\n{UNLIMITED}"
    "    Trace process network flow\n"
)
CLIENT = """
import os, socket, sys
sys.stdin.readline()
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.sendto(b"x", ("127.0.0.1", 9))
if (pid := os.fork()) == 0:
    os._exit(0)
os.waitpid(pid, 0)
"""
NETWORK = {"listen", "connect", "accept", "close", "unlisten", "flow-start", "flow-end"}


def of_executable(agent: Agent, mark: str) -> list[dict[str, Any]]:
    """Records of processes with that argument."""
    return [record for record in agent.records() if mark in record.get("process", {}).get("args", ())]


def test_a_new_process_and_an_old_one_are_told_alike(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", CLIENT, mark] for mark in ("an-old-one", "a-new-one")]
    with subprocess.Popen(commands[0], stdin=subprocess.PIPE) as old:
        with Agent("-c", str(configuration(tmp_path, EBPF, STDOUT))) as agent:
            agent.out.wait_for('"running"[^\\n]*an-old-one')
            new = subprocess.Popen(commands[1], stdin=subprocess.PIPE)
            for client in (old, new):
                client.communicate(b"\n")
                agent.out.wait_for(f'"action": ?"exit".*"pid": ?{client.pid},')
            assert agent.stop() == 0
        agent.out.rest()
    for command, mark in zip(commands, ("an-old-one", "a-new-one"), strict=True):
        told = of_executable(agent, mark)
        assert {record["process"]["executable"] for record in told} == {os.path.realpath(sys.executable)}
        assert {json.dumps(record["process"]["args"]) for record in told} == {json.dumps(command)}
        actions = {record["event"]["action"] for record in told}
        assert actions >= NETWORK | {"fork", "exit"}, mark


def test_programs_of_the_node_that_are_exempt_read_watched_files_untold(tmp_path: Path) -> None:
    cat, watched = shutil.which("cat"), tmp_path / "watched" / "secret"
    assert cat is not None
    exempt, other = tmp_path / "exempt" / "cat", tmp_path / "other" / "cat"
    for copy in (exempt, other):
        copy.parent.mkdir()
        shutil.copy(cat, copy)
    watched.parent.mkdir()
    watched.write_text("x")
    keys = f"    Trace process syscalls\n    Watch_Path watched/secret\n    Watch_Exempt {exempt}\n"
    probes = EBPF.replace("    Trace process network flow\n", keys)
    with Agent("-c", str(configuration(tmp_path, probes, STDOUT))) as agent:
        agent.out.wait_for('"running"')
        for program in (exempt, other):
            done = subprocess.Popen([program, watched], stdout=subprocess.DEVNULL)
            assert done.wait() == 0
            agent.out.wait_for(f'"action": ?"exit".*"pid": ?{done.pid},')
        assert agent.stop() == 0
    agent.out.rest()
    told = [record for record in agent.records() if record["event"]["action"] == "file-read"]
    mine = [record for record in told if record["file"]["path"] == str(watched)]
    # kthreadd has the mounts of the first process, whose own may not be asked for.
    is_of_node = os.readlink("/proc/self/ns/mnt") == os.readlink("/proc/2/ns/mnt")
    # Whoever has mounts of its own could have put any program at the path: it is exempt from nothing.
    expected = [str(other)] if is_of_node else [str(exempt), str(other)]
    assert [record["process"]["executable"] for record in mine] == expected

"""A running agent's records of flows: what each knows beside its packets, and how it goes on and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import STDOUT, configuration

pytestmark = pytest.mark.kernel

IDLE_S = 5  # longer than until an update
EBPF = f"""[INPUT]
    Name               ebpf
    Tag                kernel.*
    Heartbeat_Interval 0
    Rate_Limit_Network 0
    Trace              process network flow
    Flow_Interval      1
    Flow_Idle          {IDLE_S}
"""
ASKED = 3
ADDRESS, SERVICE = "10.1.0.1", "10.96.0.1"
# The namespace of process 1 counts as the node's.
NETWORK = f"""set -e
mount --bind /proc/$$/net /proc/1/net
ip link set lo up
ip addr add {ADDRESS}/32 dev lo
ip route add 10.96.0.0/16 dev lo src {ADDRESS}
iptables -t nat -A OUTPUT -d {SERVICE} -p tcp --dport 443 -j DNAT --to-destination {ADDRESS}:8080
echo made
exec cat
"""
# It waits for a line before it begins and after each question. The socket that asked is closed with the last,
# another that sent once stays open.
TALK = f"""
import socket, sys
from tests.kernel.test_dns_events import answered
from tests.reference import dns_messages as messages

def datagrams(address=None):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if address:
        made.bind(address)
    return made

names, server, listener = datagrams(("127.0.0.1", 53)), datagrams(("{ADDRESS}", 8080)), socket.create_server(
    ("{ADDRESS}", 8080))
sys.stdin.readline()
resolver, idle, busy = datagrams(), datagrams(), datagrams()
resolver.sendto(messages.query("db.example.org"), ("127.0.0.1", 53))
question, asker = names.recvfrom(512)
names.sendto(answered(question, socket.inet_aton("{SERVICE}")), asker)
resolver.recv(512)
idle.sendto(b"once", ("{ADDRESS}", 8080))
server.recv(100)
with socket.create_connection(("{SERVICE}", 443)):
    listener.accept()[0].close()
busy.connect(("{ADDRESS}", 8080))
for number in range({ASKED}):
    busy.send(b"question")
    server.sendto(b"answer", server.recvfrom(100)[1])
    busy.recv(100)
    if number == {ASKED} - 1:
        busy.close()
    print("asked", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def network() -> Iterator[list[str]]:
    """What to put before a command to have it in a network of its own, with a Service."""
    with subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", NETWORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "made\n"
        yield ["nsenter", f"--target={holder.pid}", "--net", "--mount", f"--wd={Path.cwd()}"]
        holder.stdin.close()


class Talker:
    def __init__(self, prefix: list[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", TALK], stdin=pipe, stdout=pipe, text=True
        )

    def ask(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "asked\n"

    def end(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0


def of_clients(agent: Agent, pid: int, address: str) -> dict[int, list[dict[str, Any]]]:
    """By the port of its socket: what it said of one that went to the address."""
    found: dict[int, list[dict[str, Any]]] = {}
    for record in agent.records():
        is_own = record.get("process", {}).get("pid") == pid and "source" in record
        if is_own and record["network"]["direction"] == "egress" and record["destination"]["ip"] == address:
            found.setdefault(record["source"]["port"], []).append(record)
    return found


def end_cause(records: list[dict[str, Any]]) -> str:
    return str(records[-1]["podwitness"]["flow"]["end_cause"])


def actions(records: list[dict[str, Any]]) -> list[str]:
    return [record["event"]["action"] for record in records]


def counted(record: dict[str, Any]) -> tuple[int, ...]:
    return tuple(record[end][what] for end in ("source", "destination") for what in ("packets", "bytes"))


def test_names_translations_updates_and_idle_ends(tmp_path: Path) -> None:
    config = configuration(tmp_path, EBPF, STDOUT)
    with network() as inside, Agent("-c", config, prefix=inside) as agent:
        agent.wait_until_probes()
        talker = Talker(inside)
        pid = talker.process.pid
        talker.ask()
        talker.ask()
        agent.out.wait_for(rf'"flow-update".*"pid": ?{pid},.*"packets": ?2')
        talker.ask()
        agent.out.wait_for(rf'"flow-end".*"destination": ?{{"ip": ?"{ADDRESS}".*"end_cause": ?"idle"')
        talker.end()
        assert agent.stop() == 0
        agent.out.rest()
        (tcp,) = of_clients(agent, pid, SERVICE).values()
        idle, busy = of_clients(agent, pid, ADDRESS).values()
    assert actions(tcp) == ["connect", "close"]
    for record in tcp:
        assert record["destination"]["domain"] == "db.example.org"
        assert record["destination"]["nat"] == {"ip": ADDRESS, "port": 8080}
    assert actions(idle) == ["flow-start", "flow-end"]
    assert (counted(idle[-1]), end_cause(idle)) == ((1, 4, 0, 0), "idle")
    told = actions(busy)
    assert (told[0], set(told[1:-1]), told[-1]) == ("flow-start", {"flow-update"}, "flow-end")
    assert counted(busy[0]) == (1, 8, 0, 0)
    assert (2, 16, 2, 12) in [counted(record) for record in busy[1:-1]]
    assert (counted(busy[-1]), end_cause(busy)) == ((3, 24, 3, 18), "closed")

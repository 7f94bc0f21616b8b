"""A running agent that was stopped while its rings filled: what it lost it tells, in-band, to the record."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import STDOUT, configuration
from tests.kernel.witness import Witness

pytestmark = pytest.mark.kernel

# Neither limits nor heartbeats take anything out of the stream, so that all that is missing was lost.
EBPF = """[INPUT]
    Name ebpf
    Tag kernel.*
    Ring_Size 256k
    Flow_Ring_Size 128k
    Rate_Limit_Process 0
    Rate_Limit_Network 0
    Rate_Limit_Privilege 0
    Heartbeat_Interval 0
    State off
"""
KINDS = {"EXEC": "exec", "FORK": "fork", "EXIT": "exit", "TCP_LISTEN": "listen", "TCP_UNLISTEN": "unlisten"}


def work() -> None:
    """More than the rings hold, several times."""
    for _ in range(800):
        subprocess.run(["/bin/true"], check=True)
    for _ in range(1000):
        with socket.socket() as listener:
            listener.listen()


def seen(events: list[Any], since_ns: int) -> Counter[tuple[str, int]]:
    """By kind and process or port: in the whole machine, since no loss is told by container."""
    return Counter(
        (KINDS[event.kind], event.pid if event.kind in ("EXEC", "FORK", "EXIT") else event.local_port)
        for event in events
        if event.time_ns >= since_ns
    )


def shipped(records: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    return Counter(
        (action, record["destination"]["port"] if action.endswith("listen") else record["process"]["pid"])
        for record in records
        if (action := record["event"]["action"]) in KINDS.values()
    )


def told(records: list[dict[str, Any]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for record in records:
        loss = record.get("podwitness", {}).get("loss", {})
        if loss.get("cause", "").startswith("ring_full_"):
            sums[loss["cause"].removeprefix("ring_full_")] += loss["records"]
    return sums


def test_losses_that_are_told_are_exactly_what_is_missing(tmp_path: Path) -> None:
    config = configuration(tmp_path, EBPF, STDOUT)
    with Agent("-c", config) as agent:
        agent.wait_until_probes()
        witness = Witness.attach(["process", "network"], ring_bytes=32 << 20)
        since_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        agent.process.send_signal(signal.SIGSTOP)
        work()
        agent.process.send_signal(signal.SIGCONT)
        agent.out.wait_for('"ring_full_unlisten"')
        agent.out.wait_for('"ring_full_exec"')
        events = witness.events(None, *KINDS)
        assert not any(witness.probes.lost())
        marker = subprocess.Popen(["/bin/true"])
        marker.wait()
        agent.out.wait_for(f'"action": ?"exit".*"pid": ?{marker.pid},')
        assert agent.stop() == 0
        agent.out.rest()
        records = agent.records()
    witness.close()
    lost = told(records)
    missing: Counter[str] = Counter()
    for (kind, _), number in (seen(events, since_ns) - shipped(records)).items():
        missing[kind] += number
    assert missing == Counter({kind: lost[kind] for kind in KINDS.values()})
    assert min(missing.values()) > 100

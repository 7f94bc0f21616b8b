"""probes.netlink_launch: the child by itself or by the starter, its end, its last words."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any

import psutil
import pytest

from probes.launch import loader_command, witness_command
from probes.netlink_exchange import Report, Watch
from probes.netlink_launch import NetlinkWitness, launch_witness
from probes.starter import Starter

pytestmark = pytest.mark.kernel

WATCH = Watch(("process",), "", (), 1 << 20, 1 << 20, 0.01, 1.0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


async def until_exec_of(witness: NetlinkWitness, pid: int) -> Report:
    while report := await witness.receive():
        if any(seen.action == "exec" and seen.process.pid == pid for seen in report.processes):
            return report
    raise AssertionError("the witness has ended")


async def first_report(witness: NetlinkWitness) -> None:
    while report := await witness.receive():
        if report.parts:
            assert [(part.subject, part.is_seen) for part in report.parts] == [("process", True)]
            return


def run_true(times: int) -> list[int]:
    """Their process ids; they have ended."""
    pids = [os.posix_spawn("/bin/true", ["true"], {}) for _ in range(times)]
    for pid in pids:
        os.waitpid(pid, 0)
    return pids


def own_witness() -> psutil.Process:
    (found,) = [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "probes.netlink_witness" in child.cmdline()
    ]
    return found


def test_by_the_starter_and_by_itself() -> None:
    starter = Starter.fork(loader_command(), lambda: None, witness_command())

    async def scenario() -> None:
        for how in (starter, None):
            witness = await launch_witness(WATCH, how)
            await first_report(witness)
            (pid,) = run_true(1)
            await until_exec_of(witness, pid)
            child = own_witness()
            await witness.close()
            assert psutil.wait_procs([child], timeout=10)[1] == []

    run(scenario())
    starter.close()
    os.wait()


def test_what_it_has_seen_is_all_there_at_the_end() -> None:
    async def scenario() -> None:
        witness = await launch_witness(WATCH, None)
        await first_report(witness)
        pids = run_true(31)
        witness.finish()
        ended: set[int] = set()
        while report := await witness.receive():
            ended |= {seen.process.pid for seen in report.processes if seen.action == "exit"}
        assert set(pids) <= ended
        await witness.close()

    run(scenario())


def test_its_last_words() -> None:
    async def scenario() -> None:
        witness = await launch_witness(WATCH, None)
        await first_report(witness)
        own_witness().send_signal(signal.SIGKILL)
        while await witness.receive():
            pass
        assert await witness.last_words() == "status -9: silent"
        await witness.close()

    run(scenario())


def test_a_wish_that_is_none_ends_it_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.netlink_launch.encode", lambda watch: b"\xc1")

    async def scenario() -> None:
        witness = await launch_witness(WATCH, None)
        assert await witness.receive() is None
        assert "DecodeError" in await witness.last_words()
        await witness.close()

    run(scenario())

"""An agent whose wall clock jumps by a year, forwards and back.

Everything that waits does so by the monotonic clock: retries, Flush, timeouts. The wall clock counts for what
a chunk in the spool tells of its age, and for the time in which a certificate is valid.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.agent import Agent
from tests.certificates import Authority
from tests.fault.test_spool_faults import TAGS, Client, Setup, arrived, check
from tests.numbered_log import Container, Count
from tests.receiver import Behaviour, Received, Receiver, receiving

SOURCE = Path(__file__).with_name("wall_clock.c")
# A portion of 2 MiB, in lines of 1,000 bytes.
CHUNK_RECORDS = 2200


class Clock:
    """The wall clock of agents that are begun with `prefix`."""

    def __init__(self, folder: Path) -> None:
        self._path, library = folder / "clock", folder / "wall_clock.so"
        self._path.write_bytes(bytes(8))
        flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE")
        subprocess.run(["cc", *flags, str(SOURCE), "-o", str(library)], check=True)
        self.prefix = ["env", f"LD_PRELOAD={library}", f"WALL_CLOCK={self._path}"]

    def jump(self, days: int) -> None:
        """To so many days after the true time."""
        with self._path.open("r+b", buffering=0) as file:
            file.write((days * 86_400).to_bytes(8, sys.byteorder, signed=True))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_waits_in_the_spool_while_the_clock_jumps(tmp_path: Path, end: signal.Signals) -> None:
    """Also over a restart at a time before all that was read."""

    async def scenario() -> None:
        async with receiving() as receiver:
            await receiver.stop()
            clock, setup = Clock(tmp_path), Setup(tmp_path, receiver.port)
            client = Client(setup.port, TAGS[0])
            with Agent("-c", str(setup.path), prefix=clock.prefix) as agent:
                await asyncio.to_thread(agent.wait_until_running)
                for days in (400, -400, 1):
                    await client.send(2)
                    clock.jump(days)
                await client.send(2)
                await asyncio.to_thread(agent.stop, end)
            clock.jump(-400)
            with Agent("-c", str(setup.path), prefix=clock.prefix) as agent:
                await asyncio.to_thread(agent.wait_until_running)
                await client.send(2)
                await setup.until("podwitness_spool_chunks", 1)
                age_s = await asyncio.to_thread(setup.metric, "podwitness_spool_oldest_seconds")
                await receiver.start(port=receiver.port)
                await receiver.wait_until(lambda: arrived(receiver, client))
                assert await asyncio.to_thread(setup.metric, "podwitness_lost_records_total") == 0
                assert await asyncio.to_thread(agent.stop) == 0
            assert age_s == 0
            assert len(client.acked) == 10
            check(receiver, [client])

    asyncio.run(scenario())


def configuration(folder: Path, port: int, ca_file: Path) -> str:
    path = folder / "podwitness.conf"
    path.write_text(
        "[SERVICE]\n    Flush 0.05\n    scheduler.base 0.05\n    scheduler.cap 0.1\n"
        f"[INPUT]\n    Name tail\n    Path {folder}/*.log\n    Tag logs\n    DB {folder}/tail.db\n"
        "    multiline.parser cri\n    Read_from_Head On\n"
        f"[OUTPUT]\n    Name forward\n    Match *\n    Port {port}\n    Require_ack_response On\n"
        f"    Retry_Limit no_limits\n    tls On\n    tls.ca_file {ca_file}\n"
    )
    return str(path)


@pytest.mark.parametrize(("days", "reason"), [(400, "has expired"), (-400, "is not yet valid")])
def test_a_clock_for_which_no_certificate_is_valid(tmp_path: Path, days: int, reason: str) -> None:
    """The session that is there goes on, a new one is refused, and goes on once the clock is right."""
    authority = Authority.make(tmp_path / "ca")
    count = Count()
    connections: set[int] = set()

    def behave(received: Received) -> Behaviour:
        connections.add(received.connection)
        return count.behave(received)

    async def until_more(receiver: Receiver) -> None:
        seen = count.next
        await receiver.wait_until(lambda: count.next > seen + 1000)

    async def run(container: Container) -> None:
        async with receiving(Receiver(behave=behave), tls=authority.server_context()) as receiver:
            clock = Clock(tmp_path)
            config = configuration(tmp_path, receiver.port, authority.certificate)
            with Agent("-c", config, prefix=clock.prefix) as agent:
                await until_more(receiver)
                clock.jump(days)
                await until_more(receiver)
                assert receiver.connections == 1
                receiver.drop()
                await asyncio.to_thread(agent.log.wait_for, f"can't be trusted: certificate {reason}")
                assert receiver.connections == 1
                clock.jump(0)
                await asyncio.to_thread(container.end)
                await receiver.wait_until(lambda: count.next == container.records, timeout_s=60)
                assert await asyncio.to_thread(agent.stop) == 0

    with Container(tmp_path / "0.log", bytes_s=4e6) as container:
        asyncio.run(run(container))
    assert count.next == container.records == len(count.seen)
    assert count.out_of_order == []
    assert count.doubled <= CHUNK_RECORDS
    assert connections == {1, 2}

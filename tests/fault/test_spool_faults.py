"""The agent as a process, with an aggregator that is away: killed, with a full disk, with a damaged spool.

Records come by the forward input, which acknowledges a message once it is safe. What
it has acknowledged has to arrive, whatever happens, and twice only under one id.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest

from collector.delivery.losses import LOSS_TAG
from collector.delivery.spool import FILE_NAME
from tests.agent.agent import Agent, get
from tests.polling import until
from tests.receiver import Received, Receiver, receiving

KILLS = 6
TAGS = ("app.a", "app.b", "app.c")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Setup:
    """An agent's configuration, and the agent while it runs."""

    def __init__(self, folder: Path, aggregator: int, *, limit: str = "1G", match: str = "app.*") -> None:
        self.port, self.http = free_port(), free_port()
        self.spool = folder / "spool"
        self.path = folder / "podwitness.conf"
        self.path.write_text(
            "[SERVICE]\n    Flush 0.2\n    Grace 0\n    scheduler.base 0.05\n    scheduler.cap 0.2\n"
            f"    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {self.http}\n"
            f"    storage.path {self.spool}\n    storage.checksum on\n"
            f"[INPUT]\n    Name forward\n    Listen 127.0.0.1\n    Port {self.port}\n"
            f"[OUTPUT]\n    Name forward\n    Match {match}\n    Host 127.0.0.1\n    Port {aggregator}\n"
            f"    Require_ack_response On\n    Retry_Limit no_limits\n    storage.total_limit_size {limit}\n"
        )

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        with Agent("-c", str(self.path)) as agent:
            await asyncio.to_thread(agent.wait_until_running)
            yield agent

    def metric(self, name: str) -> float:
        _, text = get(self.http, "/api/v1/metrics/prometheus")
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.split()[1]) for line in lines)

    async def until(self, name: str, least: float) -> None:
        await asyncio.to_thread(until, lambda: self.metric(name) >= least, f"{name} of {least}")


class Client:
    """Sends numbered records one by one; `acked` are those that the agent answers for."""

    def __init__(self, port: int, tag: str, size: int = 100) -> None:
        self.port, self.tag, self.size = port, tag, size
        self.number = 0
        self.acked: list[int] = []

    async def send(self, count: int) -> None:
        """Until that many are acknowledged or the agent dies."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return
        unpacker = msgpack.Unpacker()
        with contextlib.suppress(ConnectionError):
            for _ in range(count):
                self.number += 1
                entry = [msgpack.Timestamp(1_700_000_000), {"n": self.number, "pad": "x" * self.size}]
                chunk = f"{self.tag} {self.number}"
                writer.write(msgpack.packb([self.tag, [[int(entry[0].seconds), entry[1]]], {"chunk": chunk}]))
                await writer.drain()
                if not (answer := await reader.read(4096)):
                    break
                unpacker.feed(answer)
                assert [one["ack"] for one in unpacker] == [chunk]
                self.acked.append(self.number)
        writer.close()


def check(receiver: Receiver, clients: list[Client]) -> None:
    """All that was acknowledged is here, in order, and twice only under one id."""
    by_id: dict[str | None, Received] = {}
    for received in receiver.received:
        first = by_id.setdefault(received.chunk, received)
        assert first.entries == received.entries
    for client in clients:
        found = [r[b"n"] for one in by_id.values() if one.tag == client.tag for _, r in one.entries]
        assert set(client.acked) <= set(found)
        assert max(Counter(found).values()) == 1
        assert found == sorted(found)


def test_killed_again_and_again_while_nobody_listens(tmp_path: Path) -> None:
    """kill -9 at random times, with an aggregator that is away, comes, refuses and goes."""
    chance = random.Random(1)

    async def scenario() -> None:
        async with receiving() as receiver:
            setup = Setup(tmp_path, receiver.port)
            clients = [Client(setup.port, tag) for tag in TAGS]
            for life in range(KILLS):
                if life % 2 == 0:
                    await receiver.stop()
                async with setup.agent() as agent:
                    sending = asyncio.gather(*(client.send(400) for client in clients))
                    await asyncio.sleep(chance.uniform(0.1, 1.0))
                    if life % 2 == 0 and life:
                        await receiver.start(port=receiver.port)
                        await asyncio.sleep(chance.uniform(0.0, 0.3))
                    agent.stop(signal.SIGKILL)
                    await sending
                if life == 0:
                    await receiver.start(port=receiver.port)
            async with setup.agent():
                for client in clients:
                    await client.send(1)
                owed = sum(len(client.acked) for client in clients)
                await receiver.wait_until(lambda: all(arrived(receiver, client) for client in clients), 30)
            assert owed > KILLS
            check(receiver, clients)

    asyncio.run(scenario())


def arrived(receiver: Receiver, client: Client) -> bool:
    found = {r[b"n"] for one in receiver.received if one.tag == client.tag for _, r in one.entries}
    return set(client.acked) <= found


def test_a_full_disk_is_said_and_gets_over_it(tmp_path: Path) -> None:
    """Nothing is acknowledged that could not be kept; once the aggregator is back, all goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", disk], check=True)

    async def scenario() -> None:
        async with receiving() as receiver:
            await receiver.stop()
            setup = Setup(disk, receiver.port)
            clients = [Client(setup.port, tag, size=100_000) for tag in TAGS]
            async with setup.agent() as agent:
                sending = asyncio.gather(*(client.send(150) for client in clients))
                await setup.until("podwitness_spool_failures_total", 1)
                await asyncio.to_thread(agent.log.wait_for, "the spool .* can't be used .*full.*free space")
                await receiver.start(port=receiver.port)
                await sending
                await receiver.wait_until(lambda: all(arrived(receiver, client) for client in clients), 30)
                assert [len(client.acked) for client in clients] == [150] * 3
                await setup.until("fluentbit_output_proc_records_total", 450)
                assert await asyncio.to_thread(setup.metric, "podwitness_lost_records_total") == 0
                agent.stop()
            check(receiver, clients)

    try:
        asyncio.run(scenario())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_it_starts_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """The spool and others filled it, and the agent was killed: all that is there arrives."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", disk], check=True)

    async def scenario() -> None:
        async with receiving() as receiver:
            await receiver.stop()
            setup = Setup(disk, receiver.port)
            clients = [Client(setup.port, tag, size=100_000) for tag in TAGS]
            async with setup.agent() as agent:
                sending = asyncio.gather(*(client.send(150) for client in clients))
                await setup.until("podwitness_spool_failures_total", 1)
                agent.process.kill()
                await sending
            with contextlib.suppress(OSError), (disk / "other").open("wb", buffering=0) as other:
                while other.write(bytes(64 << 10)):
                    pass
            async with setup.agent() as agent:
                await receiver.start(port=receiver.port)
                await receiver.wait_until(lambda: all(arrived(receiver, client) for client in clients), 30)
                agent.stop()
            check(receiver, clients)

    try:
        asyncio.run(scenario())
    finally:
        subprocess.run(["umount", disk], check=True)


def resident_bytes(agent: Agent) -> int:
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def test_memory_is_bounded_while_nobody_listens(tmp_path: Path) -> None:
    """More than the spool's bound comes in: memory stays, and each record that is dropped is told."""
    records, size = 50, 1_000_000

    async def scenario() -> None:
        async with receiving() as receiver:
            await receiver.stop()
            setup = Setup(tmp_path, receiver.port, limit="60M")
            clients = [Client(setup.port, tag, size=size) for tag in TAGS]
            async with setup.agent() as agent:
                before = resident_bytes(agent)
                await asyncio.gather(*(client.send(records) for client in clients))
                # In flight 32 MiB, staged 8, read back 5, and what the messages themselves take.
                assert resident_bytes(agent) - before < 100 << 20
                lost = await asyncio.to_thread(setup.metric, "podwitness_lost_records_total")
                await receiver.start(port=receiver.port)
                kept = 3 * records - lost
                await receiver.wait_until(lambda: len(receiver.records) >= kept, 30)
                await setup.until("fluentbit_output_proc_records_total", kept)
                agent.stop()
            assert lost > 0
            assert len({(one.tag, r[b"n"]) for one in receiver.received for _, r in one.entries}) == kept

    asyncio.run(scenario())


def told(receiver: Receiver) -> int:
    """Records told as lost by the spool's bound."""
    chunks = {one.chunk: one for one in receiver.received if one.tag == LOSS_TAG}.values()
    losses = [record[b"podwitness"][b"loss"] for one in chunks for _, record in one.entries]
    return sum(loss[b"records"] for loss in losses if loss[b"cause"] == b"storage_limit")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_lost_in_an_outage_is_told_after_it(tmp_path: Path, number: signal.Signals) -> None:
    """Over restarts, of what was acknowledged each record arrives or is told as lost. The bound holds."""
    limit = 200_000

    async def scenario() -> None:
        async with receiving() as receiver:
            await receiver.stop()
            setup = Setup(tmp_path, receiver.port, limit=str(limit), match="*")
            clients = [Client(setup.port, f"app.{tag}", size=10_000) for tag in range(20)]
            for _ in range(2):
                async with setup.agent() as agent:
                    await asyncio.gather(*(client.send(5) for client in clients))
                    await setup.until("podwitness_lost_records_total", 60)
                    assert await asyncio.to_thread(setup.metric, "podwitness_spool_bytes") <= limit
                    agent.stop(number)
            await receiver.start(port=receiver.port)
            async with setup.agent():
                await receiver.wait_until(lambda: seen(receiver) + told(receiver) == 200, 30)
            assert sum(len(client.acked) for client in clients) == 200
            assert told(receiver) >= 160

    asyncio.run(scenario())


def seen(receiver: Receiver) -> int:
    return len(
        {(one.tag, r[b"n"]) for one in receiver.received if one.tag != LOSS_TAG for _, r in one.entries}
    )


@pytest.mark.parametrize("garbage", [b"no database", b""])
def test_a_damaged_spool_is_kept_aside_and_work_goes_on(tmp_path: Path, garbage: bytes) -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            setup = Setup(tmp_path, receiver.port)
            setup.spool.mkdir()
            (setup.spool / FILE_NAME).write_bytes(garbage)
            client = Client(setup.port, TAGS[0])
            async with setup.agent() as agent:
                await client.send(20)
                await receiver.wait_until(lambda: arrived(receiver, client))
                if garbage:
                    await asyncio.to_thread(agent.log.wait_for, "is damaged .* kept as ")
                agent.stop()
            check(receiver, [client])
            assert len(list(setup.spool.glob(f"{FILE_NAME}.corrupt-*"))) == bool(garbage)

    asyncio.run(scenario())


def test_the_end_keeps_what_was_not_delivered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            await receiver.stop()
            setup = Setup(tmp_path, receiver.port)
            client = Client(setup.port, TAGS[0])
            async with setup.agent() as agent:
                await client.send(3)
                assert await asyncio.to_thread(agent.stop) == 0
                assert "lost" not in agent.log.rest()
            await receiver.start(port=receiver.port)
            async with setup.agent():
                await receiver.wait_until(lambda: arrived(receiver, client))
            check(receiver, [client])

    asyncio.run(scenario())

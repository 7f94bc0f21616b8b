"""An aggregator gets another certificate, of another CA, while a container writes and its log is rotated.

The session that is there goes on; new ones are refused until the CA's file is changed on the node. Nothing is
lost, and nothing comes twice but what was on its way when the session ended.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.agent.agent import Agent
from tests.certificates import Authority
from tests.numbered_log import Container, Count
from tests.receiver import Behaviour, Received, Receiver, receiving

# One chunk waits for its acknowledgement: a portion of 2 MiB, in lines of 1,000 bytes.
CHUNK_RECORDS = 2200


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


def put(path: Path, content: bytes) -> None:
    """As the kubelet changes a file of a Secret."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def test_an_aggregator_swaps_its_certificate_under_load(tmp_path: Path) -> None:
    before, after = Authority.make(tmp_path / "1", "CA 1"), Authority.make(tmp_path / "2", "CA 2")
    ca_file = tmp_path / "ca.crt"
    put(ca_file, before.certificate.read_bytes())
    count = Count()
    connections: list[int] = []

    def behave(received: Received) -> Behaviour:
        connections.append(received.connection)
        return count.behave(received)

    async def until_more(receiver: Receiver) -> None:
        seen = count.next
        await receiver.wait_until(lambda: count.next > seen + 1000)

    async def run(container: Container) -> None:
        context = before.server_context()
        async with receiving(Receiver(behave=behave), tls=context) as receiver:
            with Agent("-c", configuration(tmp_path, receiver.port, ca_file)) as agent:
                await until_more(receiver)
                context.load_cert_chain(*after.issue("server"))
                await until_more(receiver)
                assert receiver.connections == 1, "the session that is there goes on"
                receiver.drop()
                await asyncio.to_thread(agent.log.wait_for, "certificate that can't be trusted")
                written = container.records
                await asyncio.to_thread(container.until, written + 10_000)
                assert receiver.connections == 1
                put(ca_file, after.certificate.read_bytes())
                await receiver.wait_until(lambda: count.next > written)
                await asyncio.to_thread(container.end)
                await receiver.wait_until(lambda: count.next == container.records, timeout_s=60)
                assert await asyncio.to_thread(agent.stop) == 0

    with Container(tmp_path / "0.log") as container:
        asyncio.run(run(container))
    assert count.next == container.records == len(count.seen)
    assert count.out_of_order == []
    assert count.doubled <= CHUNK_RECORDS
    assert set(connections) == {1, 2}

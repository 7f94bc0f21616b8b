"""kill -9, again and again, while a container writes 20 MB/s and its log is rotated and compressed.

`KILLS` says how often (`make soak`: 200). Every record arrives, each for the first time in its order; what
comes twice is what was on its way, or came shortly before the kill: positions are committed every Flush.
It comes in chunks of the same ids with the same records, so that the receiver can drop it, except where its
file was compressed before it was read again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from tests.agent.agent import Agent
from tests.numbered_log import Container, Count
from tests.receiver import Receiver, receiving

KILLS = int(os.environ.get("KILLS", "50"))
FLUSH_S = 0.05
# What came in the last of them may not be committed: two, and as many again for a machine with other work.
UNCOMMITTED_S = 4 * FLUSH_S
# A log is renamed after 0.3 s, which is less than the agent takes to start: compressed at the next rotation,
# most of what was on its way would be read anew.
COMPRESS_EVERY = 8


def configuration(folder: Path, port: int) -> str:
    path = folder / "podwitness.conf"
    path.write_text(
        f"[SERVICE]\n    Flush {FLUSH_S}\n"
        f"[INPUT]\n    Name tail\n    Path {folder}/*.log\n    Tag logs\n    DB {folder}/tail.db\n"
        "    multiline.parser cri\n    Read_from_Head On\n"
        f"[OUTPUT]\n    Name forward\n    Match *\n    Port {port}\n    Require_ack_response On\n"
        "    Retry_Limit no_limits\n"
    )
    return str(path)


async def kill(config: str, choose: random.Random, count: Count, received: Receiver) -> int:
    """One life of the agent: killed some time after its first records, or before any.

    How many records may come again: what came shortly before the kill, and after it out of the socket.
    """
    before = count.next
    with Agent("-c", config) as agent:
        await asyncio.to_thread(agent.wait_until_running)
        if choose.random() < 0.8:
            await received.wait_until(lambda: count.next > before, timeout_s=60)
            await asyncio.sleep(choose.random() * 0.5)
        killed_s = time.monotonic()
        await asyncio.to_thread(agent.stop, signal.SIGKILL)
        await received.wait_until(lambda: received.open_connections == 0)
    return count.since(killed_s - UNCOMMITTED_S)


def test_nothing_is_lost_however_often_the_agent_is_killed(tmp_path: Path) -> None:
    choose = random.Random(1)
    container = Container(tmp_path / "0.log", compress_every=COMPRESS_EVERY)
    count = Count(lambda: container.compressed)

    async def run() -> int:
        """How many records may come twice."""
        async with receiving(Receiver(behave=count.behave)) as received:
            config = configuration(tmp_path, received.port)
            uncommitted = [await kill(config, choose, count, received) for _ in range(KILLS)]
            await asyncio.to_thread(container.end)
            with Agent("-c", config):
                try:
                    await received.wait_until(lambda: count.next == container.records, timeout_s=60)
                except TimeoutError:
                    lost = f"{count.next} of {container.records}: {count.out_of_order}"
                    raise AssertionError(lost) from None
            return sum(uncommitted)

    with container:
        uncommitted = asyncio.run(run())
    assert count.next == container.records == len(count.seen)
    assert count.out_of_order == []
    assert count.strange == []
    assert count.doubled <= uncommitted

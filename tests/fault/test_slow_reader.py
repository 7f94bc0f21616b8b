"""A receiver that reads 64 KiB/s while a container writes 10 MB/s and its log is rotated.

Slow is not silent: no connection is given up. Memory keeps its bound, positions stay where the receiver is,
nothing is lost; and with a spool another output gets all of it as it is written.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from tests.agent.agent import Agent
from tests.numbered_log import Container, Count
from tests.receiver import Receiver, receiving

SLOW_BYTES_S = 64 << 10
# It reads a fifth of a chunk in the meantime.
SILENCE_S = 2
WRITTEN = 60_000  # records of 1,000 bytes while it is slow
# A portion of 2 MiB, in lines of 1,000 bytes.
CHUNK_RECORDS = 2200
# Files may use 24 MiB of what is in flight, and four portions of 2 MiB beyond it; the rest is work.
MEMORY_BYTES = 48 << 20


def configuration(folder: Path, receivers: list[Receiver], *, spool: bool) -> str:
    path = folder / "podwitness.conf"
    path.write_text(
        "[SERVICE]\n    Flush 0.05\n    scheduler.base 0.05\n    scheduler.cap 0.1\n"
        + f"    storage.path {folder}/spool\n" * spool
        + f"[INPUT]\n    Name tail\n    Path {folder}/*.log\n    Tag logs\n    DB {folder}/tail.db\n"
        "    multiline.parser cri\n    Read_from_Head On\n"
        + "".join(
            f"[OUTPUT]\n    Name forward\n    Match *\n    Port {receiver.port}\n    Retry_Limit no_limits\n"
            f"    Require_ack_response On\n    net.io_timeout {SILENCE_S}\n"
            for receiver in receivers
        )
    )
    return str(path)


def memory_bytes(agent: Agent, which: str) -> int:
    """VmRSS or VmHWM, its peak."""
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith(f"{which}:")]
    return int(line.split()[1]) * 1024


async def growth_bytes(agent: Agent, load: Callable[[], None]) -> int:
    before = memory_bytes(agent, "VmRSS")
    await asyncio.to_thread(load)
    return memory_bytes(agent, "VmHWM") - before


def all_in_order(count: Count, container: Container) -> None:
    assert count.next == container.records == len(count.seen)
    assert count.out_of_order == []


def test_a_slow_reader_gets_everything_over_a_kill(tmp_path: Path) -> None:
    count = Count()

    async def run(container: Container) -> None:
        async with receiving(Receiver(behave=count.behave, pace_bytes_s=SLOW_BYTES_S)) as receiver:
            config = configuration(tmp_path, [receiver], spool=False)
            with Agent("-c", config) as agent:
                await asyncio.to_thread(agent.wait_until_running)
                assert await growth_bytes(agent, lambda: container.until(WRITTEN)) < MEMORY_BYTES
                assert receiver.connections == 1
                assert count.next < WRITTEN
                await asyncio.to_thread(agent.stop, signal.SIGKILL)
            receiver.pace_bytes_s = 0.0
            with Agent("-c", config):
                await asyncio.to_thread(container.end)
                await receiver.wait_until(lambda: count.next == container.records, timeout_s=60)

    with Container(tmp_path / "0.log", bytes_s=10e6) as container:
        asyncio.run(run(container))
    all_in_order(count, container)
    assert count.doubled <= CHUNK_RECORDS


def test_a_slow_reader_holds_no_other_back_where_there_is_a_spool(tmp_path: Path) -> None:
    slow, live = Count(), Count()

    async def run(container: Container) -> None:
        async with (
            receiving(Receiver(behave=slow.behave, pace_bytes_s=SLOW_BYTES_S)) as slow_receiver,
            receiving(Receiver(behave=live.behave)) as live_receiver,
        ):
            config = configuration(tmp_path, [slow_receiver, live_receiver], spool=True)
            with Agent("-c", config) as agent:
                await asyncio.to_thread(agent.wait_until_running)
                assert await growth_bytes(agent, lambda: container.until(WRITTEN)) < MEMORY_BYTES
                await live_receiver.wait_until(lambda: live.next >= WRITTEN)
                assert slow_receiver.connections == 1
                assert slow.next < WRITTEN
                slow_receiver.pace_bytes_s = 0.0
                await asyncio.to_thread(container.end)
                for receiver, count in ((live_receiver, live), (slow_receiver, slow)):
                    await receiver.wait_until(lambda: count.next == container.records, timeout_s=60)  # noqa: B023
                assert await asyncio.to_thread(agent.stop) == 0

    with Container(tmp_path / "0.log", bytes_s=10e6) as container:
        asyncio.run(run(container))
    for count in (live, slow):
        all_in_order(count, container)
        assert count.doubled == 0

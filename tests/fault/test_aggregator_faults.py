"""Node, aggregator, receiver: the aggregator is killed again and again, and nothing is lost."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections import Counter
from pathlib import Path

from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import free_port
from tests.receiver import receiving

LINES, KILLS = 6000, 5


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def append(path: Path, numbers: range) -> None:
    with path.open("a", encoding="ascii") as log:
        for number in numbers:
            log.write(f"{number}\n")
            if number % 50 == 0:
                log.flush()


def test_kills_of_the_aggregator_lose_nothing(tmp_path: Path) -> None:
    logs, port = tmp_path / "logs", free_port()
    logs.mkdir()
    service = "[SERVICE]\n    Flush 0.05\n    scheduler.base 0.05\n    scheduler.cap 0.2\n"
    node = write(
        tmp_path / "node.conf",
        f"{service}[INPUT]\n    Name tail\n    Path {logs}/*.log\n    Tag logs\n    Read_from_Head On\n"
        f"[OUTPUT]\n    Name forward\n    Match *\n    Port {port}\n    Require_ack_response On\n"
        "    net.io_timeout 2\n    Retry_Limit no_limits\n",
    )

    async def scenario() -> None:
        async with receiving() as receiver:
            aggregator = write(
                tmp_path / "aggregator.conf",
                f"{service}[INPUT]\n    Name forward\n    Listen 127.0.0.1\n    Port {port}\n"
                f"[OUTPUT]\n    Name forward\n    Match *\n    Port {receiver.port}\n"
                "    Require_ack_response On\n    Retry_Limit no_limits\n",
            )
            seen: set[int] = set()

            def numbers() -> set[int]:
                seen.update(
                    int(record[b"log"]) for received in receiver.received for _, record in received.entries
                )
                return seen

            def has_from(begin: int) -> bool:
                return max(numbers(), default=-1) >= begin

            with Agent("-c", node) as sender:
                await asyncio.to_thread(sender.wait_until_running)
                for turn in range(KILLS + 1):
                    with Agent("-c", aggregator) as agent:
                        await asyncio.to_thread(agent.wait_until_running)
                        begin, end = turn * LINES // (KILLS + 1), (turn + 1) * LINES // (KILLS + 1)
                        append(logs / "a.log", range(begin, end))
                        if turn < KILLS:
                            # Some of this turn's lines have passed, others are under way.
                            await receiver.wait_until(functools.partial(has_from, begin))
                            await asyncio.to_thread(agent.stop, signal.SIGKILL)
                        else:
                            await receiver.wait_until(lambda: len(numbers()) == LINES, 60)
                await asyncio.to_thread(sender.stop)
            copies = Counter(int(record[b"log"]) for one in receiver.received for _, record in one.entries)
            assert set(copies) == set(range(LINES))
            # What came twice was under way at a kill, and came with the same id.
            by_id = Counter(received.chunk for received in receiver.received)
            assert max(copies.values()) <= max(by_id.values())

    asyncio.run(scenario())

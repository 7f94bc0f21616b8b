"""The keys of [SERVICE] that say how long a retry waits, in a running agent.

With the default base five refusals take 25 s at least; with a base alone fourteen take minutes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.agent.agent import Agent
from tests.receiver import Behaviour, Received, Receiver, receiving


@pytest.mark.parametrize(
    ("keys", "refusals"), [("scheduler.base 0.01", 5), ("scheduler.base 0.01\n    scheduler.cap 0.01", 14)]
)
def test_retries_wait_as_the_service_says(tmp_path: Path, keys: str, refusals: int) -> None:
    offered: list[str | None] = []

    def behave(received: Received) -> Behaviour:
        offered.append(received.chunk)
        return Behaviour.CLOSE if len(offered) <= refusals else Behaviour.ACCEPT

    async def scenario() -> None:
        async with receiving(Receiver(behave=behave)) as receiver:
            config = tmp_path / "main.conf"
            config.write_text(
                f"[SERVICE]\n    Flush 0.05\n    {keys}\n[INPUT]\n    Name dummy\n    Tag d\n    Samples 1\n"
                f"[OUTPUT]\n    Name forward\n    Match d\n    Port {receiver.port}\n"
                "    Require_ack_response On\n    Retry_Limit no_limits\n"
            )
            with Agent("-c", str(config)) as agent:
                await receiver.wait_until(lambda: len(receiver.received) == 1)
                assert await asyncio.to_thread(agent.stop) == 0

    asyncio.run(scenario())
    assert len(offered) == refusals + 1
    assert len(set(offered)) == 1

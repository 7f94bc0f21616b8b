"""What goes to the spool because it could not be read again, and what does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from collector.delivery import securing, spooling
from tests.unit.routing import Recorder, never, route, routing
from tests.unit.spooled import event, opened


def test_what_is_only_in_memory_is_written_unless_its_input_asks_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(securing, "AT_RISK_S", 0.01)
    monkeypatch.setattr(spooling, "LINGER_S", 0.01)

    async def scenario() -> None:
        hung = Recorder(behave=never())
        async with routing(route(hung), spool=opened(tmp_path), memory_only=["dummy.0"]) as house:
            await house.router.submit(replace(event(1, "light"), source="dummy.0"))
            await house.router.submit(event(2, "heavy"))
            await house.until(lambda: house.metrics.value("podwitness_spool_written_bytes_total") > 0)
            await house.router.drain(0.01)
        spool = opened(tmp_path)
        assert {one.tag for one in spool.contents() if one.source != "podwitness"} == {"heavy"}
        spool.close()

    asyncio.run(scenario())

"""Chunks counted by input (collector.delivery.census), and what outputs say of how long theirs wait."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from collector.delivery import census, securing, spooling
from collector.delivery.census import Count
from tests.unit.routing import House, Recorder, chunk, never, refuse, route, routing
from tests.unit.spooled import copy, event, opened


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "LINGER_S", 0.01)
    monkeypatch.setattr(securing, "AT_RISK_S", 0.03)


def test_what_is_up_and_what_is_busy() -> None:
    async def scenario() -> None:
        output = Recorder(behave=never())
        limits = {"tail.0": 3000}
        async with routing(route(output), source_limits=limits) as house:
            assert next(house.router.stalls(time.monotonic())).age_s == 0
            await house.router.submit(chunk(b"x" * 100, offset=1))
            await output.wait_until(lambda: bool(output.tried))
            await house.router.submit(chunk(b"y" * 200, tag="kube.b", offset=2))
            found = house.router.census(["tail.0", "ebpf.0"])
            assert found.sources["ebpf.0"] == Count()
            count = found.sources["tail.0"]
            assert (count.up, count.down, count.busy, count.limit_bytes) == (2, 0, 1, 3000)
            assert count.busy_bytes == 100 + 1024
            assert count.memory_bytes == 300 + 2 * 1024
            assert count.is_over_limit
            assert (found.total, found.up, found.spooled) == (2, 2, 0)
            waits, hangs, spooled = house.router.stalls(time.monotonic() + 1850)
            assert (waits.subject, waits.is_own, spooled.age_s) == ("out.0", False, 0)
            assert (hangs.reason, hangs.is_own) == ("a delivery has not ended in 30 min", True)
            assert 1850 <= waits.age_s < 1860
            assert 50 <= hangs.age_s < 60

    asyncio.run(scenario())


def written(house: House) -> float:
    return house.metrics.value("podwitness_spool_written_bytes_total")


def test_what_is_down_is_known_again_after_a_restart(tmp_path: Path) -> None:
    async def first() -> None:
        async with routing(
            route(Recorder(behave=refuse), retry_limit=None), spool=opened(tmp_path / "a")
        ) as house:
            for batch in (range(20), range(20, 40)):
                for number in batch:
                    await house.router.submit(event(number))
                await house.until(lambda: written(house) >= 1000 * batch.stop)  # noqa: B023
            found = house.router.census(())
            assert set(found.sources) == {event(0).source}
            assert found.down > 0
            copy(tmp_path / "a", tmp_path / "b")

    async def second() -> None:
        alive = Recorder(behave=never())
        spool = opened(tmp_path / "b")
        chunks = sum(content.chunks for content in spool.contents())
        async with routing(route(alive), spool=spool) as house:
            assert house.router.census(()).sources[event(0).source].total == chunks
            await alive.wait_until(lambda: bool(alive.tried))
            found = house.router.census(())
            assert (found.total, found.spooled, found.spooled_up) == (chunks, chunks, found.up)
            assert found.up > 0

    asyncio.run(first())
    asyncio.run(second())


def test_an_empty_census() -> None:
    found = census.Census()
    assert (found.total, found.down, found.spooled) == (0, 0, 0)

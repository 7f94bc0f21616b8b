"""The spool at its limit: what is dropped, that it is told, that the limit holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from collector.delivery.chunk import Chunk, Worth
from collector.delivery.losses import LOSS_TAG
from collector.delivery.spool_rows import Addition, Place
from collector.delivery.spooling import Bounds
from collector.entries import unpack_entries
from tests.unit.routing import House, Recorder, logs, never, refuse
from tests.unit.spool_routing import hurry, numbers, spooled, to, written
from tests.unit.spooled import copy, event, opened


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_the_limit_drops_flows_first_and_tells_exactly_what(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Recorder(behave=never())
        size = 1000 + 256
        async with spooled(
            tmp_path, to(output, limit=10 * size, matches=logs), total_bytes=2100, bounds=Bounds(10, 1)
        ) as house:
            # Two that are in memory: one is being sent, and so never dropped, one was read back.
            await house.router.submit(event(0, "first", Worth.FLOW))
            await house.router.submit(event(0, "second", Worth.FLOW))
            await house.until(lambda: house.router.statistics().chunks == 1 and written(house) == 2000)
            for number in range(1, 7):
                await house.router.submit(event(number, "flows", Worth.FLOW))
                await house.until(lambda: written(house) == 2000 + number * 1000)  # noqa: B023
            for number in range(1, 8):
                await house.router.submit(event(number, "execs", Worth.WITNESS))
                await house.until(lambda: written(house) == 8000 + number * 1000)  # noqa: B023
            lost = house.loss("storage_limit")
            assert lost == 2 + 6 + 7 - 10
            assert house.metrics.value("podwitness_lost_bytes_total", "storage_limit") == 1000 * lost
            await house.router.submit(event(9, "flows", Worth.FLOW))
            await house.until(lambda: house.loss("storage_limit") == 6)  # the older one
            copy(tmp_path, tmp_path / "b")
        alive = Recorder()
        async with spooled(tmp_path / "b", to(alive)) as house:
            await alive.wait_until(lambda: len(numbers(alive)) >= 10)
        assert numbers(alive, "execs") == list(range(1, 8))
        assert numbers(alive, "flows") == [6, 9]
        assert numbers(alive, "first") == [0]

    asyncio.run(scenario())


def spooled_bytes(folder: Path) -> int:
    spool = opened(folder)
    total = sum(content.size_bytes for content in spool.contents())
    spool.close()
    return total


def watch_bytes(house: House) -> list[int]:
    """How much there is for out.0 after each write from now on."""
    spooling = house.router.spooling
    assert spooling is not None
    spool, found = spooling._spool, [0]
    write = spool.write

    def watched(*what: Any, **more: Any) -> Any:
        written = write(*what, **more)
        found.append(spool.used_bytes["out.0"])
        return written

    spool.write = watched  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("behave", [refuse, never()])
def test_the_limit_holds_with_any_number_of_streams_over_restarts(
    tmp_path: Path, behave: Callable[[Chunk], Awaitable[None]]
) -> None:
    """What an output tries has rows within the limit, too. Each record arrives or is told as lost."""
    limit, lost = 10 * 1256, 0.0

    async def life(number: int, output: Recorder) -> None:
        nonlocal lost
        async with spooled(tmp_path, to(output, limit=limit, matches=logs)) as house:
            most = watch_bytes(house)
            for index in range(40):
                await house.router.submit(event(number * 40 + index, f"t{number}.{index}"))
            await house.until(lambda: house.loss("storage_limit") == (40 if number else 30))
            assert 0 < max(most) <= limit
            assert house.router.statistics().size_bytes <= limit
        lost += house.loss("storage_limit")
        assert spooled_bytes(tmp_path) <= limit

    async def scenario() -> None:
        dead = Recorder(behave=behave)
        for number in range(3):
            await life(number, dead)
        alive = Recorder()
        async with spooled(tmp_path, to(alive, limit=limit // 2, matches=logs)) as house:
            await alive.wait_until(lambda: len(numbers(alive)) >= 5)
        total = len(set(numbers(alive))) + lost + house.loss("storage_limit")
        assert (total, house.loss("storage_limit")) == (120, 5)
        assert {119, *numbers(alive)} == set(numbers(alive))  # the newest stay

    asyncio.run(scenario())


def told(output: Recorder) -> dict[str, int]:
    """Records told as lost, by cause."""
    found: Counter[str] = Counter()
    for one in output.accepted:
        for _, pairs in unpack_entries(bytes(one.entries)) if one.tag == LOSS_TAG else ():
            row = dict(pairs)["podwitness"]["loss"]
            found[row["cause"]] += row["records"]
    return dict(found)


def test_what_was_lost_in_an_outage_is_told_after_a_crash(tmp_path: Path) -> None:
    """Each record is there or told, also when the process is killed right after it was given up."""
    limit = 5 * 1256

    async def scenario() -> None:
        dead = Recorder(behave=refuse)
        async with spooled(tmp_path / "a", to(dead, limit=limit)) as house:
            for number in range(40):
                await house.router.submit(event(number, f"t{number}"))
            await house.until(lambda: house.loss("storage_limit") == 35)
            copy(tmp_path / "a", tmp_path / "b")
        alive = Recorder()
        async with spooled(tmp_path / "b", to(alive, limit=limit)) as house:
            await alive.wait_until(lambda: len(numbers(alive)) == 5 and bool(told(alive)))
            await house.router.drain(20)
        assert told(alive) == {"storage_limit": 35}
        again = Recorder()
        async with spooled(tmp_path / "b", to(again, limit=limit)) as house:
            await house.router.drain(20)
        assert told(again) == {}

    asyncio.run(scenario())


def test_what_is_lost_at_the_stop_is_told_at_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        dead = Recorder(behave=refuse)
        async with spooled(tmp_path, to(dead), memory_only=["ebpf.0"]) as house:
            await house.router.submit(event(1))
        alive = Recorder()
        async with spooled(tmp_path, to(alive, "of another name")) as house:
            await alive.wait_until(lambda: told(alive) == {"shutdown": 1})
            await house.router.drain(20)
        assert told(alive) == {"shutdown": 1}

    asyncio.run(scenario())


def test_a_working_output_hears_of_what_is_lost_while_another_is_dead(tmp_path: Path) -> None:
    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        async with spooled(
            tmp_path,
            to(dead, limit=1256),
            to(alive, "out.1", matches=lambda tag: tag == LOSS_TAG),
        ) as house:
            for number in range(1, 21):
                await house.router.submit(event(number, f"t{number}"))
                await house.until(lambda: house.loss("storage_limit") == number - 1)  # noqa: B023
                await alive.wait_until(
                    lambda: told(alive).get("storage_limit", 0) == number - 1  # noqa: B023
                )
            assert dead.accepted == []

    asyncio.run(scenario())


def test_what_is_dropped_while_it_waits_to_be_tried_again_is_not_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Recorder(behave=refuse)
        async with spooled(tmp_path, to(output, limit=1256, matches=logs)) as house:
            await house.router.submit(event(1, "old"))
            await house.until(lambda: written(house) == 1000)
            await house.router.submit(event(2, "new"))
            await house.until(lambda: house.loss("storage_limit") == 1)
            output.behave = None
            await output.wait_until(lambda: numbers(output) == [2])
            await house.router.drain(20)
        assert numbers(output) == [2]

    asyncio.run(scenario())


def test_a_bound_that_has_become_smaller_holds_from_the_start_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond it goes some rows at a time, so that a million are not in memory together."""
    spool = opened(tmp_path)
    spool.adopt({"a": bool})
    for number in range(10):
        spool.write([Addition(event(number), ("a",))], places={"a": Place(1 << 20)})
    spool.close()
    monkeypatch.setattr("collector.delivery.spool.ROWS_AT_ONCE", 3)

    async def scenario() -> tuple[float, int]:
        async with spooled(tmp_path, to(Recorder(behave=never()), "a", limit=2 * 1256)) as house:
            assert house.router.spooling is not None
            return house.loss("storage_limit"), house.router.spooling._spool.used_bytes["a"]

    assert asyncio.run(scenario()) == (8, 2 * 1256)

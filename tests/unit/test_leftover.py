"""What is left in memory at the end: told for those who lack it, and only if nobody can read it again."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from collector.delivery.chunk import Chunk
from collector.delivery.leftover import CAUSE
from collector.delivery.losses import Loss
from tests.unit.routing import House, Recorder, never, refuse, routing
from tests.unit.spool_routing import hurry, line, numbers, spooled, to
from tests.unit.spooled import event


def losses_of(house: House, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Cause, output and records of what is lost from now on."""
    found: list[tuple[str, str, int]] = []

    def report(loss: Loss) -> None:
        found.append((loss.cause, loss.output, loss.records))

    monkeypatch.setattr(house.router._telling, "report", report)
    return found


def yes() -> bool:
    return True


def no() -> bool:
    return False


@pytest.mark.parametrize(
    ("chunk", "is_lost"),
    [
        (event(1), True),
        (line(1), False),
        (line(1, yes), True),
        (replace(line(1, yes), gone=no), False),
        (replace(line(1, yes), gone=yes), True),
        (replace(event(1), gone=no), False),  # without a place: it is asked for from the beginning again
    ],
)
def test_only_what_nobody_can_read_again_is_lost(
    chunk: Chunk, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with routing(to(Recorder(behave=refuse)), to(Recorder(behave=refuse), "out.1")) as house:
            lost = losses_of(house, monkeypatch)
            await house.router.submit(chunk)
            await house.router.drain(0.01)
            assert lost == ([(CAUSE, "", 1)] if is_lost else [])

    asyncio.run(scenario())


def test_who_has_it_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        async with routing(to(dead), to(alive, "out.1"), to(Recorder(behave=never()), "out.2")) as house:
            lost = losses_of(house, monkeypatch)
            await house.router.submit(event(1))
            await house.router.submit(event(2))
            await alive.wait_until(lambda: numbers(alive) == [1, 2])
            await house.router.drain(0.01)
            assert lost == [(CAUSE, name, 1) for _ in range(2) for name in ("out.0", "out.2")]

    asyncio.run(scenario())


def test_what_waits_for_room_or_comes_too_late_is_lost_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        stuck = Recorder(behave=never())
        async with routing(to(stuck), to(Recorder(), "out.1"), total_bytes=3000) as house:
            lost = losses_of(house, monkeypatch)
            await house.router.submit(event(1))
            waiting = asyncio.create_task(house.router.submit(event(2)))
            await stuck.wait_until(lambda: bool(stuck.tried))
            await house.router.drain(0.01)
            await waiting
            await house.router.submit(event(3))
            assert lost == [(CAUSE, name, 1) for name in ("out.0", "", "")]

    asyncio.run(scenario())


def full(*_: object, **__: object) -> None:
    raise sqlite3.OperationalError("disk is full")


def test_a_row_in_the_spool_is_no_loss_and_what_could_not_be_written_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)

    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        async with spooled(tmp_path, to(dead), to(alive, "out.1")) as house:
            lost = losses_of(house, monkeypatch)
            spooling = house.router.spooling
            assert spooling is not None
            await house.router.submit(event(1, "a"))
            await house.until(lambda: house.metrics.value("podwitness_spool_written_bytes_total") == 1000)
            monkeypatch.setattr(spooling._spool, "write", full)
            for number in range(2, 4):
                await house.router.submit(event(number, "a"))
            await alive.wait_until(lambda: numbers(alive) == [1, 2, 3])
            await house.router.drain(0.01)
            assert lost == [(CAUSE, "out.0", 1)] * 2

    asyncio.run(scenario())

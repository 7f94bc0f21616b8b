"""collector.delivery.salvage: what is in memory when its spool is damaged reaches the next one."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from collector.delivery import spool as spool_module
from collector.delivery.chunk import Chunk
from collector.delivery.spool import FILE_NAME, PAGE_BYTES, Spool, SpoolDamaged
from tests.unit.routing import House, Recorder, behind, never, refuse
from tests.unit.spool_routing import hurry, numbers, spooled, to, written
from tests.unit.spooled import event

EVENTS = 400
TAGS = 4


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


async def spoil(house: House, path: Path) -> None:
    assert house.router.spooling is not None
    async with house.router.spooling._thread.using:
        database = house.router.spooling._spool._database
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        database.execute("PRAGMA cache_size = 0").fetchall()
        overwrite(path)


def overwrite(path: Path) -> None:
    """All pages but the first."""
    with open(path, "r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(b"\xa5" * (path.stat().st_size - PAGE_BYTES))


async def lose_the_spool(folder: Path, output: Recorder) -> float:
    """What was told as lost, of EVENTS in a spool that was damaged; the end comes soon after."""
    async with spooled(folder, to(output)) as house:
        for number in range(EVENTS):
            await house.router.submit(event(number, f"t{number % TAGS}"))
        await house.until(lambda: written(house) >= EVENTS * 1000)
        (outlet,) = house.router._roster.all
        await house.until(
            lambda: len(outlet.shelf.up) == TAGS or any(one.seq for one in outlet.lanes.waiting())
        )
        await spoil(house, folder / FILE_NAME)
        for number in range(EVENTS, EVENTS + TAGS):
            await house.router.submit(event(number, f"t{number % TAGS}"))
        await house.router.drain(0.01)
        return house.loss("spool_damaged")


@pytest.mark.parametrize("behave", [refuse, never()])
def test_all_that_was_not_told_as_lost_is_there_at_the_next_start(
    tmp_path: Path, behave: Callable[[Chunk], Awaitable[None]]
) -> None:
    async def scenario() -> None:
        lost = await lose_the_spool(tmp_path, Recorder(behave=behave))
        alive = Recorder()
        async with spooled(tmp_path, to(alive)) as house:
            await alive.wait_until(lambda: len(numbers(alive, "t")) >= EVENTS + TAGS - lost)
            assert house.router.statistics().chunks == 0
        assert lost < EVENTS
        for tag in range(TAGS):
            arrived = numbers(alive, f"t{tag}")
            assert arrived == sorted(set(arrived))
        assert len(numbers(alive, "t")) == EVENTS + TAGS - lost

    asyncio.run(scenario())


def test_it_goes_on_when_the_output_works_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def later(chunk: Chunk) -> None:
            await gate.wait()

        output = Recorder(behave=later)
        async with spooled(tmp_path, to(output)) as house:
            for number in range(EVENTS):
                await house.router.submit(event(number, f"t{number % TAGS}"))
            await house.until(lambda: written(house) >= EVENTS * 1000)
            await spoil(house, tmp_path / FILE_NAME)
            await house.router.submit(event(EVENTS, "t0"))
            spools = house.router.spooling
            assert spools is not None
            await house.until(lambda: spools._spools == 2)
            gate.set()
            left = EVENTS + 1 - house.loss("spool_damaged")
            await output.wait_until(lambda: len(numbers(output, "t")) == left)
            await house.until(lambda: house.router.statistics().chunks == 0)
            (outlet,) = house.router._roster.all
            assert (outlet.size_bytes, outlet.shelf.up_bytes, house.router._admission._source_bytes) == (
                0,
                0,
                {},
            )
        for tag in range(TAGS):
            assert numbers(output, f"t{tag}") == sorted(set(numbers(output, f"t{tag}")))

    asyncio.run(scenario())


@pytest.mark.parametrize("refused", ["set_aside", "create"])
def test_a_disk_that_lets_no_new_spool_begin_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Fake: a file system that is read-only after an error refuses to rename, or to make a file."""
    tries = []

    def refuse_to_write(*args: object) -> None:
        tries.append(args)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    async def scenario() -> None:
        gate = asyncio.Event()
        output = Recorder(behave=behind(gate))
        async with spooled(tmp_path, to(output)) as house:
            for number in range(EVENTS):
                await house.router.submit(event(number, f"t{number % TAGS}"))
            await house.until(lambda: written(house) >= EVENTS * 1000)
            with monkeypatch.context() as broken:
                broken.setattr(spool_module, refused, refuse_to_write)
                await spoil(house, tmp_path / FILE_NAME)
                await house.router.submit(event(EVENTS, "t0"))
                await house.until(lambda: len(tries) >= 3)
            spools = house.router.spooling
            assert spools is not None
            await house.until(lambda: spools._spools == 2)
            gate.set()
            left = EVENTS + 1 - house.loss("spool_damaged")
            await output.wait_until(lambda: len(numbers(output, "t")) == left)

    asyncio.run(scenario())
    assert len(list(tmp_path.glob("*.corrupt-*[0-9]"))) == 1


def test_a_spool_that_cannot_be_read_at_the_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fake: the damage shows in what `adopt` reads, after the database was opened."""
    adopt, tries = Spool.adopt, []

    def damaged_once(self: Spool, *args: object) -> object:
        tries.append(self)
        if len(tries) == 1:
            raise SpoolDamaged(tmp_path / "aside", ValueError("malformed"))
        return adopt(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Spool, "adopt", damaged_once)

    async def scenario() -> None:
        alive = Recorder()
        async with spooled(tmp_path, to(alive)) as house:
            await house.router.submit(event(1, "t0"))
            await alive.wait_until(lambda: numbers(alive, "t") == [1])
            await alive.wait_until(
                lambda: any(b"spool_damaged" in bytes(one.entries) for one in alive.accepted)
            )

    asyncio.run(scenario())


def test_a_spool_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database")

    async def scenario() -> None:
        alive = Recorder()
        async with spooled(tmp_path, to(alive)):
            await alive.wait_until(
                lambda: any(b"spool_damaged" in bytes(one.entries) for one in alive.accepted)
            )

    asyncio.run(scenario())

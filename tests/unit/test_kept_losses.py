"""Losses over a crash: each is told in one chunk, whose id stays, whenever the process is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collector.delivery.chunk import Chunk
from collector.delivery.losses import Loss
from collector.entries import unpack_entries
from tests.unit.routing import House, Recorder
from tests.unit.spool_routing import hurry, spooled, to
from tests.unit.spooled import copy

LOSSES = 6


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def report(house: House, number: int) -> None:
    """Its records are a bit of their own, so that sums tell which losses were told, and how often."""
    house.router.report_loss(Loss("shed", 1 << number, 10, "kernel.process", "out.0"))


def told(chunks: dict[bytes, Chunk]) -> int:
    entries = b"".join(bytes(one.entries) for one in chunks.values())
    rows = [dict(pairs)["podwitness"]["loss"] for _, pairs in unpack_entries(entries)]
    return sum(row["records"] for row in rows)


async def killed_now_and_then(folder: Path) -> list[tuple[Path, dict[bytes, Chunk]]]:
    """What a kill leaves before an output has a chunk of losses, before it is known that it has, and with
    one that was not sent behind it; each with what the output has got by then."""
    left: list[tuple[Path, dict[bytes, Chunk]]] = []
    got: dict[bytes, Chunk] = {}
    reported = 1

    def kill() -> None:
        left.append((folder / str(len(left)), dict(got)))
        copy(folder / "live", left[-1][0])

    async def take(chunk: Chunk) -> None:
        nonlocal reported
        kill()
        got[chunk.id] = chunk
        kill()
        if reported < LOSSES and house.router.spooling:
            report(house, reported)
            reported += 1
            await house.router.spooling.keep_losses()
            kill()

    async with spooled(folder / "live", to(Recorder(behave=take))) as house:
        report(house, 0)
        await house.until(lambda: told(got) == (1 << LOSSES) - 1)
        await house.router.drain(20)
    return left


async def resumed(folder: Path) -> list[Chunk]:
    """What arrives after the next start, with a loss of its own."""
    output = Recorder()
    async with spooled(folder, to(output)) as house:
        report(house, LOSSES)
        await house.router.drain(20)
    return output.accepted


def test_no_loss_is_lost_or_told_under_two_ids(tmp_path: Path) -> None:
    async def scenario() -> None:
        left = await killed_now_and_then(tmp_path)
        assert len(left) == 3 * LOSSES - 1
        for folder, got in left:
            for chunk in await resumed(folder):
                assert got.setdefault(chunk.id, chunk).entries == chunk.entries
            total = told(got) - (1 << LOSSES)
            assert 0 < total < 1 << LOSSES
            assert total & (total + 1) == 0, f"{folder}: {total:b}"

    asyncio.run(scenario())

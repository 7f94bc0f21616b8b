"""Inputs that make records every so often: when, how often, and with which tags."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from collector.delivery.chunk import Chunk
from collector.entries import Pairs, unpack_entries
from collector.filters.chain import FilterChain
from collector.inputs.sampling import Sample, Sampling


class Intake:
    def __init__(self, wanted: int) -> None:
        self.chunks: list[Chunk] = []
        self.enough = asyncio.Event()
        self._wanted = wanted

    async def submit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if len(self.chunks) >= self._wanted:
            self.enough.set()


def run(sample: Sample, wanted: int, **more: Any) -> list[tuple[str, list[Pairs]]]:
    async def scenario() -> list[Chunk]:
        intake, stop = Intake(wanted), asyncio.Event()
        context: Any = SimpleNamespace(
            name="dummy.0", plugin=SimpleNamespace(tag="t"), chain=FilterChain(()), intake=intake
        )
        task = asyncio.create_task(Sampling(context, sample, **more).run(stop))
        await asyncio.wait_for(intake.enough.wait(), 20)
        stop.set()
        await task
        return intake.chunks

    found = asyncio.run(scenario())
    assert len({chunk.id for chunk in found}) == len(found)
    return [(chunk.tag, [pairs for _, pairs in unpack_entries(chunk.entries)]) for chunk in found]


def test_a_chunk_for_each_interval() -> None:
    numbers = iter(range(100))
    found = run(lambda: [(0, [("n", next(numbers))])], 3, interval_s=0.001)
    assert found[:3] == [("t", [[("n", number)]]) for number in range(3)]


def test_at_once_and_no_more_after_the_last() -> None:
    left = [[(0, [("n", 1)])]]
    assert run(lambda: left.pop() if left else None, 1, interval_s=0.001, at_once=True) == [
        ("t", [[("n", 1)]])
    ]

"""collector.run: what the daemon does beside its rooms. The whole of it is in tests/agent."""

from __future__ import annotations

import asyncio

import pytest

from collector import run


class FakeArena:
    """Each look finds the next of `counts`, and the last for ever."""

    def __init__(self, *counts: int) -> None:
        self._counts = list(counts)
        self.rested = asyncio.Event()
        self.looks = self.looks_before_rest = 0

    @property
    def portions(self) -> int:
        self.looks += 1
        return self._counts.pop(0) if len(self._counts) > 1 else self._counts[0]

    def rest(self) -> None:
        self.looks_before_rest = self.looks_before_rest or self.looks
        self.rested.set()


@pytest.mark.parametrize(("counts", "looks"), [((0,), 2), ((0, 1, 2, 3, 3), 5)])
def test_memory_is_given_back_when_nothing_large_was_read_between_two_looks(
    monkeypatch: pytest.MonkeyPatch, counts: tuple[int, ...], looks: int
) -> None:
    async def until_rest() -> FakeArena:
        arena = FakeArena(*counts)
        monkeypatch.setattr(run, "ARENA", arena)
        monkeypatch.setattr(run, "REST_LOOK_S", 0.0)
        task = asyncio.create_task(run.rest_between_loads())
        await asyncio.wait_for(arena.rested.wait(), 10)
        task.cancel()
        return arena

    assert asyncio.run(until_rest()).looks_before_rest == looks

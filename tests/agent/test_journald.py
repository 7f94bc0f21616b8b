"""The journal input beside a real journald: live entries, rotation, and files that are deleted unread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.delivery.chunk import Chunk
from collector.delivery.losses import Loss
from collector.entries import unpack_entries
from collector.inputs.systemd import Settings, Systemd
from tests.agent.journald import Journald
from tests.unit.test_systemd_input import context_of, store

WAIT_S = 20


@pytest.fixture
def journald() -> Iterator[Journald]:
    with Journald() as running:
        yield running


class Gate:
    """An intake that can be shut, as an output's that takes nothing."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[Any, Any]]] = []
        self.losses: list[Loss] = []
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.waits = asyncio.Event()
        self._grown = asyncio.Event()

    async def submit(self, chunk: Chunk) -> None:
        if not self.is_open.is_set():
            self.waits.set()
        await self.is_open.wait()
        self.records += [(chunk.tag, dict(pairs)) for _, pairs in unpack_entries(chunk.entries)]
        self._grown.set()

    def offer(self, chunk: Chunk) -> bool:
        raise AssertionError("the journal waits for room")

    def report_loss(self, loss: Loss) -> None:
        self.losses.append(loss)

    def messages(self) -> list[str]:
        return [record["MESSAGE"] for _, record in self.records if "TEST" in record]

    async def until(self, messages: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.messages()) < messages:
                self._grown.clear()
                await self._grown.wait()


@asynccontextmanager
async def following(folder: Path, **settings: Any) -> AsyncIterator[Gate]:
    gate, stop = Gate(), asyncio.Event()
    subject = Systemd(Settings(path=str(folder), **settings), context_of(gate, store, "host.*"))  # type: ignore[arg-type]
    task = asyncio.create_task(subject.run(stop))
    try:
        yield gate
    finally:
        gate.is_open.set()
        stop.set()
        await asyncio.wait_for(task, WAIT_S)


def numbered(first: int, behind: int) -> list[str]:
    return [f"message {number}" for number in range(first, behind)]


async def say(journald: Journald, messages: list[str]) -> None:
    await asyncio.to_thread(journald.send, *messages, TEST="1")


async def control(journald: Journald, *arguments: str) -> None:
    await asyncio.to_thread(journald.control, *arguments)


def test_entries_arrive_as_they_are_written_and_over_rotations(journald: Journald) -> None:
    async def scenario() -> None:
        async with following(journald.folder) as gate:
            for turn in range(5):
                await say(journald, numbered(turn * 10, turn * 10 + 10))
                await gate.until(turn * 10 + 10)
                await control(journald, "--rotate")
            assert gate.losses == []
            assert {tag for tag, record in gate.records if "TEST" in record} == {"host.unknown"}
            assert gate.messages() == numbered(0, 50)

    asyncio.run(scenario())


def test_files_deleted_after_they_were_read_are_no_loss(journald: Journald) -> None:
    async def scenario() -> None:
        async with following(journald.folder) as gate:
            await say(journald, numbered(0, 10))
            await gate.until(10)
            await control(journald, "--rotate", "--vacuum-files=1")
            await say(journald, numbered(10, 20))
            await gate.until(20)
            assert gate.losses == []
            assert gate.messages() == numbered(0, 20)

    asyncio.run(scenario())


def test_entries_deleted_unread_are_counted_and_reading_goes_on_behind_them(journald: Journald) -> None:
    """While the outputs take nothing, a file that holds only unread entries is rotated and deleted."""

    async def scenario() -> None:
        async with following(journald.folder) as gate:
            await say(journald, numbered(0, 10))
            await gate.until(10)
            gate.is_open.clear()
            await say(journald, numbered(10, 11))
            await asyncio.wait_for(gate.waits.wait(), WAIT_S)
            await control(journald, "--rotate")
            await say(journald, numbered(11, 30))
            await control(journald, "--rotate")
            await control(journald, "--vacuum-files=1")
            await say(journald, numbered(30, 40))
            gate.is_open.set()
            await gate.until(21)
            assert gate.messages() == numbered(0, 11) + numbered(30, 40)
            (loss,) = gate.losses
            assert loss.cause == "journal_vacuumed"
            # Those 19, and what journald itself said of its rotations.
            others = [record for _, record in gate.records if "TEST" not in record]
            assert 19 <= loss.records <= 19 + len(others) + 4
            assert 0 < loss.since_ns < loss.until_ns

    asyncio.run(scenario())


def test_back_pressure_holds_reading_and_loses_nothing(journald: Journald) -> None:
    async def scenario() -> None:
        async with following(journald.folder, max_entries=10) as gate:
            gate.is_open.clear()
            await say(journald, numbered(0, 500))
            await asyncio.wait_for(gate.waits.wait(), WAIT_S)
            gate.is_open.set()
            await gate.until(500)
            assert gate.messages() == numbered(0, 500)

    asyncio.run(scenario())

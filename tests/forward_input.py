"""A running forward input for tests, and an intake that keeps what it is given."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from collector.config.instances import InputCommon
from collector.delivery.chunk import Chunk
from collector.delivery.losses import Loss
from collector.entries import unpack_entries
from collector.filters.chain import FilterChain
from collector.inputs.forward import Forward, Settings
from collector.plugin import Filter
from collector.service.metrics import Metrics
from collector.service.table import TABLE


class Taken:
    """An intake; while `room` is cleared, `submit` waits."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.room = asyncio.Event()
        self.room.set()
        self.asked = asyncio.Event()
        self.is_safe = True
        self.room_listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()

    @property
    def records(self) -> list[dict[Any, Any]]:
        return [dict(pairs) for chunk in self.chunks for _, pairs in unpack_entries(chunk.entries)]

    async def submit(self, chunk: Chunk) -> None:
        self.asked.set()
        await self.room.wait()
        self.chunks.append(chunk)
        self.notify()

    async def submit_safely(self, chunk: Chunk) -> bool:
        await self.submit(chunk)
        return self.is_safe

    def takes(self, source: str, tag: str, vanishing: Callable[[], bool]) -> bool:
        raise AssertionError("messages are no files")

    def offer(self, chunk: Chunk) -> bool:
        raise AssertionError("a client is made to wait instead")

    def report_loss(self, loss: Loss) -> None:
        raise AssertionError("nothing is lost here")

    def notify(self) -> None:
        self._changed.set()

    async def count(self, records: int) -> None:
        await self.until(lambda: len(self.records) == records)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@dataclasses.dataclass(eq=False)
class Running:
    """An input with its port, and what came of it."""

    subject: Forward
    taken: Taken
    metrics: Metrics
    stop: asyncio.Event
    task: asyncio.Task[None]

    @property
    def port(self) -> int:
        return int(self.subject.address[1])

    def refused(self, cause: str) -> float:
        return self.metrics.value("podwitness_forward_refused_total", "forward.0", cause)


@asynccontextmanager
async def receiving(
    *, tag: str = "", filters: Sequence[Filter] = (), **settings: Any
) -> AsyncIterator[Running]:
    """A started input; it has to end by itself when it is told to stop."""
    taken, metrics, stop = Taken(), Metrics(TABLE), asyncio.Event()
    context: Any = SimpleNamespace(
        plugin=SimpleNamespace(common=InputCommon(name="forward", tag=tag)),
        name="forward.0",
        node_id=b"n" * 8,
        chain=FilterChain(filters),
        intake=taken,
        metrics=metrics,
        log=logging.getLogger("test"),
    )
    asked: dict[str, Any] = {"listen": "127.0.0.1", "port": 0} | settings
    made = dataclasses.replace(Settings(), **asked)
    subject = Forward(made, context)
    task = asyncio.create_task(subject.run(stop))
    try:
        yield Running(subject, taken, metrics, stop, task)
    finally:
        stop.set()
        taken.room.set()
        await asyncio.wait_for(task, 20)

"""A running router for tests: outputs that do as they are told, chunks, positions that moved."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from collector.delivery.chunk import Chunk, FileKey, Position, chunk_id
from collector.delivery.losses import LOSS_TAG
from collector.delivery.retry import Backoff
from collector.delivery.router import Route, Router
from collector.plugin import DeliveryError, Rejected
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.polling import until_so

QUICK = Backoff(0.001, 0.002)


@dataclass
class Recorder:
    """An output that does what `behave` says and keeps what it accepted."""

    behave: Callable[[Chunk], Awaitable[None]] | None = None
    accepted: list[Chunk] = field(default_factory=list)
    tried: list[Chunk] = field(default_factory=list)
    closed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, chunk: Chunk) -> None:
        self.tried.append(chunk)
        self.changed.set()
        if self.behave:
            await self.behave(chunk)
        self.accepted.append(chunk)
        self.changed.set()

    async def close(self) -> None:
        self.closed = True

    @property
    def entries(self) -> bytes:
        return b"".join(chunk.entries for chunk in self.accepted if chunk.tag != LOSS_TAG)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def refuse(chunk: Chunk) -> None:
    raise DeliveryError("nobody listens")


async def reject(chunk: Chunk) -> None:
    raise Rejected("never")


def behind(gate: asyncio.Event) -> Callable[[Chunk], Awaitable[None]]:
    """Takes chunks once the gate is open."""

    async def wait(chunk: Chunk) -> None:
        await gate.wait()

    return wait


def never() -> Callable[[Chunk], Awaitable[None]]:
    return behind(asyncio.Event())


def chunk(entries: bytes, tag: str = "kube.a", offset: int | None = None, source: str = "tail.0") -> Chunk:
    position = None if offset is None else Position(FileKey(1, 2), "/var/log/a", offset)
    return Chunk(
        chunk_id(tag, entries), tag, entries, 1, source, time.monotonic_ns(), position, raw_bytes=len(entries)
    )


@dataclass
class House:
    router: Router
    metrics: Metrics
    positions: list[Position]

    async def until(self, condition: Callable[[], bool]) -> None:
        """For what wakes nobody."""
        await until_so(condition, every_s=0.002)

    def loss(self, cause: str) -> float:
        """Records lost by this cause."""
        return self.metrics.value("podwitness_lost_records_total", cause)


@asynccontextmanager
async def routing(*routes: Route, **changes: object) -> AsyncIterator[House]:
    metrics = Metrics(TABLE)
    positions: list[Position] = []
    router = Router(
        routes,
        metrics=metrics,
        log=logging.getLogger("test"),
        record=lambda source, position: positions.append(position),
        node="node-1",
        backoff=QUICK,
        **({"flush_s": 0.01} | changes),  # type: ignore[arg-type]
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(router.run())
        yield House(router, metrics, positions)
        await router.drain(0.01)


def everything(tag: str) -> bool:
    return True


def logs(tag: str) -> bool:
    return tag != LOSS_TAG


def route(
    output: Recorder,
    name: str = "out.0",
    retry_limit: int | None = 1,
    matches: Callable[[str], bool] = everything,
) -> Route:
    return Route(name, output, matches, retry_limit)

"""A tail input under test: real files, configuration and positions; what it hands over is kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from collector.config.document import Document, PluginConfig
from collector.config.instances import InputCommon
from collector.config.parsers import Parser
from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.config.service import ServiceSettings
from collector.config.stock_parsers import STOCK
from collector.context import InputContext
from collector.delivery.chunk import Chunk
from collector.delivery.database import DatabaseModes
from collector.delivery.losses import Loss
from collector.delivery.positions import Positions
from collector.delivery.router import Router
from collector.entries import unpack_entries
from collector.filters.chain import FilterChain
from collector.identity.table import IdentityTable
from collector.inputs.tail import Settings, Tail
from collector.inputs.tail_settings import plan_of
from collector.multiline.parsers import MultilineParser
from collector.plugin import AnyFilter
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.polling import until_so

DEADLINE_S = 30.0


@dataclass
class Intake:
    """Keeps chunks in order. `acks` says whether they count as delivered at once."""

    acks: bool = True
    positions: Positions | None = None  # set when the input opens them
    chunks: list[Chunk] = field(default_factory=list)
    taken: int = 0  # records
    open: list[Chunk] = field(default_factory=list)
    has_room: asyncio.Event = field(default_factory=asyncio.Event)
    room_listeners: list[Callable[[], None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.has_room.set()

    async def submit(self, chunk: Chunk) -> None:
        while not self.offer(chunk):  # what was there may be gone when it is told
            await self.has_room.wait()

    def offer(self, chunk: Chunk) -> bool:
        if not self.has_room.is_set():
            return False
        self.chunks.append(chunk)
        self.taken += chunk.records
        self.open.append(chunk)
        if self.acks:
            self.ack(1)
        self.changed.set()
        return True

    async def submit_safely(self, chunk: Chunk) -> bool:
        raise AssertionError("files wait for nothing")

    def takes(self, source: str, tag: str, vanishing: Callable[[], bool]) -> bool:
        """What has no room waits in `submit`."""
        return True

    def report_loss(self, loss: Loss) -> None:
        raise AssertionError(f"nothing is lost here: {loss}")

    def ack(self, count: int | None = None) -> None:
        """The oldest chunks are delivered: their positions move."""
        count = len(self.open) if count is None else count
        assert self.positions is not None
        for chunk in self.open[:count]:
            assert chunk.position is not None
            self.positions.record(chunk.position)
        del self.open[:count]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [dict(pairs) for chunk in self.chunks for _, pairs in unpack_entries(chunk.entries)]

    def texts(self, key: str = "log") -> list[str]:
        return [str(record.get(key)) for record in self.records]

    def by_tag(self, key: str = "log") -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for chunk in self.chunks:
            found.setdefault(chunk.tag, []).extend(
                str(dict(pairs).get(key)) for _, pairs in unpack_entries(chunk.entries)
            )
        return found

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def wait_for(self, count: int) -> None:
        """Until that many records are here."""
        await self.wait_until(lambda: self.taken >= count)


@dataclass
class Follower:
    """One run of the input."""

    tail: Tail
    intake: Intake
    metrics: Metrics
    identities: IdentityTable

    def count(self, name: str) -> float:
        return self.metrics.value(name, "tail.0")

    async def until(self, condition: Callable[[], bool]) -> None:
        """For what no event tells."""
        await until_so(condition, every_s=0.001)


def lines(start: int, stop: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(start, stop))


def texts(start: int, stop: int) -> list[str]:
    return [f"line {number}" for number in range(start, stop)]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def section(**keys: str) -> Section:
    names = {name.replace("__", "."): value for name, value in keys.items()}
    return Section(
        "INPUT", "test.conf", 1, tuple(Entry(name, value, "test.conf", 2) for name, value in names.items())
    )


def make_follower(
    folder: Path,
    keys: Mapping[str, str] = MappingProxyType({}),
    *,
    filters: tuple[AnyFilter, ...] = (),
    acks: bool = True,
    tag: str = "t.*",
    multiline_parsers: Mapping[str, MultilineParser] = MappingProxyType({}),
    parsers: Mapping[str, Parser] = STOCK,
    router: Router | None = None,
    **more: str,
) -> Follower:
    """`folder` stands for /: its /var/log has the kubelet's directories. Keys as in a section.

    With a `router`, chunks go there.
    """
    written = section(**keys, **more)
    settings = load(Settings, written)
    log = logging.getLogger("test tail")
    metrics = Metrics(TABLE)
    intake = Intake(acks)
    identities = IdentityTable.open("node-1", str(folder))

    def open_positions(path: str | None, modes: DatabaseModes) -> Positions:
        intake.positions = Positions(Path(path) if path else None, modes, log=log, metrics=metrics)
        return intake.positions

    context = InputContext(
        plugin=PluginConfig("input", "tail", "tail.0", settings, InputCommon(name="tail", tag=tag), written),
        document=Document(
            ServiceSettings(host_root=str(folder)), parsers, (), (), (), multiline_parsers=multiline_parsers
        ),
        node="node-1",
        node_id=bytes(8),
        log=log,
        metrics=metrics,
        identities=identities,
        report=lambda name, is_well, reason: None,
        send=cast(Any, None),
        intake=router or intake,
        chain=FilterChain(filters),
        positions=open_positions,
    )
    tail = Tail(settings, plan_of(settings, context), context)
    return Follower(tail, intake, metrics, identities)


@contextlib.asynccontextmanager
async def running(follower: Follower) -> AsyncIterator[Follower]:
    """Runs from the end of the first look until the block ends."""
    stop = asyncio.Event()
    task = asyncio.create_task(follower.tail.run(stop))
    try:
        await asyncio.wait_for(follower.tail.has_looked.wait(), DEADLINE_S)
        yield follower
    finally:
        stop.set()
        follower.intake.has_room.set()
        await asyncio.wait_for(task, DEADLINE_S)
        assert follower.intake.positions is not None
        follower.intake.positions.close()

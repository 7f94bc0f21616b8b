"""Any order of events, lines, outages and crashes: what had to arrive arrives, in order, once by its ids.

A crash takes all memory: what is left is the spool's files as they are at that
moment, and the positions that were last committed. Files that are still there are
read again from the better of the two.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.delivery import securing, spooling
from collector.delivery.chunk import Chunk, FileKey, Position, chunk_id
from collector.delivery.retry import Backoff
from collector.delivery.router import Route, Router
from collector.delivery.spool import Spool
from collector.plugin import DeliveryError
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.polling import until_so
from tests.unit.routing import Recorder, logs, refuse
from tests.unit.spooled import copy, event, opened

TAGS = ("e.0", "e.1")
FILES = (0, 1)
SHARE_BYTES = 12_000
BEHAVIOURS = ("takes", "refuses", "hangs")


def line(file: int, number: int, vanishes: bool) -> Chunk:
    position = Position(FileKey(1, file), f"/{file}", number + 1)
    entries = number.to_bytes(4, "big") * 250
    now_ns = time.monotonic_ns()
    gone = (lambda: True) if vanishes else None
    tag = f"f.{file}"
    return Chunk(
        chunk_id(tag, number), tag, memoryview(entries), 1, "tail.0", now_ns, position, 1, vanishing=gone
    )


@dataclass
class Log:
    """Lines are numbered; those from `read` on are still to be submitted."""

    number: int
    written: int = 0
    read: int = 0
    vanishes: bool = False
    lost: set[int] = field(default_factory=set)  # with a crash, as nothing had them yet


class World:
    """One agent after the other, over the same files and outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lives = 0
        self.outputs = [Recorder(), Recorder()]
        self.relents = [asyncio.Event() for _ in self.outputs]  # of one that hangs
        self.events = dict.fromkeys(TAGS, 0)
        self.due: set[tuple[str, int]] = set()  # events that have been called safe
        self.logs = {file: Log(file) for file in FILES}
        self.recorded: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.spools: list[Spool] = []

    @property
    def place(self) -> Path:
        return self.folder / f"life-{self.lives}"

    def start(self) -> None:
        spool = opened(self.place)
        self.spools.append(spool)
        for _, position in spool.positions():
            file = position.file.inode
            self.recorded[file] = max(self.recorded.get(file, 0), position.offset)
        self.router = Router(
            [Route(f"out.{n}", output, logs, None) for n, output in enumerate(self.outputs)],
            metrics=Metrics(TABLE),
            log=logging.getLogger("test"),
            record=self._record,
            backoff=Backoff(0.001, 0.005),
            total_bytes=2 * SHARE_BYTES,
            flush_s=0.01,
            spool=spool,
        )
        self.running = asyncio.create_task(self.router.run())

    def _record(self, source: str, position: Position) -> None:
        file = position.file.inode
        assert position.offset > self.recorded.get(file, 0)
        self.recorded[file] = position.offset

    def behave(self, which: int, how: str) -> None:
        self.relents[which].set()
        relents = self.relents[which] = asyncio.Event()

        async def hang(chunk: Chunk) -> None:
            """Until something else is asked for; then the connection breaks."""
            await relents.wait()
            raise DeliveryError("said nothing")

        self.outputs[which].behave = {"takes": None, "refuses": refuse, "hangs": hang}[how]

    def happen(self, tag: str) -> None:
        number = self.events[tag]
        self.events[tag] += 1
        self._spawn(self._happened(tag, number))

    async def _happened(self, tag: str, number: int) -> None:
        if await self.router.submit_safely(event(number, tag)):
            self.due.add((tag, number))

    def write(self, file: int) -> None:
        self.logs[file].written += 1

    async def read_on(self) -> None:
        """As the tail does: only what there is room for."""
        for log in self.logs.values():
            while log.read < log.written:
                chunk = line(log.number, log.read, log.vanishes)
                if not self.router.takes("tail.0", chunk.tag, lambda: log.vanishes):  # noqa: B023
                    break
                log.read += 1
                await self.router.submit(chunk)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def crash(self) -> None:
        left, self.lives = self.place, self.lives + 1
        copy(left, self.place)
        for task in (*self.tasks, self.running):
            task.cancel()
        await asyncio.gather(*self.tasks, self.running, return_exceptions=True)
        self.recorded = dict(self.committed)
        self.start()
        for log in self.logs.values():
            reached = self.recorded.get(log.number, 0)
            if log.vanishes:
                log.lost |= set(range(reached, log.read))
            else:
                log.read = reached

    async def settle(self) -> None:
        """Everything works, and all that is owed arrives."""
        for which in range(len(self.outputs)):
            self.behave(which, "takes")
        async with asyncio.timeout(4):
            while any(log.read < log.written for log in self.logs.values()):
                await self.read_on()
                await asyncio.sleep(0.005)
        await until_so(self._has_settled, deadline_s=4, every_s=0.005)
        await self.router.drain(10)
        await self.running

    def _has_settled(self) -> bool:
        return not self.tasks and not any(self.missing(output) for output in self.outputs)

    def missing(self, output: Recorder) -> set[tuple[str, int]]:
        owed = self.due | {
            (f"f.{log.number}", number)
            for log in self.logs.values()
            for number in range(log.written)
            if number not in log.lost
        }
        return owed - {(tag, number) for tag, number in numbers(output.accepted)}


def numbers(chunks: list[Chunk]) -> list[tuple[str, int]]:
    return [
        (chunk.tag, int.from_bytes(chunk.entries[at : at + 4], "big"))
        for chunk in chunks
        for at in range(0, len(chunk.entries), 1000)
    ]


def check(output: Recorder) -> None:
    by_id: dict[bytes, Chunk] = {}
    for chunk in output.accepted:
        assert by_id.setdefault(chunk.id, chunk).entries == chunk.entries
    once = numbers(list(by_id.values()))
    events = [one for one in once if one[0].startswith("e.")]
    assert len(events) == len(set(events)), "an event came under two ids"
    first: dict[tuple[str, int], None] = dict.fromkeys(once)
    for tag in {tag for tag, _ in first}:
        of_tag = [number for other, number in first if other == tag]
        assert of_tag == sorted(of_tag), tag


Step = tuple[str, int, str]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(0, 1), st.just("")),
        st.tuples(st.just("write"), st.integers(0, 1), st.just("")),
        st.tuples(st.just("behave"), st.integers(0, 1), st.sampled_from(BEHAVIOURS)),
        st.tuples(st.just("vanish"), st.integers(0, 1), st.just("")),
        st.tuples(st.sampled_from(["pause", "pass", "commit", "crash"]), st.just(0), st.just("")),
    ),
    min_size=10,
    max_size=80,
)


async def act(world: World, step: Step) -> None:
    kind, which, how = step
    if kind == "event":
        world.happen(TAGS[which])
    elif kind == "write" and not world.logs[which].vanishes:
        world.write(which)
    elif kind == "vanish":
        world.logs[which] = replace(world.logs[which], vanishes=True)
    elif kind == "behave":
        world.behave(which, how)
    elif kind == "commit":
        world.committed = dict(world.recorded)
    elif kind == "crash":
        await world.crash()
    else:
        await asyncio.sleep(0.04 if kind == "pause" else 0.001)
    await world.read_on()


@settings(max_examples=settings().max_examples // 2)
@given(steps)
def test_whatever_happens_nothing_that_is_safe_is_lost(happenings: list[Step]) -> None:
    async def scenario(folder: Path) -> None:
        world = World(folder)
        world.start()
        for step in happenings:
            await act(world, step)
        await world.settle()
        for output in world.outputs:
            assert not world.missing(output)
            check(output)
        for spool in world.spools[:-1]:
            spool.close()

    before = spooling.LINGER_S, spooling.PATIENCE_S, securing.AT_RISK_S
    spooling.LINGER_S, spooling.PATIENCE_S, securing.AT_RISK_S = 0.003, 0.01, 0.01
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(scenario(Path(folder)))
    finally:
        spooling.LINGER_S, spooling.PATIENCE_S, securing.AT_RISK_S = before

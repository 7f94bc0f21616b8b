"""One life of the agent: the process that the model starts, talks to and kills.

All of the agent is the real one, as `collector.run` puts it together, in a process of its own made by
multiprocessing's fork server. Only outputs are doubles: the far end is whoever has the other end of the
pipe, so what was written to it has arrived, whatever becomes of the agent. Waits that make up for slow disks
and networks are shortened.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import logging
import os
import signal
import sqlite3
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from collector import pipeline, run
from collector.config.document import PluginConfig, load_file
from collector.delivery import courier, securing, spooling
from collector.delivery.chunk import Chunk, Stretch, chunk_id
from collector.delivery.lanes import Ticket
from collector.delivery.router import Route, Router
from collector.delivery.stretches import Stretches
from collector.entries import rewrite
from collector.inputs import tail, vanishing
from collector.inputs.follow import FollowedFile
from collector.inputs.followed import Followed
from collector.inputs.tail import Tail
from collector.plugin import DeliveryError, Rejected
from collector.reload import Reload

# Of memory, for all outputs: so little that an output which takes nothing soon has no room.
TOTAL_BYTES = 24_000
# Most courses commit when they say so.
COMMIT_S = 0.5


class Arrived(NamedTuple):
    """An output was given a chunk. The far end has the first `taken` records of it; -1: it was only tried."""

    output: str
    id: bytes
    tag: str
    entries: bytes
    taken: int


class Done(NamedTuple):
    """The agent knows how a delivery ended."""

    output: str
    id: bytes


class Kept(NamedTuple):
    """A stretch is about to be noted."""

    id: bytes  # of its chunk
    file: tuple[int, int]
    start: int
    end: int


class Answer(NamedTuple):
    value: Any


class FarEnd:
    """An output. Behaviours: see `deliver`."""

    def __init__(self, name: str, life: Life) -> None:
        self._name = name
        self._life = life
        self.behaviour = "takes"
        self._changed = asyncio.Event()

    def behave(self, how: str) -> None:
        self.behaviour = how
        self._changed.set()
        self._changed = asyncio.Event()

    async def deliver(self, chunk: Chunk) -> None:
        how, records = self.behaviour, chunk.records
        if how == "hangs":  # and the connection breaks when something else is asked for
            self._tell(chunk, -1)
            await self._changed.wait()
            raise DeliveryError("said nothing")
        if how == "refuses":
            self._tell(chunk, -1)
            raise DeliveryError("nobody listens")
        if how == "rejects":
            self._tell(chunk, 0)
            self._done(chunk)
            raise Rejected("never")
        if how == "rejects half" and records > 1:
            self._tell(chunk, records // 2)
            self._done(chunk)
            raise Rejected("never", _behind(chunk, records // 2), records - records // 2)
        self._tell(chunk, records)
        if how == "acks late":
            await self._changed.wait()
        if how == "loses acks":
            raise DeliveryError("the connection broke")
        self._done(chunk)

    def _tell(self, chunk: Chunk, taken: int) -> None:
        self._life.tell(Arrived(self._name, chunk.id, chunk.tag, bytes(chunk.entries), taken))
        self._life.count_down("delivery")

    def _done(self, chunk: Chunk) -> None:
        self._life.tell(Done(self._name, chunk.id))

    async def close(self) -> None:
        pass


def _behind(chunk: Chunk, records: int) -> bytes:
    """The entries after so many."""
    numbers = itertools.count()
    return rewrite(chunk.entries, lambda pairs: pairs if next(numbers) >= records else None)[0]


@dataclass
class Life:
    """What the other end of the pipe may ask, each a method whose name begins with `ask_`."""

    pipe: Connection
    ends: dict[str, FarEnd] = dataclasses.field(default_factory=dict)
    pipeline: pipeline.Pipeline | None = None
    reload: Reload | None = None
    fatal: tuple[str, int] = ("", 0)  # what is counted until it kills

    def tell(self, news: object) -> None:
        self.pipe.send(news)

    def count_down(self, what: str) -> None:
        """Called from any thread, before what is counted happens."""
        kind, left = self.fatal
        if kind == what:
            self.fatal = kind, left - 1
            if left <= 1:
                os.kill(os.getpid(), signal.SIGKILL)

    def answer(self) -> None:
        name, *arguments = self.pipe.recv()
        asked = getattr(self, f"ask_{name}")(*arguments)
        if not asyncio.iscoroutine(asked):
            self.tell(Answer(asked))
            return
        task = asyncio.create_task(asked)
        task.add_done_callback(lambda done: self.tell(Answer(done.result())))

    def ask_running(self) -> bool:
        return self._tail.has_looked.is_set()

    def ask_behave(self, output: str, how: str) -> None:
        self.ends[output].behave(how)

    def ask_die(self, what: str, count: int) -> None:
        self.fatal = what, count

    def ask_is_followed(self, device: int, inode: int) -> bool:
        return self._tail.followed_file(device, inode) is not None

    def ask_place(self, device: int, inode: int) -> tuple[int, bytes] | None:
        """How far a file was read, and what it begins with as far as that was looked at."""
        file = self._tail.followed_file(device, inode)
        return None if file is None else (file.offset, file.head)

    async def ask_commit(self) -> bool:
        """Of files the positions, of the spool what was delivered."""
        assert self.pipeline is not None
        await self.pipeline.stores.commit()
        assert self._router.spooling is not None
        await self._router.spooling.flush()
        return True

    async def ask_is_safe(self) -> bool:
        """Whether a kill would take nothing that could not be read again; what was lost by now is kept."""
        is_gone = any(map(_has_no_name, self._followed.files.values()))
        if is_gone or any(map(self._is_at_risk, self._router._open)):
            return False
        assert self._router.spooling is not None
        await self._router.spooling.keep_losses()
        return True

    def ask_unread(self) -> list[str]:
        """What of the files was not handed over."""
        files = self._followed.files.values()
        found = [f"{one.file.real_path} from {one.offset} on" for one in files if one.unread_bytes > 0]
        found += [f"{one.file.real_path}, which has no name" for one in files if _has_no_name(one)]
        if self._router.statistics().waiting or self._tail._portions.waiting_bytes:
            found.append("what waits for room")
        return found

    def ask_undelivered(self) -> list[str]:
        """The same, and what is not delivered or told."""
        router = self._router
        found = [f"{ticket.chunk}" for ticket in router._open]
        found += [str(one.untold()) for one in router._telling._listeners.values() if one.untold().rows]
        found += [f"{one.name}: {one.shelf}, {one.held}" for one in router._roster.all if not one.is_idle]
        return self.ask_unread() + found

    def ask_reloads(self) -> int:
        return self.reload.count if self.reload else 0

    def _is_at_risk(self, ticket: Ticket) -> bool:
        return ticket.chunk.position is not None and not ticket.seq and not ticket.chunk.is_durable

    @property
    def _router(self) -> Router:
        assert self.pipeline is not None
        return self.pipeline.router

    @property
    def _tail(self) -> Tail:
        assert self.pipeline is not None
        plugin = self.pipeline._begun["tail.0"].plugin
        assert isinstance(plugin, Tail)
        return plugin

    @property
    def _followed(self) -> Followed:
        return self._tail._followed


def _has_no_name(file: FollowedFile) -> bool:
    return os.fstat(file.fd).st_nlink == 0


def live(folder: Path, pipe: Connection) -> None:
    """All of the process."""
    logging.basicConfig(filename=folder / "agent.txt", level=logging.INFO)
    life = Life(pipe)
    _hurry()
    _put_doubles(life)
    _watch_writes(life)
    asyncio.run(_work(life, str(folder / "podwitness.conf")))


async def _work(life: Life, configuration: str) -> None:
    asyncio.get_running_loop().add_reader(life.pipe.fileno(), life.answer)
    read = functools.partial(load_file, configuration, {})
    await run.collect(read(), None, read)


def _hurry() -> None:
    run.HANDOVER_S = 0.5
    securing.AT_RISK_S = spooling.PATIENCE_S = 0.01
    spooling.LINGER_S = 0.003
    courier.DRAIN_RETRY_S = 0.01
    vanishing.LISTING_S = 0.01
    vars(tail).update(LOOK_S=0.02)


def _put_doubles(life: Life) -> None:
    class Doubled(pipeline.Pipeline):
        def __init__(self, rooms: pipeline.Rooms) -> None:
            super().__init__(rooms)
            self.stores._flush_s = COMMIT_S
            life.pipeline = self

        def _route(self, config: PluginConfig, document: Any) -> Route:
            life.ends[config.name] = end = FarEnd(config.name, life)
            return dataclasses.replace(super()._route(config, document), output=end)

    class Noted(Reload):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            life.reload = self

    vars(run).update(Pipeline=Doubled, Reload=Noted)
    vars(pipeline).update(Router=functools.partial(Router, total_bytes=TOTAL_BYTES))


def _watch_writes(life: Life) -> None:
    """A statement of a database and a stretch are what a kill may come before."""
    connect, keep = sqlite3.connect, Stretches.keep

    def watched(*arguments: Any, **keys: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*arguments, **keys)
        database.set_trace_callback(lambda _: life.count_down("statement"))
        return database

    def noted(self: Stretches, stretch: Stretch) -> None:
        file = (stretch.file.device, stretch.file.inode)
        life.tell(Kept(chunk_id(stretch.id), file, stretch.start, stretch.end))
        life.count_down("stretch")
        keep(self, stretch)

    vars(sqlite3).update(connect=watched)
    Stretches.keep = noted  # type: ignore[method-assign]

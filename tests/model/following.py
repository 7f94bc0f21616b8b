"""What writers do to log files, and which records have to arrive: the model that following is held to.

A `Node` has some containers, each with a log as a runtime writes it (CRI lines, parts of records on two
streams), and an agent that is stopped and started. Actions come in any order; one that could lose records
by itself (a truncation of what was not read, a deletion of a file that the agent never had a chance to see)
waits for what makes it harmless.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from tests.tail_follower import Follower, make_follower

STREAMS = ("stdout", "stderr")


@dataclass
class Container:
    """A log and its writer. `expected` has the texts of whole records of each stream, in order."""

    log: Path
    rotations: int = 0
    copies: int = 0
    number: int = 0
    writer: int = -1
    expected: dict[str, list[str]] = field(default_factory=lambda: {stream: [] for stream in STREAMS})
    is_open_in_gone: bool = False  # a record's first parts are in a file that has no name any more
    has_gone: bool = False  # there is such a file, and maybe nobody has read it yet
    open: dict[str, str] = field(default_factory=lambda: dict.fromkeys(STREAMS, ""))

    def line(self, stream: str, *, part: bool) -> None:
        """One write of a whole line, as the runtimes do it."""
        if self.writer < 0:
            self.writer = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self.number += 1
        piece = f"[{stream} {self.log.stem} {self.number}]"
        tag = "P" if part else "F"
        os.write(self.writer, f"2026-01-01T00:00:00.{self.number:09}Z {stream} {tag} {piece}\n".encode())
        self.open[stream] += piece
        if not part:
            self.end_of(stream)

    def end_of(self, stream: str) -> None:
        if self.open[stream]:
            self.expected[stream].append(self.open[stream])
        self.open[stream] = ""

    def finish(self) -> None:
        """Whole records only: what is open gets its last part."""
        for stream in STREAMS:
            if self.open[stream]:
                self.line(stream, part=False)
        self.is_open_in_gone = False

    def rotate(self, *, late: int, compresses: bool = False) -> None:
        """As the kubelet: older generations are compressed, rename, the runtime writes `late` lines more,
        then reopens."""
        if not self.log.exists() or self.copies:
            return
        if compresses:
            self.compress()
        self.rotations += 1
        self.log.rename(f"{self.log}.20260101-{self.rotations:06}")
        for index in range(late):
            self.line(STREAMS[index % 2], part=False)
        self.reopen()

    def copy_and_truncate(self) -> None:
        """As logrotate's copytruncate: older copies are renamed, the log is copied and cut off."""
        for number in range(self.copies, 0, -1):
            Path(f"{self.log}.{number}").rename(f"{self.log}.{number + 1}")
        self.copies += 1
        Path(f"{self.log}.1").write_bytes(self.log.read_bytes())
        os.truncate(self.log, 0)

    def compress(self) -> None:
        for path in sorted(self.log.parent.glob(f"{self.log.name}.*")):
            if path.suffix not in (".gz", ".tmp"):
                temporary = Path(f"{path}.tmp")
                temporary.write_bytes(gzip.compress(path.read_bytes()))
                temporary.rename(f"{path}.gz")
                path.unlink()

    def reopen(self) -> None:
        following = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self.close()
        self.writer = following

    def replace(self) -> None:
        """As CRI-O: a new file is renamed over the old one."""
        following = os.open(f"{self.log}.tmp", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        os.rename(f"{self.log}.tmp", self.log)
        self.is_open_in_gone = any(self.open.values())
        self.has_gone = True
        self.close()
        self.writer = following

    def delete(self, *, late: int) -> None:
        """All names of the log go, the writer writes on a little, then the container ends."""
        for path in self.log.parent.glob(f"{self.log.name}*"):
            path.unlink()
        self.copies = 0
        for index in range(late):
            self.line(STREAMS[index % 2], part=False)
        for stream in STREAMS:
            self.end_of(stream)
        self.has_gone = True
        self.close()

    def close(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


class Node:
    """Containers and the agent. `received` is all that any run of the agent handed over."""

    def __init__(self, folder: Path, containers: int) -> None:
        self.folder = folder
        self.containers = [Container(folder / f"{name}.log") for name in "abcdef"[:containers]]
        self.received: list[tuple[str, str]] = []
        self.repeatable: Counter[tuple[str, str]] = Counter()
        self.follower: Follower | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.follower = make_follower(
            self.folder,
            {"multiline.parser": "cri"},
            acks=False,
            tag="*",
            Path=f"{self.folder}/*.log",
            DB=f"{self.folder}/positions.db",
            Rotate_Wait="0.3",
        )
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self.follower.tail.run(self._stop))
        looking = asyncio.create_task(self.follower.tail.has_looked.wait())
        await asyncio.wait((looking, self._task), timeout=30, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()

    async def end(self, acked: int) -> None:
        """Stops the agent when the receiver has acknowledged that many of the open chunks."""
        assert self.follower is not None
        assert self._task is not None
        for container in self.containers:
            if container.is_open_in_gone:
                container.finish()
                await self.has_all()
                acked = len(self.follower.intake.open)  # what is sent again would lack these parts
        intake = self.follower.intake
        intake.has_room.set()
        self._stop.set()
        await asyncio.wait_for(self._task, 30)
        intake.ack(min(acked, len(intake.open)))
        self._keep(intake.chunks, intake.open)
        assert intake.positions is not None
        intake.positions.close()
        self.follower = None

    async def crash(self, acked: int) -> None:
        """kill -9: nothing is handed over; only what was acknowledged and committed is known at the start.

        What stands only in files without a name would be lost, so the agent has read these before.
        """
        assert self.follower is not None
        assert self._task is not None
        intake = self.follower.intake
        if any(container.has_gone for container in self.containers):
            lacks_parts = any(container.is_open_in_gone for container in self.containers)
            for container in self.containers:
                if container.is_open_in_gone:
                    container.finish()
                container.has_gone = False
            await self.has_all()
            # What is sent again would lack the parts in files without a name.
            acked = len(intake.open) if lacks_parts else acked
        assert intake.positions is not None
        intake.ack(min(acked, len(intake.open)))
        await intake.positions.commit()
        unacknowledged = list(intake.open)
        intake.ack(1)  # this one's position is in memory only
        self._task.cancel()
        await asyncio.wait((self._task,), timeout=30)
        self._keep(intake.chunks, unacknowledged)
        intake.positions._changed.clear()
        intake.positions.close()
        self.follower = None

    def _keep(self, chunks: list[Chunk], unacknowledged: list[Chunk]) -> None:
        self.repeatable.update(_records(unacknowledged))
        self.received += _records(chunks)

    async def is_seen(self, container: Container) -> None:
        """Until the agent has the present file open."""
        assert self.follower is not None
        self.follower.intake.has_room.set()
        status = container.log.stat()
        tail = self.follower.tail
        await self.follower.until(lambda: tail.followed_file(status.st_dev, status.st_ino) is not None)

    async def knows_beginning(self, container: Container) -> None:
        """Until the agent, if it has the file open since it was empty, has looked at its first bytes: by them
        it knows a copy."""
        if self.follower is None:
            return
        status = container.log.stat()
        file = self.follower.tail.followed_file(status.st_dev, status.st_ino)
        if file is not None and not file.head:
            self.follower.intake.has_room.set()
            await self.follower.until(lambda: bool(file.head))

    async def has_noticed_truncation(self, container: Container) -> None:
        """Until the agent reads the file from its start, and has the copy, if there is one, open."""
        assert self.follower is not None
        self.follower.intake.has_room.set()
        status = container.log.stat()
        file = self.follower.tail.followed_file(status.st_dev, status.st_ino)
        assert file is not None
        content = container.log.read_bytes()
        await self.follower.until(lambda: file.offset <= len(content) and content.startswith(file.head))

    async def has_all(self) -> None:
        """Until all whole records arrived."""
        assert self.follower is not None
        self.follower.intake.has_room.set()
        intake = self.follower.intake
        try:
            await self.follower.until(lambda: not self.missing(self.received + _records(intake.chunks)))
        except AssertionError:
            missing = self.missing(self.received + _records(intake.chunks))
            raise AssertionError(f"did not arrive: {missing}") from None

    def missing(self, received: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        return set(self.wanted()) - set(received)

    def wanted(self) -> list[tuple[str, str]]:
        return [
            (_tag(one.log), text)
            for one in self.containers
            for texts in one.expected.values()
            for text in texts
        ]

    def check(self) -> None:
        """Everything once, in order, except for what was under way when the agent was stopped."""
        assert not self.missing(self.received)
        counts = Counter(self.received)
        wanted = Counter(self.wanted())
        surplus = counts - wanted - self.repeatable
        assert not surplus, f"too often or never written: {surplus}"
        for container in self.containers:
            tag = _tag(container.log)
            first = list(dict.fromkeys(text for its, text in self.received if its == tag))
            for stream, texts in container.expected.items():
                arrived = [text for text in first if text.startswith(f"[{stream} ")]
                assert arrived == texts, f"order of {tag} {stream}"


def _tag(log: Path) -> str:
    return str(log).lstrip("/").replace("/", ".")


def _records(chunks: Sequence[Chunk]) -> list[tuple[str, str]]:
    return [
        (chunk.tag, str(dict(pairs)["log"])) for chunk in chunks for _, pairs in unpack_entries(chunk.entries)
    ]

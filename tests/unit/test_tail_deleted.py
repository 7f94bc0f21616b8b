"""Deleted files that no output takes (collector.inputs.tail_deleted): how much is held, and what is told."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from collector.delivery.losses import LOSS_TAG
from collector.delivery.router import Route
from collector.entries import unpack_entries
from collector.inputs import tail, tail_deleted, tail_room
from collector.inputs.follow import FollowedFile
from collector.inputs.tail_deleted import DeletedFiles
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.tail_follower import Follower, append, make_follower, running
from tests.unit.routing import House, Recorder, refuse, routing
from tests.unit.test_tail_portions import Copying, line_by_line
from tests.unit.test_tail_room import numbered, of, tag_of, texts

COUNT = 5
RECORDS = 100


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_room, "LOOK_S", 0.02)
    monkeypatch.setattr(tail_deleted, "LOOK_S", 0.02)
    monkeypatch.setattr(tail, "DELETED_LOOK_S", 0.05)
    monkeypatch.setattr(tail_deleted, "IDLE_S", 0.1)


@asynccontextmanager
async def full(
    folder: Path, output: Recorder, *more: Route, **keys: str
) -> AsyncIterator[tuple[House, Follower]]:
    """A dead output, whose share is full of one log, and an input."""
    (folder / "a_full.log").write_bytes(numbered(0, 1000))
    async with routing(of(output, "out.0", "log"), *more, total_bytes=1 << 20) as house:
        settings = {"Path": f"{folder}/*.log", "Read_from_Head": "On", "Rotate_Wait": "0.05", **keys}
        follower = make_follower(folder, settings, tag="*", router=house.router)
        async with running(follower):
            tag = tag_of(folder / "a_full.log")
            await house.until(lambda: not house.router.takes("tail.0", tag, lambda: False))
            yield house, follower


async def opened(follower: Follower, path: Path) -> None:
    status = os.stat(path)
    await follower.until(lambda: follower.tail.followed_file(status.st_dev, status.st_ino) is not None)


def living_files(folder: Path) -> list[FollowedFile]:
    gc.collect()
    found = [one for one in gc.get_objects() if isinstance(one, FollowedFile)]
    return [one for one in found if one.place.startswith(str(folder))]


def deleted(folder: Path) -> list[Path]:
    return [folder / f"b{number}.log" for number in range(COUNT)]


async def write_and_delete(follower: Follower, paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(numbered(0, RECORDS))
        await opened(follower, path)
        path.unlink()


def test_beyond_the_limit_the_oldest_are_lost_and_told(tmp_path: Path) -> None:
    output, losses = Recorder(behave=refuse), Recorder()
    told = Route("out.1", losses, lambda tag: tag == LOSS_TAG, None)
    *lost, kept = deleted(tmp_path)

    async def scenario() -> None:
        # A file takes 100,000 bytes and some for itself: two are too much.
        async with full(tmp_path, output, told, Deleted_Limit="300k") as (house, follower):
            await write_and_delete(follower, [*lost, kept])
            await house.until(lambda: house.loss("deleted") == len(lost) * RECORDS)
            await follower.until(lambda: follower.count("fluentbit_input_files_closed_total") == len(lost))
            # Nothing is kept of them while the output stays dead.
            assert {one.place for one in living_files(tmp_path)} == {str(kept), f"{tmp_path}/a_full.log"}
            assert 100_000 < follower.count(tail_deleted.GAUGE) < 300_000
            await losses.wait_until(lambda: sum(one.records for one in losses.accepted) >= len(lost))
            output.behave = None
            await output.wait_until(lambda: len(texts(output, tag_of(kept))) == RECORDS)
            await follower.until(lambda: follower.count(tail_deleted.GAUGE) == 0)
        assert house.loss("deleted") == len(lost) * RECORDS

    asyncio.run(scenario())
    rows = [
        dict(pairs)["podwitness"]["loss"]
        for one in losses.accepted
        for _, pairs in unpack_entries(one.entries)
    ]
    rows = [row for row in rows if row["cause"] == "deleted"]
    assert {row["stream"]: (row["path"], row["from"], row["to"], row["records"]) for row in rows} == {
        tag_of(path): (str(path), 0, RECORDS * 1000, RECORDS) for path in lost
    }
    assert [len(texts(output, tag_of(path))) for path in lost] == [0] * len(lost)


def test_what_is_read_now_and_then_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_deleted, "IDLE_S", 3600.0)
    output = Recorder(behave=refuse)

    async def scenario() -> None:
        async with full(tmp_path, output, Deleted_Limit="300k") as (house, follower):
            await write_and_delete(follower, deleted(tmp_path))
            await follower.until(lambda: follower.count(tail_deleted.GAUGE) > COUNT * RECORDS * 1000)
            output.behave = None
            wanted = 1000 + COUNT * RECORDS
            await output.wait_until(lambda: sum(one.records for one in output.accepted) == wanted)
            assert house.loss("deleted") == 0

    asyncio.run(scenario())


def test_what_is_written_to_a_file_after_it_was_given_up_is_not_lost(tmp_path: Path) -> None:
    """Somebody removed the log of a container that goes on."""
    output = Recorder(behave=refuse)
    path = tmp_path / "b.log"

    async def scenario() -> None:
        async with full(tmp_path, output, Deleted_Limit="100k") as (house, follower):
            with path.open("ab", buffering=0) as writer:
                writer.write(numbered(0, RECORDS))
                await opened(follower, path)
                path.unlink()
                await house.until(lambda: house.loss("deleted") == RECORDS)
                output.behave = None
                writer.write(numbered(RECORDS, RECORDS + 10))
                await output.wait_until(lambda: len(texts(output, tag_of(path))) == 10)
            append(path, b"another\n")
            await output.wait_until(lambda: len(texts(output, tag_of(path))) == 11)
        assert house.loss("deleted") == RECORDS

    asyncio.run(scenario())
    assert [text.strip() for text in texts(output, tag_of(path))][:2] == ["000000100", "000000101"]


def test_files_of_one_log_are_given_up_in_their_order(tmp_path: Path) -> None:
    output = Recorder(behave=refuse)
    log = tmp_path / "b.log"

    async def scenario() -> None:
        async with full(tmp_path, output, Deleted_Limit="300k") as (house, follower):
            for number in range(COUNT):
                log.write_bytes(numbered(number * RECORDS, (number + 1) * RECORDS))
                await opened(follower, log)
                log.rename(f"{log}.20260101-00000{number}")
            for number in range(COUNT):
                os.unlink(f"{log}.20260101-00000{number}")
            await house.until(lambda: house.loss("deleted") == (COUNT - 1) * RECORDS)
            output.behave = None
            await output.wait_until(lambda: len(texts(output, tag_of(log))) == RECORDS)

    asyncio.run(scenario())
    first = (COUNT - 1) * RECORDS
    assert [int(text) for text in texts(output, tag_of(log))] == list(range(first, first + RECORDS))


def test_a_log_of_which_something_waits_is_given_up_too(tmp_path: Path) -> None:
    """What was read of it has found no room, and nobody asks whether there is some for the rest."""
    dead, alive = Recorder(behave=refuse), Recorder()
    log = tmp_path / "first.log"

    async def scenario() -> None:
        routes = of(dead, "out.0", "copies"), of(alive, "out.1", "log")
        async with routing(*routes, total_bytes=8 << 20) as house:
            keys = {"Path": f"{tmp_path}/*.log", "Read_from_Head": "On", "Deleted_Limit": "1M"}
            follower = make_follower(tmp_path, keys, tag="*", router=house.router, filters=(Copying(),))
            async with running(follower):
                log.write_bytes(numbered(0, 12_000))
                await house.until(lambda: house.router.holds_up("tail.0"))
                log.unlink()
                await follower.until(lambda: follower.count("fluentbit_input_files_closed_total") == 1)
                lost = int(house.loss("deleted"))
                dead.behave = None
                left = 12_000 - lost
                await dead.wait_until(lambda: sum(one.records for one in dead.accepted) == left)
            assert 0 < lost < 12_000
            assert len(texts(alive, tag_of(log))) == left

    asyncio.run(scenario())


def test_all_portions_of_a_log_whose_lines_are_joined_are_lost_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FollowedFile, "_read_batch", line_by_line)
    monkeypatch.setattr(tail_deleted, "IDLE_S", 1.0)
    output = Recorder(behave=refuse)

    async def scenario() -> None:
        keys = {"Deleted_Limit": "100k", "multiline.parser": "java"}
        async with full(tmp_path, output, **keys) as (house, follower):
            await write_and_delete(follower, deleted(tmp_path)[:1])
            await house.until(lambda: house.loss("deleted") == RECORDS)
            await follower.until(lambda: follower.count("fluentbit_input_files_closed_total") == 1)

    asyncio.run(scenario())


def test_nobody_looks_at_files_behind_those_that_are_enough(tmp_path: Path) -> None:
    """There may be thousands, and they are asked for every second."""
    asked: list[FollowedFile] = []

    class Watched(DeletedFiles):
        def _idle_up_to(self, file: FollowedFile, now_s: float) -> list[FollowedFile]:
            asked.append(file)
            return [file]

    context: Any = SimpleNamespace(name="tail.0", metrics=Metrics(TABLE))
    held = Watched(context, 3 * tail_deleted.FILE_BYTES, {})
    with (tmp_path / "empty").open("wb") as empty:
        files = [Mock(is_given_up=False, fd=empty.fileno()) for _ in range(4)]
        given_up = [list(held.hold(file, 10.0)) for file in files]
    assert given_up == [[], [], [], files[:1]]
    assert asked == files[:1]

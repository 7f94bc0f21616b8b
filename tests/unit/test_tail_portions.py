"""Portions that find no room when they come (collector.inputs.tail_portions): each log waits for itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from collector.delivery.chunk import Chunk
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.inputs import tail_portions
from collector.inputs.follow import FollowedFile
from collector.inputs.tail_portions import Portions
from collector.native.logs import LogBatch
from collector.plugin import Emit
from collector.record import Record
from tests.tail_follower import Follower, append, lines, make_follower, run, running, texts
from tests.unit.routing import Recorder, refuse, routing
from tests.unit.test_tail_room import numbered, of, tag_of
from tests.unit.test_tail_room import texts as texts_of


def follow(folder: Path, **keys: str) -> Follower:
    return make_follower(folder, {"Path": f"{folder}/*.log", "Read_from_Head": "On", **keys})


def waiting(follower: Follower, log: Path) -> bool:
    status = os.stat(log)
    file = follower.tail.followed_file(status.st_dev, status.st_ino)
    return file is not None and file.handed_over is not None and not follower.intake.chunks


def test_a_log_is_not_read_on_while_a_portion_waits_and_goes_on_after_it(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(lines(0, 10))

    async def scenario() -> None:
        follower = follow(tmp_path)
        follower.intake.has_room.clear()
        async with running(follower):
            await follower.until(lambda: waiting(follower, log))
            append(log, lines(10, 20))
            (tmp_path / "b.log").write_bytes(lines(0, 1))
            await follower.until(lambda: follower.count("fluentbit_input_files_opened_total") == 2)
            follower.intake.has_room.set()
            await follower.intake.wait_for(21)
        assert follower.intake.by_tag()[f"t{log}".replace("/", ".")] == texts(0, 20)

    run(scenario())


def test_what_waits_at_the_end_is_handed_over(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(lines(0, 10))

    async def scenario() -> Follower:
        follower = follow(tmp_path)
        follower.intake.has_room.clear()
        async with running(follower):  # which gives room when it has asked for the end
            await follower.until(lambda: waiting(follower, log))
        return follower

    assert asyncio.run(scenario()).intake.texts() == texts(0, 10)


def test_a_rotated_file_whose_last_portion_waits_is_read_to_its_end_before_the_next(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(lines(0, 10))

    async def scenario() -> None:
        follower = follow(tmp_path, Rotate_Wait="0.05")
        follower.intake.has_room.clear()
        async with running(follower):
            await follower.until(lambda: waiting(follower, log))
            old = tmp_path / "0.log.20260101-000000"
            log.rename(old)
            append(old, lines(10, 20))
            log.write_bytes(lines(20, 30))
            await follower.until(lambda: follower.count("fluentbit_input_files_opened_total") == 2)
            follower.intake.has_room.set()
            await follower.intake.wait_for(30)
        assert follower.intake.texts() == texts(0, 30)

    run(scenario())


def test_at_the_end_a_log_without_a_name_waits_for_what_it_was_rotated_from(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(lines(0, 10))

    async def scenario() -> Follower:
        follower = follow(tmp_path)
        follower.intake.has_room.clear()
        async with running(follower):  # which gives room when it has asked for the end
            await follower.until(lambda: waiting(follower, log))
            old = tmp_path / "0.log.20260101-000000"
            log.rename(old)
            append(old, lines(10, 20))
            log.write_bytes(lines(20, 30))
            await follower.until(lambda: follower.count("fluentbit_input_files_opened_total") == 2)
            log.unlink()
        return follower

    assert asyncio.run(scenario()).intake.texts() == texts(0, 30)


class Copying(SeesRecords):
    """As rewrite_tag with KEEP: each record of the log `first` under the tag `copies`, too."""

    def matches(self, tag: str) -> bool:
        return "first" in tag

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        for record in records:
            emit("copies", record)
        return list(records)


def test_what_a_filter_sends_to_a_dead_output_holds_up_its_own_log_only(tmp_path: Path) -> None:
    """Nobody can ask for its room before the log is read: its tag is not that of the log."""
    dead, alive = Recorder(behave=refuse), Recorder()
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    first.write_bytes(numbered(0, 8000))

    async def scenario() -> None:
        routes = of(dead, "out.0", "copies"), of(alive, "out.1", "log")
        async with routing(*routes, total_bytes=8 << 20) as house:
            keys = {"Path": f"{tmp_path}/*.log", "Read_from_Head": "On"}
            follower = make_follower(tmp_path, keys, tag="*", router=house.router, filters=(Copying(),))
            async with running(follower):
                await house.until(lambda: house.router.holds_up("tail.0"))
                second.write_bytes(numbered(0, 100))
                await alive.wait_until(lambda: len(texts_of(alive, tag_of(second))) == 100)
                dead.behave = None
                await dead.wait_until(lambda: sum(one.records for one in dead.accepted) == 8000)

    asyncio.run(scenario())
    for output, tag in ((dead, "copies"), (alive, tag_of(first))):
        assert [int(text) for text in texts_of(output, tag)] == list(range(8000))


def room_for(follower: Follower, part: str, allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there is room for all: that many chunks of logs with this in their name, and all others."""
    intake = follower.intake
    intake.has_room.clear()

    def offer(chunk: Chunk) -> bool:
        taken = sum(part in one.tag for one in intake.chunks)
        if part in chunk.tag and taken >= allowed and not intake.has_room.is_set():
            return False
        intake.chunks.append(chunk)
        intake.changed.set()
        return True

    monkeypatch.setattr(intake, "offer", offer)


def test_the_end_of_a_file_that_finds_no_room_holds_up_its_own_log_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deleted file's last line has no end: it is read when nobody can write any more."""
    first, second = tmp_path / "first.log", tmp_path / "second.log"

    async def scenario() -> None:
        follower = follow(tmp_path, Rotate_Wait="0.05")
        room_for(follower, "first", 1, monkeypatch)
        async with running(follower):
            first.write_bytes(lines(0, 10) + b"the last one")
            await follower.intake.wait_until(lambda: len(follower.intake.chunks) == 1)
            first.unlink()
            await follower.until(lambda: follower.count("fluentbit_input_files_closed_total") == 1)
            second.write_bytes(lines(0, 1))
            await follower.intake.wait_until(lambda: len(follower.intake.chunks) == 2)
            follower.intake.has_room.set()
            await follower.intake.wait_until(lambda: len(follower.intake.chunks) == 3)
        assert follower.intake.texts() == [*texts(0, 10), "line 0", "the last one"]

    run(scenario())


def line_by_line(file: FollowedFile, now_ns: int, *, end: bool) -> tuple[LogBatch, bool]:
    """Portions of one line."""
    left = os.pread(file.fd, 4096, file.offset)
    line = left[: left.find(b"\n") + 1] or left
    at_end = len(line) == len(left)
    return file.log.encode(line, file.offset, now_ns, end=end and at_end), at_end


def test_a_file_with_more_than_a_portion_at_its_end_is_read_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its writer wrote between a look at the end of the file and a look whether there is a writer."""
    monkeypatch.setattr(FollowedFile, "_read_batch", line_by_line)
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with first.open("wb", buffering=0) as writer:

        def is_final(file: FollowedFile, now_s: float, rotate_wait_s: float) -> bool:
            if file.is_gone and not writer.closed:
                writer.write(lines(1, 10))
                writer.close()
            return file.is_gone

        monkeypatch.setattr(FollowedFile, "is_final", is_final)

        async def scenario() -> None:
            follower = follow(tmp_path)
            room_for(follower, "first", 1, monkeypatch)
            async with running(follower):
                writer.write(lines(0, 1))
                await follower.intake.wait_until(lambda: len(follower.intake.chunks) == 1)
                first.unlink()
                await follower.until(lambda: writer.closed)
                second.write_bytes(lines(0, 1))
                await follower.intake.wait_until(lambda: len(follower.intake.chunks) == 2)
                follower.intake.has_room.set()
                await follower.intake.wait_until(lambda: len(follower.intake.chunks) == 11)
            assert follower.intake.by_tag()[f"t{first}".replace("/", ".")] == texts(0, 10)

        run(scenario())


def test_what_waits_beside_the_outputs_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs that filters may send to an output which takes nothing; others go on."""
    monkeypatch.setattr(tail_portions, "WAITING_BYTES", 3 << 20)
    dead, alive = Recorder(behave=refuse), Recorder()
    logs = [tmp_path / f"first{number}.log" for number in range(12)]
    for log in logs:
        log.write_bytes(numbered(0, 1000))
    other = tmp_path / "other.log"
    seen: list[int] = []
    wait = Portions._wait

    def watched(portions: Portions, place: str, chunk: Chunk) -> None:
        wait(portions, place, chunk)
        seen.append(portions.waiting_bytes)

    monkeypatch.setattr(Portions, "_wait", watched)

    async def scenario() -> None:
        routes = of(dead, "out.0", "copies"), of(alive, "out.1", "log")
        async with routing(*routes, total_bytes=4 << 20) as house:
            keys = {"Path": f"{tmp_path}/*.log", "Read_from_Head": "On"}
            follower = make_follower(tmp_path, keys, tag="*", router=house.router, filters=(Copying(),))
            async with running(follower):
                await house.until(lambda: bool(seen) and seen[-1] >= 3 << 20)
                other.write_bytes(numbered(0, 100))
                await alive.wait_until(lambda: len(texts_of(alive, tag_of(other))) == 100)
                assert max(seen) < 6 << 20
                dead.behave = None
                await dead.wait_until(lambda: sum(one.records for one in dead.accepted) == 12_000)

    asyncio.run(scenario())
    assert max(seen) < 6 << 20
    for log in logs:
        assert len(texts_of(alive, tag_of(log))) == 1000


def test_an_error_while_a_portion_waits_ends_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.log").write_bytes(lines(0, 10))

    async def broken(chunk: Chunk) -> None:
        raise ValueError("a defect")

    async def scenario() -> None:
        follower = follow(tmp_path)
        follower.intake.has_room.clear()
        monkeypatch.setattr(follower.intake, "submit", broken)
        async with asyncio.timeout(30):
            await follower.tail.run(asyncio.Event())

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(scenario())
    assert raised.group_contains(ValueError, match="a defect")

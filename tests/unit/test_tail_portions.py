"""Portions that find no room when they come (collector.inputs.tail_portions): each log waits for itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
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

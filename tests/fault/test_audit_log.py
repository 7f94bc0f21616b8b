"""An audit log that the API server rotates, as lumberjack does: renamed, compressed, the oldest deleted."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

from tests.api_server import GOLDEN
from tests.tail_follower import Follower, make_follower, running

EVENTS = [json.loads(line) for line in (GOLDEN / "audit.jsonl").read_text().splitlines()]
KEPT = 3


class Lumberjack:
    """Writes numbered events; `rotate` as gopkg.in/natefinch/lumberjack.v2, with compression."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.log"
        self.written = 0
        self._rotations = 0
        self._file = self.path.open("a")

    def write(self, count: int) -> None:
        for _ in range(count):
            event = {**EVENTS[self.written % len(EVENTS)], "auditID": str(self.written)}
            self._file.write(json.dumps(event) + "\n")
            self.written += 1
        self._file.flush()

    def rotate(self, *, compress: bool = True) -> None:
        """The file is closed, renamed and opened anew; then all older ones are compressed, the oldest go."""
        self._file.close()
        self._rotations += 1
        self.path.rename(self.path.with_name(f"audit-2026-11-24T00-{self._rotations:02}-00.000.log"))
        self._file = self.path.open("a")
        if compress:
            self.mill()

    def mill(self) -> None:
        for plain in sorted(self.path.parent.glob("audit-*.log")):
            Path(f"{plain}.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        for old in sorted(self.path.parent.glob("audit-*"))[:-KEPT]:
            old.unlink()


def follower(folder: Path, *, acks: bool = True) -> Follower:
    path = folder / "audit.log"
    more = {"Read_from_Head": "On", "Rotate_Wait": "0.05", "DB": str(folder / "audit.db")}
    return make_follower(folder, {"Parser": "json", "Path": str(path), **more}, acks=acks, tag="audit.*")


def ids(one: Follower) -> list[int]:
    return [int(record["auditID"]) for record in one.intake.records]


def test_nothing_is_lost_or_doubled_while_it_is_rotated(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = Lumberjack(tmp_path)
        async with running(follower(tmp_path)) as one:
            for turn in range(20):
                log.write(50)
                log.rotate(compress=turn % 3 == 2)
                log.write(10)
                await one.intake.wait_for(log.written - 10 * (turn % 2))
            await one.intake.wait_for(log.written)
            assert ids(one) == list(range(log.written))
            record = one.intake.records[0]
            assert record == {**EVENTS[0], "auditID": "0"}
            assert {chunk.tag for chunk in one.intake.chunks} == {
                "audit." + str(log.path).strip("/").replace("/", ".")
            }
            assert one.count("podwitness_tail_unparsed_lines_total") == 0

    asyncio.run(scenario())


def test_rotations_while_nobody_reads(tmp_path: Path) -> None:
    """The agent is away for two rotations: what was half read is compressed by now."""

    async def scenario() -> None:
        log = Lumberjack(tmp_path)
        log.write(100)
        async with running(follower(tmp_path)) as one:
            await one.intake.wait_for(100)
        log.write(50)
        log.rotate()
        log.write(50)
        log.rotate(compress=False)
        log.write(50)
        async with running(follower(tmp_path)) as other:
            await other.intake.wait_for(150)
            log.rotate()
            log.write(1)
            await other.intake.wait_for(151)
        assert ids(one) == list(range(100))
        assert ids(other) == list(range(100, 251))

    asyncio.run(scenario())


def test_files_are_read_to_their_end_before_the_next_while_outputs_take_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = Lumberjack(tmp_path)
        log.write(10)
        async with running(follower(tmp_path)) as one:
            await one.intake.wait_for(10)
            one.intake.has_room.clear()
            for _ in range(KEPT):
                log.write(100)
                log.rotate()
            log.write(5)
            one.intake.has_room.set()
            await one.intake.wait_for(log.written)
            assert ids(one) == list(range(log.written))

    asyncio.run(scenario())

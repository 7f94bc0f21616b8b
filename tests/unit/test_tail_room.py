"""A tail input and a router with a dead output: other streams go on, and what vanishes is kept."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from collector.delivery import securing, spooling
from collector.delivery.losses import LOSS_TAG
from collector.delivery.router import Route
from collector.entries import unpack_entries
from collector.inputs import tail_room, vanishing
from tests.tail_follower import Follower, make_follower, running
from tests.unit.routing import House, Recorder, never, refuse, routing
from tests.unit.spooled import copy, opened

TOTAL = 8 << 20
# What is left of a share when a file is not read any more is less than a portion, or more than is asked for.
TOTALS = [total << 20 for total in (2, 7, 8, 9, 32)]


def texts(output: Recorder, tag: str) -> list[str]:
    found = [one for one in output.accepted if one.tag == tag]
    return [str(dict(pairs)["log"]) for one in found for _, pairs in unpack_entries(one.entries)]


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"%09d" % number + b" " * 990 + b"\n" for number in range(first, last))


def follow(folder: Path, house: House) -> Follower:
    keys = {"Path": f"{folder}/*.log", "Read_from_Head": "On", "Rotate_Wait": "0.05"}
    return make_follower(folder, keys, tag="*", router=house.router)


def of(output: Recorder, name: str, part: str) -> Route:
    return Route(name, output, lambda tag: part in tag and tag != LOSS_TAG, None)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "LINGER_S", 0.01)
    monkeypatch.setattr(securing, "AT_RISK_S", 0.05)
    monkeypatch.setattr(tail_room, "LOOK_S", 0.02)
    monkeypatch.setattr(vanishing, "LISTING_S", 0.0)


def tag_of(path: Path) -> str:
    return str(path)[1:].replace("/", ".")


@pytest.mark.parametrize("total_bytes", TOTALS)
def test_a_dead_output_does_not_stop_the_files_of_another(tmp_path: Path, total_bytes: int) -> None:
    """One input, two outputs, each with files of its own; without a spool too."""
    dead, alive = Recorder(behave=refuse), Recorder()
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    records = 8000 if total_bytes < 32 << 20 else 20000  # more than there is room for
    first.write_bytes(numbered(0, records))
    second.write_bytes(numbered(0, records))

    async def scenario() -> None:
        routes = of(dead, "out.0", "first"), of(alive, "out.1", "second")
        async with routing(*routes, total_bytes=total_bytes) as house, running(follow(tmp_path, house)):
            await alive.wait_until(lambda: sum(one.records for one in alive.accepted) == records)
            assert dead.accepted == []
            # A chunk larger than a share is taken alone.
            assert house.router.statistics().size_bytes <= max(total_bytes, 3 << 20)
            dead.behave = None
            await dead.wait_until(lambda: sum(one.records for one in dead.accepted) == records)

    asyncio.run(scenario())
    for output, path in ((dead, first), (alive, second)):
        assert [int(text) for text in texts(output, tag_of(path))] == list(range(records))


@pytest.mark.parametrize(("limit_bytes", "total_bytes"), [(2 << 20, 32 << 20), (None, 8 << 18)])
def test_small_files_do_not_wait_for_each_other_where_a_bound_is_small(
    tmp_path: Path, limit_bytes: int | None, total_bytes: int
) -> None:
    """None has been acknowledged yet when the last is read."""
    output, files = Recorder(behave=never()), 20
    for number in range(files):
        (tmp_path / f"{number}.log").write_bytes(b"A line of thirty-five bytes, or so.\n")

    async def scenario() -> None:
        limits = {"tail.0": limit_bytes} if limit_bytes else {}
        bounds = {"total_bytes": total_bytes, "source_limits": limits}
        async with routing(of(output, "out.0", "log"), **bounds) as house, running(follow(tmp_path, house)):
            await house.until(lambda: house.router.statistics().chunks == files)

    asyncio.run(scenario())


def test_a_file_that_vanishes_while_nobody_listens_is_kept_over_a_crash(tmp_path: Path) -> None:
    """Rotated three times and unlinked; the one that is still there is not copied."""
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "0.log"
    log.write_bytes(numbered(0, 3000))

    async def first() -> None:
        routes = (of(Recorder(behave=refuse), "out.0", "0.log"),)
        spool = opened(tmp_path / "spool")
        async with (
            routing(*routes, total_bytes=TOTAL // 4, spool=spool) as house,
            running(follow(logs, house)) as follower,
        ):
            await house.until(lambda: house.router.statistics().chunks > 0)
            for turn in range(1, 4):
                log.rename(f"{log}.20260101-{turn:06}")
                log.write_bytes(numbered(3000 * turn, 3000 * (turn + 1)))
                new = os.stat(log)
                await follower.until(lambda: follower.tail.followed_file(new.st_dev, new.st_ino) is not None)  # noqa: B023
            os.unlink(f"{log}.20260101-000001")
            await house.until(lambda: kept(house) >= 5_990_000)
            await asyncio.sleep(0.2)
            assert kept(house) < 9_500_000
            copy(tmp_path / "spool", tmp_path / "left")

    def kept(house: House) -> float:
        return house.metrics.value("podwitness_spool_written_bytes_total")

    asyncio.run(first())
    alive = Recorder()

    async def second() -> None:
        spool = opened(tmp_path / "left")
        places = {position.path: position.offset for _, position in spool.positions()}
        assert places == {str(log): 3_000_000}
        async with routing(of(alive, "out.0", "0.log"), spool=spool):
            await alive.wait_until(lambda: len(texts(alive, tag_of(log))) >= 6000)

    asyncio.run(second())
    found = [int(text) for text in texts(alive, tag_of(log))]
    assert found == list(range(len(found)))


@pytest.mark.parametrize("is_there", [True, False])
def test_of_a_rotated_file_only_what_has_no_name_any_more_is_lost_at_a_stop(
    tmp_path: Path, is_there: bool
) -> None:
    """The oldest of two is about to go; if it is still there the next start reads it."""
    log = tmp_path / "0.log"
    oldest = Path(f"{log}.20260101-000001")
    log.write_bytes(numbered(0, 3))

    def rotate() -> None:
        log.rename(oldest)
        for path in (Path(f"{log}.20260101-000002"), log):
            path.touch()
        if not is_there:
            oldest.unlink()

    async def first() -> float:
        async with (
            routing(of(Recorder(behave=refuse), "out.0", "0.log")) as house,
            running(follow(tmp_path, house)),
        ):
            await house.until(lambda: house.router.statistics().chunks == 1)
            rotate()
            await house.router.drain(0.01)
            return house.loss("shutdown")

    lost = asyncio.run(first())
    alive = Recorder()

    async def second() -> None:
        async with routing(of(alive, "out.0", "0.log")) as house, running(follow(tmp_path, house)):
            with log.open("ab") as writer:
                writer.write(numbered(9, 10))
            await alive.wait_until(lambda: len(found()) == 4 - lost)

    def found() -> list[int]:
        return [int(text) for text in texts(alive, tag_of(log))]

    asyncio.run(second())
    assert (lost, found()) == ((0, [0, 1, 2, 9]) if is_there else (3, [9]))


def test_what_a_vanished_file_has_to_wait_for_is_kept_with_it(tmp_path: Path) -> None:
    """Rotated once, which alone is no reason to copy it; then the new log is unlinked."""
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "0.log"
    log.write_bytes(numbered(0, 3000))

    async def scenario() -> None:
        routes = (of(Recorder(behave=refuse), "out.0", "0.log"),)
        spool = opened(tmp_path / "spool")
        async with (
            routing(*routes, total_bytes=TOTAL // 4, spool=spool) as house,
            running(follow(logs, house)) as follower,
        ):
            await house.until(lambda: house.router.statistics().chunks > 0)
            log.rename(f"{log}.20260101-000001")
            log.write_bytes(numbered(3000, 6000))
            new = os.stat(log)
            await follower.until(lambda: follower.tail.followed_file(new.st_dev, new.st_ino) is not None)
            log.unlink()
            await house.until(
                lambda: house.metrics.value("podwitness_spool_written_bytes_total") >= 5_990_000
            )

    asyncio.run(scenario())

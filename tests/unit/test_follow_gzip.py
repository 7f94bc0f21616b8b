"""A compressed file as the last part of what is read of a log (collector.inputs.follow_gzip), and after a
restart the compressed generations of a log before it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
from pathlib import Path

import pytest

from collector.delivery.chunk import FileKey, Position, fingerprint
from collector.inputs.follow_gzip import CompressedFile
from collector.inputs.tail_open import OpenFile, open_pinned, pin
from collector.native.logs import LogStream
from collector.plan import CRI_JOINED_LAYOUT, Framing, LogPlan
from tests.tail_follower import Follower, make_follower, running

CRI = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)


def cri(start: int, stop: int, tag: str = "F") -> bytes:
    return b"".join(
        f"2026-01-01T00:00:00.{number:09}Z stdout {tag} n={number}\n".encode()
        for number in range(start, stop)
    )


def compress(path: Path) -> None:
    """As the kubelet: X to X.tmp, X.tmp to X.gz, then X goes."""
    temporary = Path(f"{path}.tmp")
    temporary.write_bytes(gzip.compress(path.read_bytes()))
    temporary.rename(f"{path}.gz")
    path.unlink()


def opened(path: Path) -> OpenFile:
    return open_pinned(pin(str(path)), (str(path.parent),))


def test_it_is_read_from_where_it_was_read_before(tmp_path: Path) -> None:
    path = tmp_path / "0.log.1.gz"
    content = cri(0, 30_000)
    path.write_bytes(gzip.compress(content))
    file = CompressedFile(opened(path), str(tmp_path / "0.log"), LogStream(CRI))
    key = FileKey(*file.inode, fingerprint(content[:500]), 500)
    half = len(cri(0, 15_000))
    file.resume(Position(key, "0.log", half))
    assert file.key == FileKey(*file.inode, fingerprint(content[:1024]), 1024)
    records = 0
    at_end = False
    while not at_end:
        portion = file.read_portion(1)
        records += portion.records
        at_end = portion.at_end
    assert records == 15_000
    assert (file.offset, file.damage, file.has_rest) == (len(content), "", False)
    file.close()


def test_its_open_record_goes_on_in_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "0.log.1.gz"
    path.write_bytes(gzip.compress(cri(0, 2) + cri(2, 4, "P")))
    file = CompressedFile(opened(path), str(tmp_path / "0.log"), LogStream(CRI))
    file.read_portion(1)
    assert file.open_lines((True, True)) == cri(2, 4, "P")
    file.close()


def test_less_than_was_read_before_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "0.log.1.gz"
    path.write_bytes(gzip.compress(cri(0, 2)))
    file = CompressedFile(opened(path), str(tmp_path / "0.log"), LogStream(CRI))
    file.resume(Position(file.key, "0.log", 1000))
    assert file.read_portion(1).at_end
    assert "1000 were read before" in file.damage
    file.close()


def config(folder: Path, *, acks: bool = True) -> Follower:
    keys = {"multiline.parser": "cri"}
    return make_follower(folder, keys, acks=acks, Path=f"{folder}/*.log", DB=f"{folder}/positions.db")


def numbers(follower: Follower) -> list[int]:
    return [int(text.removeprefix("n=")) for text in follower.intake.texts()]


async def first_run(folder: Path, *, acked: int) -> None:
    """Reads 0.log, of which `acked` chunks are delivered."""
    log = folder / "0.log"
    log.write_bytes(b"")
    async with running(config(folder, acks=False)) as first:
        with log.open("ab", buffering=0) as writer:
            writer.write(cri(0, 50))
            await first.intake.wait_for(50)
            writer.write(cri(50, 100))
            await first.intake.wait_for(100)
        first.intake.ack(acked)


def rotate(log: Path, name: str, start: int, stop: int, *, compressed: bool) -> None:
    rotated = Path(f"{log}.{name}")
    log.rename(rotated)
    log.write_bytes(cri(start, stop))
    if compressed:
        compress(rotated)


@pytest.mark.parametrize("acked", [0, 1, 2])
def test_compressed_generations_are_read_first_after_a_restart(tmp_path: Path, acked: int) -> None:
    async def follow() -> None:
        await first_run(tmp_path, acked=acked)
        log = tmp_path / "0.log"
        rotate(log, "20260101-000000", 100, 200, compressed=True)
        rotate(log, "20260102-000000", 200, 300, compressed=True)
        rotate(log, "20260103-000000", 300, 400, compressed=False)
        async with running(config(tmp_path)) as second:
            await second.intake.wait_for(400 - 50 * acked)
        assert numbers(second) == list(range(50 * acked, 400))
        async with running(config(tmp_path)) as third:
            with log.open("ab") as writer:
                writer.write(cri(400, 401))
            await third.intake.wait_for(1)
        assert numbers(third) == [400]

    asyncio.run(follow())


@pytest.mark.parametrize("has_room", [True, False])
def test_what_is_compressed_while_it_is_followed_is_not_read_again(tmp_path: Path, has_room: bool) -> None:
    """Nothing is acknowledged, so what was read of a file is known of its first bytes only."""

    async def follow() -> None:
        log = tmp_path / "0.log"
        log.write_bytes(b"")
        async with running(config(tmp_path, acks=False)) as follower:
            if not has_room:
                follower.intake.has_room.clear()
            for number in range(4):
                with log.open("ab") as writer:
                    writer.write(cri(number * 10, number * 10 + 10))
                await follower.until(lambda: is_open(log))
                log.rename(f"{log}.2026010{number}-000000")
                log.write_bytes(b"")
                if number:
                    compress(Path(f"{log}.2026010{number - 1}-000000"))
            follower.intake.has_room.set()
            await follower.intake.wait_for(40)
            for number in range(40, 43):
                log.rename(f"{log}.202602{number}-000000")
                log.write_bytes(cri(number, number + 1))
                await follower.intake.wait_for(number + 1)
        assert numbers(follower) == list(range(43))
        # Nothing was acknowledged: the next run has it all to read, from the compressed files.
        async with running(config(tmp_path)) as second:
            await second.intake.wait_for(43)
        assert numbers(second) == list(range(43))

    asyncio.run(follow())


def test_renamed_files_of_a_log_that_is_not_there_again(tmp_path: Path) -> None:
    async def follow() -> None:
        await first_run(tmp_path, acked=1)
        log = tmp_path / "0.log"
        rotate(log, "20260101-000000", 100, 200, compressed=True)
        log.rename(f"{log}.20260102-000000")
        async with running(config(tmp_path)) as second:
            await second.intake.wait_for(150)
            log.write_bytes(cri(200, 210))
            await second.intake.wait_for(160)
        assert numbers(second) == list(range(50, 210))

    asyncio.run(follow())


def is_open(path: Path) -> bool:
    """Whether this process holds the file, by its present name."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return str(path) in found


def test_a_damaged_one_is_told_counted_and_read_as_far_as_it_is_good(tmp_path: Path) -> None:
    async def follow() -> None:
        await first_run(tmp_path, acked=1)
        log = tmp_path / "0.log"
        rotate(log, "20260101-000000", 100, 101, compressed=True)
        os.truncate(f"{log}.20260101-000000.gz", os.stat(f"{log}.20260101-000000.gz").st_size - 40)
        async with running(config(tmp_path)) as second:
            await second.until(lambda: second.count("podwitness_tail_damaged_files_total") == 1)
            await second.intake.wait_until(lambda: "n=100" in second.intake.texts())
        *whole, cut, last = second.intake.texts()
        assert last == "n=100"
        assert cut.startswith("2026-01-01T"), "the line that ends in the middle is kept as it is"
        assert whole == [f"n={number}" for number in range(50, 50 + len(whole))]
        assert len(whole) > 20

    asyncio.run(follow())


def test_a_compressed_file_in_path_is_no_log(tmp_path: Path) -> None:
    async def follow() -> None:
        (tmp_path / "0.log.1.gz").write_bytes(gzip.compress(cri(0, 10)))
        keys = {"multiline.parser": "cri"}
        follower = make_follower(tmp_path, keys, Path=f"{tmp_path}/*", Read_from_Head="On")
        async with running(follower):
            (tmp_path / "1.log").write_bytes(cri(10, 11))
            await follower.intake.wait_for(1)
        assert numbers(follower) == [10]

    asyncio.run(follow())

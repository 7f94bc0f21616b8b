"""The tail input and files that are truncated, with a copy beside them (copytruncate) and without."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.tail_follower import append, lines, make_follower, run, running, texts


def test_copytruncate_is_noticed_and_counted(tmp_path: Path) -> None:
    async def follow() -> None:
        log = tmp_path / "a.log"
        async with running(make_follower(tmp_path, Path=f"{tmp_path}/*.log")) as follower:
            append(log, lines(0, 10))
            await follower.intake.wait_for(10)
            os.truncate(log, 0)
            append(log, lines(10, 12))
            await follower.intake.wait_for(12)
            # Longer than before, and the beginning is another: only the bytes tell.
            os.truncate(log, 0)
            append(log, lines(100, 200))
            await follower.intake.wait_for(112)
        assert follower.intake.texts() == texts(0, 12) + texts(100, 200)
        assert follower.count("podwitness_tail_files_truncated_total") == 2

    run(follow())


def copy_and_truncate(log: Path, copy: Path) -> None:
    copy.write_bytes(log.read_bytes())
    os.truncate(log, 0)


@pytest.mark.parametrize("stops", [True, False])
def test_a_copy_that_copytruncate_made_is_not_read_again(tmp_path: Path, stops: bool) -> None:
    """Whether the agent saw the truncation or only finds both at its start; then two rotations on."""

    async def follow() -> None:
        log, keys = tmp_path / "a.log", {"Path": f"{tmp_path}/*.log", "DB": f"{tmp_path}/positions.db"}
        append(log, lines(0, 1000))
        async with running(make_follower(tmp_path, {**keys, "Read_from_Head": "On"})) as first:
            await first.intake.wait_for(1000)
            if not stops:
                copy_and_truncate(log, tmp_path / "a.log.1")
                append(log, lines(1000, 1010))
                await first.intake.wait_for(1010)
        if stops:
            copy_and_truncate(log, tmp_path / "a.log.1")
            append(log, lines(1000, 1010))
        (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
        async with running(make_follower(tmp_path, keys)) as second:
            if stops:
                await second.intake.wait_for(10)
            copy_and_truncate(log, tmp_path / "a.log.1")
            append(log, lines(1010, 1020))
            await second.intake.wait_for(20 if stops else 10)
        assert first.intake.texts() + second.intake.texts() == texts(0, 1020)

    run(follow())


@pytest.mark.parametrize("compresses", [False, True])
def test_what_was_not_read_before_a_truncation_is_read_in_the_copy(tmp_path: Path, compresses: bool) -> None:
    async def follow() -> None:
        log, keys = tmp_path / "a.log", {"Path": f"{tmp_path}/*.log", "DB": f"{tmp_path}/positions.db"}
        async with running(make_follower(tmp_path, keys, acks=False)) as first:
            append(log, lines(0, 10))
            await first.intake.wait_for(10)
            first.intake.has_room.clear()
            append(log, lines(10, 30000))
            if compresses:
                (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
                os.truncate(log, 0)
            else:
                copy_and_truncate(log, tmp_path / "a.log.1")
            append(log, lines(30000, 30010))
            first.intake.has_room.set()
            await first.intake.wait_for(30010)
            assert first.intake.texts() == texts(0, 30010)
            # What was read before the truncation counts as delivered of the copy, too.
            first.intake.ack()
        async with running(make_follower(tmp_path, keys)) as second:
            append(log, lines(30010, 30011))
            await second.intake.wait_for(1)
        assert second.intake.texts() == texts(30010, 30011)

    run(follow())


def test_what_was_under_way_at_a_truncation_is_read_again_in_the_copy(tmp_path: Path) -> None:
    async def follow() -> None:
        log, keys = tmp_path / "a.log", {"Path": f"{tmp_path}/*.log", "DB": f"{tmp_path}/positions.db"}
        async with running(make_follower(tmp_path, keys, acks=False)) as first:
            append(log, lines(0, 10))
            await first.intake.wait_for(10)
            first.intake.ack()
            append(log, lines(10, 20))
            await first.intake.wait_for(20)
            copy_and_truncate(log, tmp_path / "a.log.1")
            append(log, lines(20, 30))
            await first.intake.wait_for(30)
        async with running(make_follower(tmp_path, keys)) as second:
            await second.intake.wait_for(20)
        assert second.intake.texts() == texts(10, 30)

    run(follow())


def test_what_was_sent_and_never_delivered_keeps_its_ids_in_the_copy(tmp_path: Path) -> None:
    """No position says that the copy, made while nobody looked, has what the log had."""

    async def follow() -> None:
        log, keys = tmp_path / "a.log", {"Path": f"{tmp_path}/*.log", "DB": f"{tmp_path}/positions.db"}
        async with running(make_follower(tmp_path, keys, acks=False)) as first:
            for number in range(0, 20, 10):
                append(log, lines(number, number + 10))
                await first.intake.wait_for(number + 10)
            sent = list(first.intake.chunks)
            for chunk in sent:
                assert chunk.stretch is not None
                chunk.stretch.keep()
        copy_and_truncate(log, tmp_path / "a.log.1")
        append(log, lines(20, 30))
        async with running(make_follower(tmp_path, keys)) as second:
            await second.intake.wait_for(30)
        again = second.intake.chunks[:-1]
        assert [(one.id, bytes(one.entries)) for one in again] == [
            (one.id, bytes(one.entries)) for one in sent
        ]

    run(follow())


def test_a_truncation_without_a_copy_leaves_chunks_that_can_not_be_read_again(tmp_path: Path) -> None:
    async def follow() -> None:
        log = tmp_path / "a.log"
        async with running(make_follower(tmp_path, acks=False, Path=f"{tmp_path}/*.log")) as follower:
            append(log, lines(0, 10))
            await follower.intake.wait_for(10)
            os.truncate(log, 0)
            append(log, lines(10, 12))
            await follower.intake.wait_for(12)
            assert [chunk.is_durable for chunk in follower.intake.chunks] == [False, True]

    run(follow())

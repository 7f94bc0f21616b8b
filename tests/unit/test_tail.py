"""The tail input as a whole (collector.inputs.tail), on real files."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from collector.config.schema import InvalidConfiguration
from collector.errors import ConfigError
from collector.inputs import tail
from collector.inputs.follow import FollowedFile
from collector.inputs.portion import Portion
from collector.inputs.tail import ARRIVALS, Tail
from collector.inputs.tail_files import Discovery
from tests.polling import until
from tests.tail_follower import DEADLINE_S, Follower, append, lines, make_follower, run, running, texts


async def has_opened(follower: Follower, count: int) -> None:
    await follower.until(lambda: follower.count("fluentbit_input_files_opened_total") >= count)


def test_what_is_there_begins_at_the_end_and_what_comes_at_the_head(tmp_path: Path) -> None:
    async def follow() -> None:
        old, new = tmp_path / "old.log", tmp_path / "new.log"
        old.write_bytes(lines(0, 3) + b"unfinished")
        async with running(make_follower(tmp_path, Path=f"{tmp_path}/*.log")) as follower:
            append(old, b" line\n")
            append(new, lines(0, 2))
            append(new, lines(2, 3))
            await follower.intake.wait_for(4)
        assert follower.intake.by_tag() == {
            f"t{old}".replace("/", "."): ["unfinished line"],
            f"t{new}".replace("/", "."): texts(0, 3),
        }

    run(follow())


def test_a_search_for_files_that_breaks_ends_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the agent would go on, look well, and find no file any more."""

    def broken(discovery: Discovery, wait_s: float) -> bool:
        raise LookupError("broken")

    async def follow() -> None:
        monkeypatch.setattr(Discovery, "_take_events", broken)
        follower = make_follower(tmp_path, Path=f"{tmp_path}/*.log")
        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(follower.tail.run(asyncio.Event()), DEADLINE_S)
        assert raised.group_contains(LookupError, match="broken")

    run(follow())


def test_from_the_head_when_asked(tmp_path: Path) -> None:
    async def follow() -> None:
        (tmp_path / "a.log").write_bytes(lines(0, 20000))
        config = make_follower(tmp_path, Path=f"{tmp_path}/*.log", Read_from_Head="On", Path_Key="file")
        async with running(config) as follower:
            await follower.intake.wait_for(20000)
        assert follower.intake.texts() == texts(0, 20000)
        assert follower.intake.records[0]["file"] == str(tmp_path / "a.log")

    run(follow())


@pytest.mark.parametrize("acks", [True, False])
def test_a_restart_goes_on_where_delivery_was(tmp_path: Path, acks: bool) -> None:
    async def follow() -> None:
        log, db = tmp_path / "a.log", f"{tmp_path}/positions.db"
        keys = {"Path": f"{tmp_path}/*.log", "DB": db}
        log.write_bytes(lines(0, 10))
        async with running(make_follower(tmp_path, keys, acks=acks)) as first:
            append(log, lines(10, 20))
            await first.intake.wait_for(10)
        append(log, lines(20, 30))
        (tmp_path / "meanwhile.log").write_bytes(lines(0, 5))
        async with running(make_follower(tmp_path, keys)) as second:
            await second.intake.wait_for(15 if acks else 25)
        again = texts(20, 30) if acks else texts(10, 30)
        assert sorted(second.intake.texts()) == sorted(again + texts(0, 5))

    run(follow())


def test_rotation_by_rename_is_read_in_order(tmp_path: Path) -> None:
    async def follow() -> None:
        log = tmp_path / "0.log"
        async with running(make_follower(tmp_path, Path=f"{tmp_path}/*.log")) as follower:
            writer = log.open("ab", buffering=0)
            writer.write(lines(0, 10))
            log.rename(tmp_path / "0.log.20260101-000000")
            writer.write(lines(10, 20))
            following = log.open("ab", buffering=0)
            following.write(lines(25, 30))
            writer.write(lines(20, 25))
            writer.close()
            await follower.intake.wait_for(30)
            following.write(lines(30, 31))
            await follower.intake.wait_for(31)
            following.close()
        assert follower.intake.texts() == texts(0, 31)
        assert follower.count("fluentbit_input_files_rotated_total") == 1

    run(follow())


def test_rename_over_as_cri_o_does_it(tmp_path: Path) -> None:
    async def follow() -> None:
        log = tmp_path / "0.log"
        log.write_bytes(b"")
        async with running(make_follower(tmp_path, Path=f"{tmp_path}/*.log")) as follower:
            for number in range(10):
                append(log, lines(number * 10, number * 10 + 5))
                (tmp_path / "0.log.tmp").write_bytes(lines(number * 10 + 5, number * 10 + 10))
                (tmp_path / "0.log.tmp").rename(log)
                await has_opened(follower, number + 2)
            await follower.intake.wait_for(100)
        assert follower.intake.texts() == texts(0, 100)

    run(follow())


def test_rotated_files_are_read_first_after_a_restart(tmp_path: Path) -> None:
    async def follow() -> None:
        log, db = tmp_path / "0.log", f"{tmp_path}/positions.db"
        keys = {"Path": f"{tmp_path}/*.log", "DB": db}
        async with running(make_follower(tmp_path, keys)) as first:
            append(log, lines(0, 10))
            await first.intake.wait_for(10)
        append(log, lines(10, 20))
        log.rename(tmp_path / "0.log.20260101-000000")
        append(log, lines(20, 30))
        log.rename(tmp_path / "0.log.20260101-000010")
        append(log, lines(30, 40))
        async with running(make_follower(tmp_path, keys)) as second:
            await second.intake.wait_for(30)
        assert second.intake.texts() == texts(10, 40)
        async with running(make_follower(tmp_path, keys)) as third:
            append(log, lines(40, 41))
            await third.intake.wait_for(1)
        assert third.intake.texts() == texts(40, 41)

    run(follow())


def test_a_deleted_file_is_read_to_its_end_and_its_last_line_delivered(tmp_path: Path) -> None:
    async def follow() -> None:
        log = tmp_path / "a.log"
        async with running(make_follower(tmp_path, Path=f"{tmp_path}/*.log")) as follower:
            log.touch()
            await follower.until(lambda: follower.count("fluentbit_input_files_opened_total") == 1)
            follower.intake.has_room.clear()
            append(log, lines(0, 50000) + b"no newline")
            log.unlink()
            follower.intake.has_room.set()
            await follower.intake.wait_for(50001)
            await follower.until(lambda: follower.count("fluentbit_input_files_closed_total") == 1)
        assert follower.intake.texts() == [*texts(0, 50000), "no newline"]

    run(follow())


def test_at_the_end_deleted_files_are_still_read(tmp_path: Path) -> None:
    async def follow() -> Follower:
        log = tmp_path / "a.log"
        async with running(make_follower(tmp_path, Path=f"{tmp_path}/*.log")) as follower:
            append(log, lines(0, 10))
            await follower.intake.wait_for(10)
            follower.intake.has_room.clear()
            with log.open("ab") as writer:
                log.unlink()
                writer.write(lines(10, 100000))
        return follower

    assert asyncio.run(follow()).intake.texts() == texts(0, 100000)


def test_a_reused_inode_is_a_new_file(tmp_path: Path) -> None:
    async def follow() -> None:
        db = f"{tmp_path}/positions.db"
        keys = {"Path": f"{tmp_path}/*.log", "DB": db}
        log = tmp_path / "a.log"
        async with running(make_follower(tmp_path, keys)) as first:
            append(log, lines(0, 10))
            await first.intake.wait_for(10)
        # The same inode with another content is what a reused inode is to the agent.
        log.write_bytes(lines(50, 70))
        async with running(make_follower(tmp_path, keys)) as second:
            await second.intake.wait_for(20)
        assert second.intake.texts() == texts(50, 70)

    run(follow())


def test_a_file_under_two_names_is_one_file(tmp_path: Path) -> None:
    async def follow() -> None:
        (tmp_path / "links").mkdir()
        log = tmp_path / "a.log"
        config = make_follower(tmp_path, Path=f"{tmp_path}/*.log,{tmp_path}/links/*.log")
        async with running(config) as follower:
            append(log, lines(0, 10))
            await follower.intake.wait_for(10)
            (tmp_path / "links" / "b.log").symlink_to(log)
            append(log, lines(10, 20))
            await follower.intake.wait_for(20)
        assert follower.intake.texts() == texts(0, 20)
        assert follower.count("fluentbit_input_files_opened_total") == 1

    run(follow())


def test_old_files_are_left_alone(tmp_path: Path) -> None:
    async def follow() -> None:
        old = tmp_path / "old.log"
        old.write_bytes(lines(0, 10))
        os.utime(old, (1, 1))
        config = make_follower(
            tmp_path,
            Path=f"{tmp_path}/*.log",
            Read_from_Head="On",
            Ignore_Older="1h",
            Refresh_Interval="0.05",
        )
        async with running(config) as follower:
            append(tmp_path / "new.log", lines(0, 1))
            await follower.intake.wait_for(1)
            assert follower.count("fluentbit_input_files_opened_total") == 1
            append(old, lines(10, 11))
            await follower.intake.wait_for(12)

    run(follow())


def test_while_there_is_no_room_files_wait_on_disk(tmp_path: Path) -> None:
    async def follow() -> None:
        async with running(make_follower(tmp_path, Path=f"{tmp_path}/*.log")) as follower:
            logs = [tmp_path / f"{number}.log" for number in range(20)]
            for log in logs:
                log.touch()
            await follower.until(lambda: follower.count("fluentbit_input_files_opened_total") == 20)
            follower.intake.has_room.clear()
            for log in logs:
                append(log, lines(0, 1000))
                log.rename(f"{log}.1")
                append(log, lines(1000, 2000))
            follower.intake.has_room.set()
            await follower.intake.wait_for(40000)
        assert all(found == texts(0, 2000) for found in follower.intake.by_tag().values())
        assert len(follower.intake.by_tag()) == 20

    run(follow())


def test_chunk_ids_are_those_of_the_bytes(tmp_path: Path) -> None:
    async def follow() -> set[bytes]:
        config = make_follower(tmp_path, Path=f"{tmp_path}/*.log", Read_from_Head="On")
        async with running(config) as follower:
            await follower.intake.wait_for(100000)
        return {chunk.id for chunk in follower.intake.chunks}

    (tmp_path / "a.log").write_bytes(lines(0, 100000))
    first, second = asyncio.run(follow()), asyncio.run(follow())
    assert first == second
    assert len(first) > 1


def test_a_file_that_can_not_be_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = FollowedFile.read_portion
    failing = [True]

    def fail(file: FollowedFile, now_ns: int, *, end: bool = False) -> Portion:
        if failing and file.offset:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return usual(file, now_ns, end=end)

    async def follow() -> None:
        log = tmp_path / "a.log"
        async with running(
            make_follower(tmp_path, Path=f"{tmp_path}/*.log", Refresh_Interval="0.05")
        ) as follower:
            append(log, lines(0, 2))
            await follower.intake.wait_for(2)
            append(log, lines(2, 4))
            await follower.until(lambda: follower.count("podwitness_tail_read_errors_total") > 1)
            failing.clear()
            await follower.intake.wait_for(4)
        assert follower.intake.texts() == texts(0, 4)

    monkeypatch.setattr(FollowedFile, "read_portion", fail)
    run(follow())


def test_what_is_open_where_a_file_can_not_be_read_on_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = FollowedFile.read_portion
    failing: list[bool] = []

    def fail(file: FollowedFile, now_ns: int, *, end: bool = False) -> Portion:
        if failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return usual(file, now_ns, end=end)

    def line(tag: str, text: str) -> bytes:
        return f"2026-01-01T00:00:00.000000001Z stdout {tag} {text}\n".encode()

    async def follow() -> None:
        log = tmp_path / "a.log"
        keys = {"Path": f"{tmp_path}/*.log", "Refresh_Interval": "0.05", "multiline.parser": "cri"}
        async with running(make_follower(tmp_path, keys)) as follower:
            append(log, line("F", "one") + line("P", "two and "))
            await follower.intake.wait_for(1)
            failing.append(True)
            append(log, line("F", "three"))
            await follower.until(lambda: follower.count("podwitness_tail_read_errors_total") > 1)
            failing.clear()
            await follower.intake.wait_for(2)
        assert follower.intake.texts() == ["one", "two and three"]

    monkeypatch.setattr(FollowedFile, "read_portion", fail)
    run(follow())


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"Path": " "}, "Path"),
        ({"Path": "/x", "Refresh_Interval": "0"}, "Refresh_Interval"),
        ({"Path": "/x", "multiline.parser": "jave"}, "jave"),
        ({"Path": "/x", "Parser": "nothing"}, "nothing"),
    ],
)
def test_what_is_wrong_in_the_configuration_is_named(tmp_path: Path, keys: dict[str, str], word: str) -> None:
    with pytest.raises((InvalidConfiguration, ConfigError), match=word):
        make_follower(tmp_path, keys)


def test_without_inotify_everything_is_looked_at_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.tail_files.POLL_S", 0.02)
    monkeypatch.setattr("collector.inputs.tail.POLL_S", 0.02)

    async def follow() -> None:
        log = tmp_path / "a.log"
        keys = {"Path": f"{tmp_path}/*.log", "Inotify_Watcher": "Off"}
        async with running(make_follower(tmp_path, keys)) as follower:
            assert not [fd for fd in os.listdir("/proc/self/fd") if "inotify" in link_of(fd)]
            append(log, lines(0, 2))
            await follower.intake.wait_for(2)
            append(log, lines(2, 4))
            await follower.intake.wait_for(4)
            log.rename(f"{log}.1")
            append(log, lines(4, 5))
            await follower.intake.wait_for(5)
        assert follower.intake.texts() == texts(0, 5)

    run(follow())


def link_of(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def test_the_agent_stops_when_all_is_read_if_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", told.append)

    async def follow() -> None:
        for name in "ab":
            (tmp_path / f"{name}.log").write_bytes(lines(0, 20_000))
        keys = {"Path": f"{tmp_path}/*.log", "Exit_On_Eof": "On", "Read_from_Head": "On"}
        async with running(make_follower(tmp_path, keys)) as follower:
            await follower.until(lambda: bool(told))
            assert len(follower.intake.texts()) == 40_000
            append(tmp_path / "a.log", lines(0, 1))
            await follower.intake.wait_for(40_001)
        assert told == [signal.SIGTERM]

    run(follow())


def test_tag_regex_and_offset_key(tmp_path: Path) -> None:
    async def follow() -> None:
        keys = {"Path": f"{tmp_path}/*.log", "Tag_Regex": r"(?<name>[a-z]+)\.log$", "Offset_Key": "at"}
        async with running(make_follower(tmp_path, keys, tag="app.<name>")) as follower:
            append(tmp_path / "web.log", lines(0, 3))
            await follower.intake.wait_for(3)
        assert set(follower.intake.by_tag()) == {"app.web"}
        assert [record["at"] for record in follower.intake.records] == [0, 7, 14]

    run(follow())


def test_long_lines_are_counted_when_they_are_left_out(tmp_path: Path) -> None:
    async def follow() -> None:
        keys = {"Path": f"{tmp_path}/*.log", "Skip_Long_Lines": "On"}
        async with running(make_follower(tmp_path, keys)) as follower:
            append(tmp_path / "a.log", lines(0, 1) + b"x" * (3 << 20) + b"\n" + lines(1, 2))
            await follower.intake.wait_for(2)
        assert follower.intake.texts() == texts(0, 2)
        assert follower.count("podwitness_tail_skipped_lines_total") == 1
        assert follower.count("podwitness_tail_skipped_bytes_total") == 3 << 20

    run(follow())


def test_many_new_files_leave_others_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another task looks how many files were begun whenever it may run: never many more than before."""
    count = 300
    for number in range(count):
        (tmp_path / f"{number}.log").write_bytes(lines(0, 1))

    async def follow() -> None:
        follower = make_follower(tmp_path, Path=f"{tmp_path}/*.log", Read_from_Head="On")
        steps = []
        start = Discovery.start

        def start_and_find_all(discovery: Discovery) -> None:
            start(discovery)
            until(lambda: follower.tail._has_scanned, every_s=0.001)

        monkeypatch.setattr(Discovery, "start", start_and_find_all)
        monkeypatch.setattr(tail, "ALONE_S", 0.0)

        async def look() -> None:
            begun = 0.0
            while begun < count:
                await asyncio.sleep(0)
                now = follower.count("fluentbit_input_files_opened_total")
                steps.append(now - begun)
                begun = now

        looking = asyncio.create_task(look())
        async with running(follower):
            await follower.intake.wait_for(count)
            await asyncio.wait_for(looking, 20)
        # A turn that waits for nothing begins as many again.
        assert max(steps) <= 4 * ARRIVALS

    run(follow())


def test_an_input_that_can_not_begin_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(tail: Tail) -> None:
        raise OSError("no thread can be started")

    async def scenario() -> None:
        follower = make_follower(tmp_path, {"Path": f"{tmp_path}/*.log"})
        monkeypatch.setattr(Tail, "_discovery", refuse)
        await follower.tail.run(asyncio.Event())

    with pytest.raises(ExceptionGroup):
        asyncio.run(scenario())
    assert "tail.0" not in {thread.name for thread in threading.enumerate()}


def test_the_end_does_not_hold_up_the_process_while_a_file_is_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a read on a disk that hangs."""
    reading, goes_on = threading.Event(), threading.Event()
    was_held_up: list[bool] = []

    def read_portion(file: FollowedFile, now_ns: int, *, end: bool = False) -> None:
        reading.set()
        was_held_up.append(not goes_on.wait(10))
        raise OSError("a bad disk")

    (tmp_path / "a.log").write_bytes(lines(0, 10_000))
    monkeypatch.setattr(FollowedFile, "read_portion", read_portion)

    async def scenario() -> None:
        follower = make_follower(tmp_path, {"Path": f"{tmp_path}/*.log", "Read_from_Head": "On"})
        task = asyncio.create_task(follower.tail.run(asyncio.Event()))
        await follower.until(reading.is_set)
        task.cancel()
        asyncio.get_running_loop().call_later(0.02, goes_on.set)
        await asyncio.wait((task,), timeout=30)
        assert task.done()

    asyncio.run(scenario())
    assert was_held_up == [False]

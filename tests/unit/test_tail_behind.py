"""Files that have more than is read, and get their turn again though nothing happens to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.inputs.follow import FollowedFile
from tests.tail_follower import append, lines, make_follower, run, running


def test_a_line_without_its_end_is_looked_at_again_and_what_is_read_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.file_events.LOOKED_AT_LEAST", 0)
    monkeypatch.setattr("collector.inputs.file_events.LOOKED_AT_A_SECOND", 0)

    async def follow() -> None:
        keys = {"Path": f"{tmp_path}/*.log", "Refresh_Interval": "0.02", "Read_from_Head": "On"}
        read, behind = tmp_path / "read.log", tmp_path / "behind.log"
        append(read, lines(0, 1))
        append(behind, lines(1, 2) + b"no end")
        async with running(make_follower(tmp_path, keys)) as follower:
            await follower.intake.wait_for(2)
            files = [follower.tail.followed_file(*inode_of(path)) for path in (read, behind)]
            for _ in range(3):
                before_s = turns_s(files)
                await follower.until(lambda: turns_s(files)[1] > before_s[1])  # noqa: B023
                assert turns_s(files)[0] == before_s[0]

    run(follow())


def turns_s(files: list[FollowedFile | None]) -> list[float]:
    return [file.turned_s for file in files if file]


def inode_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino

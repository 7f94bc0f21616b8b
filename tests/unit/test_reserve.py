"""The reserve: taken once, given up once, refused by a full disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from collector.delivery.reserve import Reserve


def test_taken_and_given_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 100_000)
    assert not reserve.give_up()
    for _ in range(2):
        reserve.take()
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= 100_000
    assert reserve.give_up()
    assert not reserve.give_up()


def test_a_full_disk_has_none_and_keeps_no_part_of_it(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        with pytest.raises(OSError, match="No space left"):
            Reserve(tmp_path / "reserve", 100_000).take()
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)

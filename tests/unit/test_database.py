"""What databases of delivery share: positions as rows, and setting a damaged file aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.delivery.chunk import FileKey, Position
from collector.delivery.database import position_of, position_row, set_aside, signed


@pytest.mark.parametrize("inode", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_position_comes_back_from_its_row(inode: int) -> None:
    position = Position(FileKey(5, inode, b"f" * 16, 64), "/var/log/\udcff", 9, (3, -1), "cursor")
    assert position_of(position_row(position)) == position
    assert -(2**63) <= signed(inode) < 2**63


def test_all_that_belongs_to_a_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for suffix in ("", "-wal"):
        (tmp_path / f"a.db{suffix}").write_text(suffix)
    aside = set_aside(path)
    assert {one.name for one in tmp_path.iterdir()} == {aside.name, f"{aside.name}-wal"}
    assert aside.name.startswith("a.db.corrupt-")

"""collector.delivery.inherited: which of two positions is of the file that has the inode now."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from collector.delivery.chunk import FileKey, Position, fingerprint
from collector.delivery.inherited import present
from collector.delivery.positions import PositionStores
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.unit.test_positions import LOG

OLD, NEW = b"old " * 40, b"new " * 10


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Has the inode that another file had before."""
    path = tmp_path / "a.log"
    path.write_bytes(NEW)
    return path


def position(log: Path, head: bytes, offset: int) -> Position:
    status = os.stat(log)
    key = FileKey(status.st_dev, status.st_ino, fingerprint(head), len(head))
    return Position(key, str(log), offset)


@pytest.mark.parametrize("is_known_new", [True, False])
def test_the_file_that_is_there_decides_between_two_that_had_its_inode(log: Path, is_known_new: bool) -> None:
    old, new = position(log, OLD, len(OLD)), position(log, NEW, 10)
    assert present(*((new, old) if is_known_new else (old, new))) is new


def test_a_log_that_was_renamed_is_found_beside_its_former_place(log: Path) -> None:
    old, new = position(log, OLD, len(OLD)), position(log, NEW, 10)
    log.rename(log.with_suffix(".log.20260102-030405"))
    assert present(old, new) is new


def test_a_log_is_looked_for_where_a_link_leads(log: Path) -> None:
    link = log.parent / "links" / "a.log"
    link.parent.mkdir()
    link.symlink_to(log)
    old, new = position(log, OLD, len(OLD)), position(log, NEW, 10)
    linked = [Position(one.file, str(link), one.offset) for one in (old, new)]
    assert present(*linked) == linked[1]


@pytest.mark.parametrize("offsets", [(10, 20), (20, 10)])
def test_of_one_file_that_grew_the_further_counts(log: Path, offsets: tuple[int, int]) -> None:
    found = present(position(log, NEW[:12], offsets[0]), position(log, NEW, offsets[1]))
    assert found.offset == 20


def test_of_a_file_that_is_gone_the_further_counts(log: Path) -> None:
    old, new = position(log, OLD, len(OLD)), position(log, NEW, 10)
    log.unlink()
    assert present(new, old) is old


def test_the_position_of_the_file_that_is_there_is_kept_for_the_next_start(log: Path, tmp_path: Path) -> None:
    """Though the spool has one that is further, of the file before."""
    database, new = str(tmp_path / "tail.db"), position(log, NEW, 10)
    inherited = [("tail.0", position(log, OLD, len(OLD)))]
    stores = PositionStores(log=LOG, metrics=Metrics(TABLE))
    stores.open("tail.0", database).record(new)
    stores.close()
    stores = PositionStores(log=LOG, metrics=Metrics(TABLE), inherited=inherited)
    assert stores.open("tail.0", database).load(new.file) == new
    asyncio.run(stores.commit())
    stores.close()
    stores = PositionStores(log=LOG, metrics=Metrics(TABLE))
    assert stores.open("tail.0", database).load(new.file) == new
    stores.close()

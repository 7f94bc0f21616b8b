"""What the storage keys of [SERVICE] become."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.config.service import ServiceSettings
from collector.delivery.losses import Untold
from collector.delivery.spool import FILE_NAME, RESERVE_NAME
from collector.delivery.spool_rows import Addition, Place
from collector.delivery.spool_schema import SpoolUnusable
from collector.delivery.storage import open_storage
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.unit.chunks import chunk_of
from tests.unit.routing import Recorder, never
from tests.unit.spool_routing import spooled, to
from tests.unit.spooled import event, opened


def test_without_a_path_there_is_nothing() -> None:
    storage = open_storage(ServiceSettings(), metrics=Metrics(TABLE), log=logging.getLogger("test"))
    assert (storage.spool, storage.rejected) == (None, None)


def test_every_key_counts(tmp_path: Path) -> None:
    service = ServiceSettings(
        storage_path=str(tmp_path / "spool"),
        storage_sync="full",
        storage_max_chunks_up=7,
        storage_backlog_bytes=9,
        storage_keep_rejected=True,
        storage_rejected_path="dead",
        storage_checksum=True,
    )
    storage = open_storage(service, metrics=Metrics(TABLE), log=logging.getLogger("test"))
    assert storage.spool is not None
    assert storage.rejected is not None
    assert (storage.bounds.backlog_bytes, storage.bounds.chunks_up) == (9, 7)
    assert storage.spool._database.execute("PRAGMA synchronous").fetchone() == (2,)
    storage.spool.write([Addition(chunk_of({"n": 1}), ("a",))], places={"a": Place(1 << 20)})
    storage.spool._database.execute("UPDATE chunks SET entries = x'00'")
    assert len(storage.spool.read("a", after=0, max_bytes=1, max_chunks=1).damaged) == 1
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    asyncio.run(storage.rejected.keep(chunk_of({"n": 1}), "http.0", "400"))
    assert len(list((tmp_path / "spool" / "dead").glob("*.forward"))) == 1
    storage.spool.close()


def test_rejected_chunks_need_a_path() -> None:
    with pytest.raises(ValueError, match=r"storage\.path"):
        ServiceSettings(storage_keep_rejected=True)


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """Of 20 MB; what is mounted there is taken away again."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "others").open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


def test_a_damaged_spool_on_a_disk_that_is_read_only_is_told_to_the_operator(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as folder:
        (folder / FILE_NAME).write_bytes(b"no database")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        with pytest.raises(SpoolUnusable, match=r"Read-only.*storage\.path can be written"):
            opened(folder)


def test_a_full_disk_without_a_reserve_keeps_nobody_from_starting_as_before(tmp_path: Path) -> None:
    """Others have filled it. What is beyond a smaller bound waits until there is room to remove it."""

    async def start(folder: Path) -> None:
        async with spooled(folder, to(Recorder(behave=never()), "a", limit=1_000_000)) as house:
            assert house.loss("storage_limit") == 0
            (folder / "others").unlink()
            await house.until(lambda: house.loss("storage_limit") > 0)

    with disk(tmp_path / "disk") as folder:
        spool = opened(folder)
        spool.adopt({"a": bool}, {"a": Untold()})
        for number in range(50):
            spool.write([Addition(event(number, size=100_000), ("a",))], places={"a": Place(1 << 30)})
        spool.close()
        (folder / RESERVE_NAME).unlink()
        fill(folder)
        spool = opened(folder)
        with pytest.raises(SpoolUnusable, match="has room"):
            spool.adopt({"b": bool})
        spool.close()
        asyncio.run(start(folder))

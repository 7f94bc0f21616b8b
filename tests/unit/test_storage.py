"""What the storage keys of [SERVICE] become."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from collector.config.service import ServiceSettings
from collector.delivery.spool_rows import Addition, Place
from collector.delivery.storage import open_storage
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.unit.chunks import chunk_of


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

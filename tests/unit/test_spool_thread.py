"""The spool's thread: what it refuses is counted and said now and then; of damage it tells."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path

import pytest

from collector.delivery import spool_thread
from collector.delivery.spool import SpoolDamaged
from collector.delivery.spool_thread import SpoolThread
from collector.service.metrics import Metrics
from collector.service.table import TABLE


def full() -> int:
    raise sqlite3.OperationalError("database or disk is full")


def damaged() -> int:
    raise SpoolDamaged(Path("/spool/aside"), sqlite3.DatabaseError("malformed"))


def never_told(reason: SpoolDamaged) -> None:
    pytest.fail(str(reason))


def test_work_is_done_elsewhere_and_gives_what_it_returns() -> None:
    async def scenario() -> None:
        thread = SpoolThread(
            Path("/spool"), never_told, metrics=Metrics(TABLE), log=logging.getLogger("test")
        )
        assert await thread.call(threading.get_ident) not in (None, threading.get_ident())
        ended: list[int] = []
        await thread.end(lambda: ended.append(threading.get_ident()))
        assert ended != [threading.get_ident()]

    asyncio.run(scenario())


def test_work_is_done_though_who_asked_for_it_is_cancelled_before_it_begins() -> None:
    done: list[int] = []

    async def scenario() -> None:
        thread = SpoolThread(
            Path("/spool"), never_told, metrics=Metrics(TABLE), log=logging.getLogger("test")
        )
        free = threading.Event()
        busy = asyncio.create_task(thread.call(free.wait))
        await asyncio.sleep(0)
        asked = asyncio.create_task(thread.call(lambda: done.append(1)))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait((asked,))
        free.set()
        await busy
        await thread.end(lambda: None)

    asyncio.run(scenario())
    assert done


def test_what_is_refused_is_counted_each_time_and_said_once_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        metrics = Metrics(TABLE)
        thread = SpoolThread(Path("/spool"), never_told, metrics=metrics, log=logging.getLogger("test"))
        assert [await thread.call(full) for _ in range(3)] == [None] * 3
        assert metrics.total("podwitness_spool_failures_total") == 3
        assert len(caplog.messages) == 1
        assert "/spool can't be used (database or disk is full)" in caplog.text
        monkeypatch.setattr(spool_thread, "COMPLAIN_EVERY_S", 0.0)
        await thread.call(full)
        assert len(caplog.messages) == 2

    asyncio.run(scenario())


def test_of_damage_is_told() -> None:
    async def scenario() -> None:
        told: list[SpoolDamaged] = []
        metrics = Metrics(TABLE)
        thread = SpoolThread(Path("/spool"), told.append, metrics=metrics, log=logging.getLogger("test"))
        assert await thread.call(damaged) is None
        assert [reason.aside for reason in told] == [Path("/spool/aside")]
        assert metrics.total("podwitness_spool_failures_total") == 0

    asyncio.run(scenario())

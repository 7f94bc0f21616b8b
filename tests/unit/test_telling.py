"""Losses on their way: one chunk at a time, told again when it was not delivered."""

from __future__ import annotations

import logging

import pytest

from collector.delivery.lanes import Ticket
from collector.delivery.losses import LOSS_TAG, Loss
from collector.delivery.telling import Telling
from collector.entries import unpack_entries
from collector.service.metrics import Metrics
from collector.service.table import TABLE


def made() -> Telling:
    return Telling("node-1", metrics=Metrics(TABLE), log=logging.getLogger("test"))


def loss(records: int = 1) -> Loss:
    return Loss("shed", records, 10, "kernel.network", "out.0")


def test_one_at_a_time_and_again_when_no_output_took_it() -> None:
    telling = made()
    assert telling.chunk() is None
    telling.report(loss())
    chunk = telling.chunk()
    assert chunk is not None
    assert (chunk.tag, chunk.records) == (LOSS_TAG, 1)
    ticket = Ticket(chunk, 100, 1)
    telling.sent(ticket)
    telling.report(loss(2))
    assert telling.chunk() is None
    assert telling.is_telling(ticket)
    telling.finished(ticket)
    again = telling.chunk()
    assert again is not None
    ((_, pairs),) = unpack_entries(again.entries)
    assert dict(pairs)["podwitness"]["loss"]["records"] == 3
    second = Ticket(again, 100, 1, delivered=1)
    telling.sent(second)
    telling.finished(second)
    assert not telling.has_news


def test_said_once(caplog: pytest.LogCaptureFixture) -> None:
    telling = made()
    for _ in range(3):
        telling.report(loss())
    telling.say()
    telling.say()
    assert caplog.messages == ["out.0 lost 3 records (shed)"]

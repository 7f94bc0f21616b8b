"""Chunks as rows and back."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from collector.delivery.chunk import Worth
from collector.delivery.losses import entry, row_loss
from collector.delivery.spool_rows import ROW_BYTES, chunk_of, packed_tag, refused, tag_of, wall_clock_ns
from tests.unit.spooled import event, position_of


def test_a_tag_need_not_be_utf_8() -> None:
    assert tag_of(packed_tag("kube.\udcff.ü")) == "kube.\udcff.ü"


def test_the_age_of_a_chunk_survives_another_boot() -> None:
    made = replace(event(1), created_ns=time.monotonic_ns() - 10**9)
    row = refused(made, "a", 1256)
    assert abs(row.created_ns - (time.time_ns() - 10**9)) < 10**8
    assert row.created_ns - wall_clock_ns(made) < 10**8
    back = chunk_of(row, made.id, made.worth, bytes(made.entries))
    assert abs(back.created_ns - made.created_ns) < 10**8
    assert (back.worth, back.position) == (Worth.WITNESS, None)


def test_a_loss_names_the_range_of_a_file() -> None:
    of_file = replace(event(7), position=position_of(7), raw_bytes=1000)
    loss = row_loss(refused(of_file, "a", 1000 + ROW_BYTES), "storage_limit")
    assert (loss.path, loss.from_offset, loss.to_offset) == ("/var/log/a", 6000, 7000)
    assert (loss.records, loss.size_bytes, loss.output) == (1, 1000, "a")
    loss = row_loss(refused(event(7), "a", 1000 + ROW_BYTES), "storage_limit")
    assert (loss.path, loss.from_offset) == ("", -1)


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_a_clock_that_jumps_changes_the_age_only(monkeypatch: pytest.MonkeyPatch, jump_s: int) -> None:
    made = event(1)
    row = refused(made, "a", 1256)
    now_ns = time.time_ns() + jump_s * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    back = chunk_of(row, made.id, made.worth, bytes(made.entries))
    assert (back.id, back.entries, back.records) == (made.id, made.entries, made.records)
    loss = row_loss(row, "storage_limit")
    assert loss.since_ns == row.created_ns
    assert entry(loss, "node-1", now_ns)

"""The journal input, on real journal files: records, tags, and the place over a restart."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.delivery.chunk import Chunk, FileKey
from collector.delivery.losses import Loss
from collector.delivery.positions import FOREIGN_DEVICE, Positions
from collector.entries import unpack_entries
from collector.filters.chain import FilterChain
from collector.inputs import systemd
from collector.inputs.journal import MAX_FIELD_BYTES, Journal
from collector.inputs.systemd import Settings, Systemd, record_of
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.journal_files import START_US, export, write_journal

Read = list[tuple[str, int, dict[str, Any]]]


class Collected:
    """An intake that keeps what it is given and tells when enough is there."""

    def __init__(self, wanted: int) -> None:
        self.chunks: list[Chunk] = []
        self.losses: list[Loss] = []
        self.enough = asyncio.Event()
        self._wanted = wanted

    async def submit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if sum(chunk.records for chunk in self.chunks) >= self._wanted:
            self.enough.set()

    def offer(self, chunk: Chunk) -> bool:
        raise AssertionError("the journal waits for room")

    def report_loss(self, loss: Loss) -> None:
        self.losses.append(loss)


def context_of(intake: Collected, positions: Callable[[str | None], Positions], tag: str) -> Any:
    return SimpleNamespace(
        plugin=SimpleNamespace(tag=tag, name="systemd.0"),
        document=SimpleNamespace(service=SimpleNamespace(host_root="/")),
        name="systemd.0",
        chain=FilterChain(()),
        intake=intake,
        metrics=Metrics(TABLE),
        log=logging.getLogger("test"),
        positions=lambda path, modes: positions(path),
        report=lambda *_: None,
    )


def store(path: str | None) -> Positions:
    return Positions(Path(path) if path else None, log=logging.getLogger("test"), metrics=Metrics(TABLE))


def collect(
    settings: Settings, wanted: int, tag: str = "host.*", positions: Positions | None = None
) -> Collected:
    """Runs the input until `wanted` records are there; all that was handed over counts as delivered."""

    async def work() -> Collected:
        intake, stop = Collected(wanted), asyncio.Event()
        known = positions or store(None)
        task = asyncio.create_task(Systemd(settings, context_of(intake, lambda _: known, tag)).run(stop))
        await asyncio.wait_for(intake.enough.wait(), 20)
        stop.set()
        await task
        for chunk in intake.chunks:
            if chunk.position is not None:
                known.record(chunk.position)
        return intake

    return asyncio.run(work())


def read(settings: Settings, wanted: int, tag: str = "host.*", positions: Positions | None = None) -> Read:
    return [
        (chunk.tag, time_ns, dict(pairs))
        for chunk in collect(settings, wanted, tag, positions).chunks
        for time_ns, pairs in unpack_entries(chunk.entries)
    ]


def texts(records: Read) -> list[str]:
    return [record["MESSAGE"] for _, _, record in records]


@pytest.mark.parametrize(
    ("keys", "pairs"),
    [
        ({}, [("_PID", "1"), ("A", ["x", "y"]), ("PID", "2"), ("a", "z"), ("B", "w")]),
        ({"strip_underscores": True}, [("A", ["x", "y"]), ("PID", ["1", "2"]), ("a", "z"), ("B", "w")]),
        ({"lowercase": True}, [("_pid", "1"), ("a", ["x", "y", "z"]), ("pid", "2"), ("b", "w")]),
        ({"max_fields": 2}, [("_PID", "1"), ("A", ["x"])]),
    ],
)
def test_fields_that_have_one_name_are_a_list(keys: dict[str, Any], pairs: list[tuple[str, Any]]) -> None:
    fields = {"_PID": b"1", "A": [b"x", b"y"], "PID": b"2", "a": b"z", "B": b"w"}
    assert record_of(fields, Settings(**keys)) == pairs


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, ["old", "young"]),
        ({"read_since_min": 5}, ["young"]),
        ({"read_since_min": 20}, ["old", "young"]),
    ],
)
def test_only_entries_of_the_last_minutes(
    tmp_path: Path, settings: dict[str, Any], wanted: list[str]
) -> None:
    folder, now = tmp_path / "journal", time.time_ns() // 1000 - START_US
    entries = ((minutes * 60_000_000, name) for minutes, name in ((10, "old"), (1, "young")))
    write_journal(folder, *(export(now - ago_us, "a.service", name) for ago_us, name in entries))
    assert texts(read(Settings(path=str(folder), **settings), len(wanted))) == wanted


def test_a_place_comes_before_the_last_minutes(tmp_path: Path) -> None:
    folder, now, positions = tmp_path / "journal", time.time_ns() // 1000 - START_US, store(None)
    write_journal(folder, *(export(now - (10 - n) * 60_000_000, "a.service", f"{n}") for n in range(3)))
    first = collect(Settings(path=str(folder), max_entries=1), 3).chunks[0]
    assert first.position is not None
    positions.record(first.position)
    settings = Settings(path=str(folder), read_since_min=1)
    assert texts(read(settings, 2, positions=positions)) == ["1", "2"]


def test_entries_carry_fields_time_and_the_unit_in_the_tag(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, export(0, "kubelet.service", "one"), export(1, "sshd.service", "two"))
    records = read(Settings(path=str(folder)), 2)
    assert [(tag, record["MESSAGE"]) for tag, _, record in records] == [
        ("host.kubelet.service", "one"),
        ("host.sshd.service", "two"),
    ]
    assert records[0][1] == START_US * 1000
    assert records[0][2]["_PID"] == "0"


def test_an_entry_without_a_unit_has_unknown_in_its_tag(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, export(0, "a.service", "x").replace("_SYSTEMD_UNIT=a.service\n", ""))
    assert read(Settings(path=str(folder)), 1)[0][0] == "host.unknown"


def test_filters_are_joined_by_or(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    units = ("a.service", "b.service", "c.service")
    write_journal(folder, *(export(n, unit, unit) for n, unit in enumerate(units)))
    filters = ("_SYSTEMD_UNIT=a.service", "_SYSTEMD_UNIT=c.service")
    settings = Settings(path=str(folder), systemd_filter=filters)
    assert texts(read(settings, 2)) == ["a.service", "c.service"]


def test_filters_are_joined_by_and_when_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, *(export(n, f"{'ab'[n % 2]}.service", str(n)) for n in range(4)))
    filters = ("_SYSTEMD_UNIT=a.service", "_PID=2")
    settings = Settings(path=str(folder), systemd_filter=filters, systemd_filter_type="and")
    assert texts(read(settings, 1)) == ["2"]


def test_a_filter_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has Systemd_Filter 'UNIT'\. Write FIELD=value\."):
        Settings(systemd_filter=("A=b", "UNIT"))


def test_field_names_can_be_lowered_and_stripped(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, export(0, "a.service", "x"))
    (_, _, record), *_ = read(Settings(path=str(folder), lowercase=True, strip_underscores=True), 1)
    assert record["systemd_unit"] == "a.service"


def test_fields_beyond_the_maximum_are_left_out() -> None:
    fields = {"A": b"1", "B": [b"2", b"3", b"4"], "C": b"5"}
    assert systemd.record_of(fields, Settings(max_fields=3)) == [("A", "1"), ("B", ["2", "3"])]
    assert systemd.record_of(fields, Settings()) == [("A", "1"), ("B", ["2", "3", "4"]), ("C", "5")]


def test_bytes_that_are_no_text_come_out_as_they_were() -> None:
    ((_, value),) = systemd.record_of({"RAW": b"\xff\x00"}, Settings())
    assert value.encode("utf-8", "surrogateescape") == b"\xff\x00"


def test_a_value_of_megabytes_is_cut_and_counted() -> None:
    fields = {"BIG": b"x" * (MAX_FIELD_BYTES + 1), "SMALL": [b"1"]}
    assert systemd.cut_of(fields) == 1
    assert len(systemd.record_of(fields, Settings())[0][1]) == MAX_FIELD_BYTES


def test_reading_from_the_tail_gives_only_what_comes_later(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, export(0, "a.service", "old"))

    async def work() -> list[str]:
        intake, stop = Collected(1), asyncio.Event()
        subject = Systemd(
            Settings(path=str(folder), read_from_tail=True), context_of(intake, store, "host.*")
        )
        task = asyncio.create_task(subject.run(stop))
        # The reader is placed before the input waits for the first time.
        await asyncio.sleep(0)
        assert subject._committed is not None
        write_journal(folder, export(5, "a.service", "new"), name="later")
        await asyncio.wait_for(intake.enough.wait(), 20)
        stop.set()
        await task
        assert intake.losses == [] or {loss.records for loss in intake.losses} == {0}
        return [
            dict(pairs)["MESSAGE"] for chunk in intake.chunks for _, pairs in unpack_entries(chunk.entries)
        ]

    assert asyncio.run(work()) == ["new"]


def test_a_restart_goes_on_where_delivery_ended(tmp_path: Path) -> None:
    folder, database = tmp_path / "journal", tmp_path / "journal.db"
    write_journal(folder, *(export(n, f"{'ab'[n % 2]}.service", str(n)) for n in range(6)))
    settings = Settings(path=str(folder), db=str(database), max_entries=3)
    first = store(str(database))
    assert sorted(texts(read(settings, 6, positions=first))) == [str(n) for n in range(6)]
    first.close()
    write_journal(folder, export(6, "a.service", "6"))
    second = store(str(database))
    assert texts(read(settings, 1, positions=second)) == ["6"]
    second.close()


def test_the_place_moves_only_when_all_chunks_of_a_turn_are_delivered(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, *(export(n, f"{'abc'[n % 3]}.service", str(n)) for n in range(6)))
    chunks = collect(Settings(path=str(folder), max_entries=3), 6).chunks
    reader = Journal(str(folder), ())
    reader.to_head()
    cursors = [entry.cursor for _ in range(6) if (entry := reader.take())]
    reader.close()
    places = [chunk.position.cursor if chunk.position else None for chunk in chunks]
    assert places == [None, None, cursors[2], cursors[2], cursors[2], cursors[5]]


def test_the_place_of_fluent_bit_is_taken_over(tmp_path: Path) -> None:
    folder, path = tmp_path / "journal", tmp_path / "flb.db"
    write_journal(folder, *(export(n, "a.service", str(n)) for n in range(4)))
    reader = Journal(str(folder), ())
    reader.to_head()
    cursor = [entry.cursor for _ in range(3) if (entry := reader.take())][2]
    reader.close()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE in_systemd_cursor (cursor TEXT NOT NULL, updated INTEGER)")
        database.execute("INSERT INTO in_systemd_cursor VALUES (?, 1)", (cursor,))
    positions = store(str(path))
    assert texts(read(Settings(path=str(folder), db=str(path)), 1, positions=positions)) == ["3"]
    assert positions.load(FileKey(FOREIGN_DEVICE, 0)) is None
    positions.close()


def test_no_journal_is_said_with_the_folder_until_there_is_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "APPEAR_S", 0.02)
    folder = tmp_path / "journal"

    async def work() -> int:
        intake, stop = Collected(1), asyncio.Event()
        subject = Systemd(Settings(path=str(folder)), context_of(intake, store, "host.*"))
        task = asyncio.create_task(subject.run(stop))
        await asyncio.sleep(0)
        assert "There is no journal in" in caplog.text
        write_journal(folder, export(0, "a.service", "x"))
        await asyncio.wait_for(intake.enough.wait(), 20)
        stop.set()
        await task
        return len(intake.chunks)

    assert asyncio.run(work()) == 1
    assert caplog.text.count("There is no journal in") == 1

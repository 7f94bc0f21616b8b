"""The journal input, on real journal files written by systemd-journal-remote."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from collector.errors import OperatorError
from collector.filters.chain import FilterChain
from collector.inputs.systemd import Settings, Systemd, open_journal
from collector.service.metrics import Metrics
from collector.service.table import TABLE

WRITER = "/lib/systemd/systemd-journal-remote"
START_US = 1_700_000_000_000_000


def export(number: int, unit: str, message: str) -> str:
    return (
        f"__REALTIME_TIMESTAMP={START_US + number}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
        "_BOOT_ID=0123456789abcdef0123456789abcdef\n_MACHINE_ID=0123456789abcdef0123456789abcdef\n"
        f"_SYSTEMD_UNIT={unit}\n_PID={number}\nMESSAGE={message}\n\n"
    )


def write_journal(folder: Path, *entries: str) -> None:
    folder.mkdir(exist_ok=True)
    source = folder.parent / "export"
    source.write_text("".join(entries))
    subprocess.run([WRITER, "-o", str(folder / "test.journal"), str(source)], check=True, capture_output=True)


class Collected:
    """An intake that keeps what it is given and tells when enough is there."""

    def __init__(self, wanted: int) -> None:
        self.chunks: list[Chunk] = []
        self.enough = asyncio.Event()
        self._wanted = wanted

    async def submit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if sum(chunk.records for chunk in self.chunks) >= self._wanted:
            self.enough.set()

    def offer(self, chunk: Chunk) -> bool:
        raise AssertionError("the journal waits for room")


def read(settings: Settings, wanted: int, tag: str = "host.*") -> list[tuple[str, int, dict[str, Any]]]:
    async def collect() -> list[Chunk]:
        intake, stop = Collected(wanted), asyncio.Event()
        context: Any = SimpleNamespace(
            plugin=SimpleNamespace(tag=tag, name="systemd.0"),
            name="systemd.0",
            chain=FilterChain(()),
            intake=intake,
            metrics=Metrics(TABLE),
            log=logging.getLogger("test"),
            report=lambda *_: None,
        )
        task = asyncio.create_task(Systemd(settings, context).run(stop))
        await asyncio.wait_for(intake.enough.wait(), 20)
        stop.set()
        await task
        return intake.chunks

    return [
        (chunk.tag, time_ns, dict(pairs))
        for chunk in asyncio.run(collect())
        for time_ns, pairs in unpack_entries(chunk.entries)
    ]


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


def test_filters_are_joined_by_or(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    units = ("a.service", "b.service", "c.service")
    write_journal(folder, *(export(n, unit, unit) for n, unit in enumerate(units)))
    filters = ("_SYSTEMD_UNIT=a.service", "_SYSTEMD_UNIT=c.service")
    assert [r["MESSAGE"] for _, _, r in read(Settings(path=str(folder), systemd_filter=filters), 2)] == [
        "a.service",
        "c.service",
    ]


def test_field_names_can_be_lowered_and_stripped(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, export(0, "a.service", "x"))
    (_, _, record), *_ = read(Settings(path=str(folder), lowercase=True, strip_underscores=True), 1)
    assert record["systemd_unit"] == "a.service"


def test_reading_from_the_tail_gives_only_what_comes_later(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    write_journal(folder, export(0, "a.service", "old"))
    reader = open_journal(Settings(path=str(folder), read_from_tail=True))
    assert not reader._next()
    reader.close()


def test_no_journal_is_said_with_the_folder(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"There is no journal in .*/missing"):
        open_journal(Settings(path=str(tmp_path / "missing")))

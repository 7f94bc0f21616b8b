"""`podwitness rejected`: what is shown of files, good and bad, and that they are what a receiver takes."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from collector import rejected_command
from collector.cli import SUBCOMMANDS
from collector.delivery.rejected import SUFFIX, RejectedFolder
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.receiver import receiving
from tests.unit.chunks import chunk_of


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = RejectedFolder(tmp_path, 1 << 20, metrics=Metrics(TABLE), log=logging.getLogger("test"))
    asyncio.run(folder.keep(chunk_of({"n": 1, "raw": b"\xff"}, {"n": 2}), "http.0", "400"))
    (path,) = tmp_path.glob(f"*{SUFFIX}")
    return path


def test_records_are_shown(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in (str(kept), str(kept.parent)):
        assert rejected_command.main([asked]) == 0
        shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [one["record"]["n"] for one in shown] == [1, 2]
        assert shown[0]["tag"] == "kube.a"
        assert shown[0]["time"].startswith("20")


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x93\x01", b"\x92\xa1a\xa1b", b"\x92\xa1a\xc4\x01\x92"])
def test_what_is_none_is_said(tmp_path: Path, garbage: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"x{SUFFIX}"
    path.write_bytes(garbage)
    assert rejected_command.main([str(path), str(tmp_path / "missing")]) == 1
    assert capsys.readouterr().err.count("is no rejected chunk") == 2


def test_sent_as_it_is_to_a_receiver_it_is_delivered(kept: Path) -> None:
    message = kept.read_bytes()

    async def scenario() -> None:
        async with receiving() as receiver:
            _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
            writer.write(message)
            await writer.drain()
            await receiver.wait_until(lambda: len(receiver.records) == 2)
            writer.close()
            assert [record[b"n"] for record in receiver.records] == [1, 2]

    asyncio.run(scenario())


def test_it_is_a_subcommand() -> None:
    assert SUBCOMMANDS["rejected"][0] == rejected_command.__name__

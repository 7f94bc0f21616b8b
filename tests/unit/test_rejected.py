"""The folder of rejected chunks: what is in it, its bound, and that keeping never fails the delivery."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from pathlib import Path

import msgpack
import pytest

from collector.delivery.chunk import Chunk
from collector.delivery.rejected import REASONS, SUFFIX, UNFINISHED, RejectedFolder, file_name, message_of
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.unit.chunks import chunk_of


def folder(path: Path, limit_bytes: int = 1 << 20) -> tuple[RejectedFolder, Metrics]:
    metrics = Metrics(TABLE)
    return RejectedFolder(path, limit_bytes, metrics=metrics, log=logging.getLogger("test")), metrics


def test_a_file_is_a_message_of_the_forward_protocol(tmp_path: Path) -> None:
    kept, metrics = folder(tmp_path / "deep" / "rejected")
    chunk = chunk_of({"n": 1}, {"n": 2})
    asyncio.run(kept.keep(chunk, "http.0", "400 Bad Request"))
    (path,) = (tmp_path / "deep" / "rejected").glob(f"*{SUFFIX}")
    tag, entries, options = msgpack.unpackb(path.read_bytes())
    assert (tag, entries) == (chunk.tag, chunk.entries)
    assert options == {"size": 2, "chunk": chunk.id.hex()}
    (line,) = (path.parent / REASONS).read_text().splitlines()
    told = json.loads(line)
    assert (told["output"], told["reason"], told["records"]) == ("http.0", "400 Bad Request", 2)
    assert metrics.value("podwitness_rejected_kept_total") == 1


def test_at_the_bound_nothing_more_is_kept_and_what_is_there_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chunk = chunk_of({"n": "x" * 400})
    kept, metrics = folder(tmp_path, len(message_of(chunk)) + 500)
    for _ in range(3):
        asyncio.run(kept.keep(chunk, "http.0", "no"))
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1
    assert metrics.value("podwitness_rejected_not_kept_total") == 2
    assert len([one for one in caplog.messages if "storage.rejected.limit" in one]) == 1


def test_what_could_not_be_written_to_its_end_takes_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, and a process that was killed while it wrote."""
    kept, metrics = folder(tmp_path)
    with monkeypatch.context() as full:

        def fail(source: object, target: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(os, "rename", fail)
        asyncio.run(kept.keep(chunk_of({"n": 1}), "http.0", "no"))
    assert list(tmp_path.iterdir()) == []
    assert metrics.value("podwitness_rejected_not_kept_total") == 1
    (tmp_path / UNFINISHED).write_bytes(b"half of a chunk")
    asyncio.run(kept.keep(chunk_of({"n": 2}), "http.0", "no"))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [SUFFIX, ".jsonl"]


def test_a_chunk_whose_reason_can_not_be_written_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept, metrics = folder(tmp_path)
    (tmp_path / REASONS).mkdir()  # nobody can write a line to it
    asyncio.run(kept.keep(chunk_of({"n": 1}), "http.0", "no"))
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1
    assert metrics.value("podwitness_rejected_kept_total") == 1
    assert metrics.value("podwitness_rejected_not_kept_total") == 0
    assert [one for one in caplog.messages if "without their reasons" in one]


def test_who_tidies_up_meanwhile_makes_no_chunk_lost(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")  # listed, and not there when it is looked at
    kept, metrics = folder(tmp_path)
    asyncio.run(kept.keep(chunk_of({"n": 1}), "http.0", "no"))
    assert metrics.value("podwitness_rejected_kept_total") == 1


def test_a_folder_that_cannot_be_written_is_said_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    kept, metrics = folder(tmp_path / "file" / "rejected")
    asyncio.run(kept.keep(chunk_of({"n": 1}), "http.0", "no"))
    assert metrics.value("podwitness_rejected_not_kept_total") == 1
    assert "Not a directory" in caplog.text


@pytest.mark.parametrize("tag", ["kube.var.log", "../../etc/passwd", "\udcff\n;rm -rf", "x" * 400, "-rf"])
def test_names_are_harmless(tag: str) -> None:
    name = file_name(Chunk(b"i" * 16, tag, b"", 0, "tail.0", 0), "out put", 1.7e9)
    assert len(name) < 255
    assert "/" not in name
    assert name.isascii()
    assert name.startswith("20231114T221320_")
    assert not set(name) & set(" \n;$`'\"")

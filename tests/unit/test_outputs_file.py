"""`file`: Fluent Bit's formats, names that stay in their folder, and no half of a chunk."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.outputs.file import File, Settings, file_name
from collector.plugin import DeliveryError, Rejected
from tests.unit.chunks import broken, chunk

RECORDS: list[list[tuple[Any, Any]]] = [[("log", 'a "b", c\nd'), ("n", 1)], [("log", "é"), ("n", None)]]


def output(folder: Path, **keys: str) -> File:
    entries = tuple(Entry(key, value, "a.conf", 2) for key, value in {"Path": str(folder), **keys}.items())
    return File(load(Settings, Section("OUTPUT", "a.conf", 1, entries)))


def written(folder: Path, **keys: str) -> str:
    one = output(folder, File="out", **keys)
    asyncio.run(one.deliver(chunk(*RECORDS)))
    return (folder / "out").read_text(encoding="utf-8")


def test_out_file(tmp_path: Path) -> None:
    assert written(tmp_path) == (
        'kube.x: [1700000000.000000005, {"log":"a \\"b\\", c\\nd","n":1}]\n'
        'kube.x: [1700000001.000000005, {"log":"\\u00e9","n":null}]\n'
    )


def test_plain(tmp_path: Path) -> None:
    assert written(tmp_path, Format="plain").splitlines()[0] == '{"log":"a \\"b\\", c\\nd","n":1}'


def test_csv_with_names(tmp_path: Path) -> None:
    keys = {"Format": "csv", "csv_column_names": "on"}
    first = '1700000000.000000005,"a ""b"", c\\nd",1\n1700000001.000000005,"é",nil\n'
    assert written(tmp_path, **keys) == 'timestamp,"log","n"\n' + first
    # Names stand once, at the head of the file.
    assert written(tmp_path, **keys) == 'timestamp,"log","n"\n' + first * 2


def test_ltsv(tmp_path: Path) -> None:
    assert written(tmp_path, Format="ltsv", Label_Delimiter="space").splitlines()[1] == (
        '"time" 1700000001.000000005\t"log" "é"\t"n" nil'
    )


def test_the_tag_is_the_name(tmp_path: Path) -> None:
    asyncio.run(output(tmp_path).deliver(chunk([("a", 1)], tag="kube.var.log/../../x")))
    assert os.listdir(tmp_path) == ["kube.var.log_.._.._x"]


@given(st.text(max_size=300) | st.sampled_from([".", "..", "", "/", "../..", "\udcff", "é" * 200]))
def test_no_tag_names_a_path_out_of_the_folder(tag: str) -> None:
    name = file_name(tag)
    assert os.path.basename(name) == name
    assert name not in ("", ".", "..")
    assert "\0" not in name
    assert len(name.encode("utf-8", "surrogatepass")) <= 255 or len(os.fsencode(name)) <= 255


def test_long_tags_stay_apart() -> None:
    assert file_name("a" * 300) != file_name("a" * 301)


def test_folders_are_made_when_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(DeliveryError, match="a/b/out can't be written: No such file or directory"):
        written(folder)
    assert written(folder, Mkdir="On")


def test_a_file_that_was_renamed_is_made_again(tmp_path: Path) -> None:
    written(tmp_path, Format="plain")
    (tmp_path / "out").rename(tmp_path / "out.1")
    assert len(written(tmp_path, Format="plain").splitlines()) == 2


def test_a_chunk_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    """The file may not grow past 100 bytes, as on a full disk."""
    before = written(tmp_path, Format="plain")
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DeliveryError, match="File too large"):
            written(tmp_path, Format="plain")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert (tmp_path / "out").read_text(encoding="utf-8") == before


def test_entries_that_are_none_are_never_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="cut"):
        asyncio.run(output(tmp_path, File="out").deliver(broken()))


def test_chunks_at_once_do_not_mix(tmp_path: Path) -> None:
    async def deliver() -> None:
        one = output(tmp_path, File="out", Format="plain")
        await asyncio.gather(*(one.deliver(chunk([("a", str(n) * 9000)], [("a", n)])) for n in range(8)))
        await one.close()

    asyncio.run(deliver())
    assert len((tmp_path / "out").read_text(encoding="utf-8").splitlines()) == 16


def test_a_template(tmp_path: Path) -> None:
    keys = {"Format": "template", "Template": "{time} {n}: {log} {none} {{n}}"}
    assert written(tmp_path, **keys) == (
        '1700000000.000000005 1: a "b", c\\nd {none} {1}\n1700000001.000000005 nil: é {none} {nil}\n'
    )


def test_msgpack_is_what_is_in_a_chunk(tmp_path: Path) -> None:
    one = output(tmp_path, File="out", Format="msgpack")
    asyncio.run(one.deliver(chunk(*RECORDS)))
    asyncio.run(one.deliver(chunk(*RECORDS)))
    assert (tmp_path / "out").read_bytes() == bytes(chunk(*RECORDS).entries) * 2

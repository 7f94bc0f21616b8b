"""`stdout`: Fluent Bit's formats, into a real pipe."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.outputs.stdout import Settings, Stdout
from collector.plugin import Rejected
from tests.unit.chunks import broken, chunk


def settings(**keys: str) -> Settings:
    entries = tuple(Entry(key, value, "a.conf", 2) for key, value in keys.items())
    return load(Settings, Section("OUTPUT", "a.conf", 1, entries))


def printed(*records: list[tuple[Any, Any]], tag: str = "kube.x", **keys: str) -> str:
    """What comes out of a pipe for one chunk of these records."""

    async def deliver(output: Stdout) -> None:
        await output.deliver(chunk(*records, tag=tag))
        await output.close()

    read, write = os.pipe()
    with open(write, "wb", buffering=0) as stream:
        asyncio.run(deliver(Stdout(settings(**keys), stream)))
    with open(read, encoding="utf-8", newline="") as printed:
        return printed.read()


RECORDS: list[list[tuple[Any, Any]]] = [[("log", "a\nb"), ("n", 1)], [("log", "é")]]


def test_the_format_for_people() -> None:
    assert printed(*RECORDS) == (
        '[0] kube.x: [[1700000000.000000005, {}], {"log"=>"a\\nb", "n"=>1}]\n'
        '[1] kube.x: [[1700000001.000000005, {}], {"log"=>"é"}]\n'
    )


def test_a_tag_can_not_make_a_line() -> None:
    assert printed([("a", 1)], tag="x\n[0] y") == '[0] x\\n[0] y: [[1700000000.000000005, {}], {"a"=>1}]\n'


def test_json() -> None:
    text = printed(*RECORDS, Format="json", Json_date_format="epoch")
    assert json.loads(text) == [{"date": 1700000000, "log": "a\nb", "n": 1}, {"date": 1700000001, "log": "é"}]
    assert text.count("\n") == 1


def test_json_lines() -> None:
    keys = {"Format": "json_lines", "Json_date_key": "at", "Json_date_format": "iso8601"}
    assert printed(*RECORDS, **keys) == (
        '{"at":"2023-11-14T22:13:20.000000Z","log":"a\\nb","n":1}\n'
        '{"at":"2023-11-14T22:13:21.000000Z","log":"\\u00e9"}\n'
    )


def test_json_stream_without_a_date() -> None:
    keys = {"Format": "json_stream", "Json_date_key": "false"}
    assert printed(*RECORDS, **keys) == '{"log":"a\\nb","n":1}{"log":"\\u00e9"}\n'


def test_entries_that_are_none_are_never_tried_again() -> None:
    output = Stdout(settings(), sys.stdout.buffer)
    with pytest.raises(Rejected, match="cut"):
        asyncio.run(output.deliver(broken()))


def test_a_reader_that_leaves_ends_the_process_as_ctrl_c_does() -> None:
    """`podwitness ... | head -1`: no traceback."""
    code = (
        "import asyncio, sys; from collector.outputs.stdout import *; from tests.unit.chunks import chunk\n"
        "output = Stdout(Settings(), sys.stdout.buffer)\n"
        "while True: asyncio.run(output.deliver(chunk([('a', 'b' * 100000)])))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == -signal.SIGTERM

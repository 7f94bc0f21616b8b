"""The terminal output: JSON lines into a pipe, one cut line an event on a terminal."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty

from collector.delivery.chunk import Chunk
from collector.entries import pack_entry
from collector.outputs.live_line import LiveLine
from collector.outputs.terminal import Settings, Terminal, print_line


def chunk(*records: dict[str, object]) -> Chunk:
    entries = b"".join(pack_entry(1_500_000_000_123_456_789, list(record.items())) for record in records)
    return Chunk(b"0" * 16, "kube.x", entries, len(records), "tail.0", 0)


def printed(settings: Settings, *records: dict[str, object]) -> str:
    stream = io.StringIO()
    asyncio.run(Terminal(settings, stream).deliver(chunk(*records)))
    return stream.getvalue()


def test_a_pipe_gets_json_lines_with_time_and_tag() -> None:
    first, second = (
        json.loads(line)
        for line in printed(Settings(), {"log": "a"}, {"log": "b", "n": {"x": [1]}}).splitlines()
    )
    assert first == {"@timestamp": "2017-07-14T02:40:00.123456789Z", "tag": "kube.x", "log": "a"}
    assert second["n"] == {"x": [1]}


def test_invalid_utf8_still_is_json() -> None:
    record = json.loads(printed(Settings(), {"log": b"\xff\xfe".decode("utf-8", "surrogateescape")}))
    assert "log" in record


def test_lines_have_no_escape_sequence_of_the_record() -> None:
    text = printed(Settings(format="lines"), {"log": "\x1b[2Jgone\nforged line"})
    assert "\x1b[2J" not in text
    assert "\\x1b[2Jgone\\nforged line" in text
    assert text.count("\n") == 1


def test_a_long_line_is_cut_at_the_edge() -> None:
    from rich.console import Console

    stream = io.StringIO()
    print_line(
        Console(file=stream, width=100, force_terminal=True, color_system=None),
        LiveLine("00:00:00.000", "w" * 80, "exec", "who", "d" * 500, "process"),
    )
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert len(lines[0]) == 100


def test_auto_gives_lines_on_a_terminal() -> None:
    leader, follower = pty.openpty()
    with open(follower, "w", closefd=True) as stream:
        asyncio.run(Terminal(Settings(), stream).deliver(chunk({"log": "hello"})))
        shown = os.read(leader, 4096).decode()
    os.close(leader)
    assert "hello" in shown
    assert "@timestamp" not in shown

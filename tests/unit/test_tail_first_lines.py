"""`Multiline On` of tail: first lines by a parser, and what becomes of the lines behind them."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from collector.config.parsers import Parser
from collector.entries import pack_entry, unpack_entries
from collector.inputs.tail_first_lines import FirstLines, first_lines
from collector.parsers.line import text_parser
from tests.tail_follower import Follower, append, make_follower, running

PARSERS = {
    "head": Parser(
        "head", "regex", r"^(?<time>\d+) (?<level>[A-Z]+) (?<message>.*)", time_key="time", time_format="%s"
    ),
    "cause": Parser("cause", "regex", r"^Caused by: (?<cause>.*)"),
    "numbers": Parser("numbers", "regex", r"^=(?<n>\d+)$", types="n:integer"),
}
AT_NS = 1_700_000_000 * 10**9
KEYS = {"Multiline": "On", "Parser_Firstline": "head", "Parser_2": "numbers", "Parser_1": "cause"}


def taken_apart(*texts: str) -> list[tuple[int, dict[Any, Any]]]:
    step = first_lines("head", ("cause", "numbers"), PARSERS, "log")
    entries = b"".join(pack_entry(5, [("log", text), ("path", "/x")]) for text in texts)
    made, _ = step.apply(entries)
    return [(time_ns, dict(pairs)) for time_ns, pairs in unpack_entries(made)]


@pytest.mark.parametrize(
    ("text", "time_ns", "expected"),
    [
        ("7 INFO a\n", 7 * 10**9, {"level": "INFO", "message": "a"}),
        ("7 INFO a\n  at b\n\n  at c\n", 7 * 10**9, {"level": "INFO", "message": "a\n  at b\n\n  at c"}),
        (
            "7 INFO a\n  at b\nCaused by: c\n  at d\n",
            7 * 10**9,
            {"level": "INFO", "message": "a\n  at b", "cause": "c\n  at d"},
        ),
        # A number has no place for a line.
        (
            "7 INFO a\n=5\n  at b\n  at c\n",
            7 * 10**9,
            {"level": "INFO", "message": "a", "n": 5, "log": "  at b\n  at c"},
        ),
        ("no first line\n", 5, {"log": "no first line"}),
    ],
)
def test_lines_are_taken_apart(text: str, time_ns: int, expected: dict[str, Any]) -> None:
    assert taken_apart(text) == [(time_ns, {"path": "/x", **expected})]


class Watching:
    """A Parser_N that knows no line, and notes what memory is taken when it is asked."""

    def __init__(self) -> None:
        self.taken_bytes: list[int] = []

    def parse(self, line: bytes, now_ns: int) -> None:
        self.taken_bytes.append(tracemalloc.get_traced_memory()[0])


def test_lines_are_joined_when_the_record_ends_and_not_one_by_one() -> None:
    watching: Any = Watching()
    text = "\n".join(["7 INFO a", *["x" * 1000] * 1000])
    entries = pack_entry(5, [("log", text)])
    tracemalloc.start()
    made, _ = FirstLines(text_parser(PARSERS["head"]), (watching,), "log").apply(entries)
    tracemalloc.stop()
    assert [dict(pairs)["message"] for _, pairs in unpack_entries(made)] == [text.removeprefix("7 INFO ")]
    # What had been joined so far would be as large as all lines at the last of them.
    assert watching.taken_bytes[-1] - watching.taken_bytes[0] < len(text) / 2


def test_unknown_lines_are_counted() -> None:
    entries = pack_entry(5, [("log", "x\n")]) + pack_entry(5, [("other", 1)])
    made, unparsed = first_lines("head", (), PARSERS, "log").apply(entries)
    assert unparsed == 2
    assert [pairs for _, pairs in unpack_entries(made)] == [[("log", "x")], [("other", 1)]]


def follower(folder: Path, **more: str) -> Follower:
    return make_follower(
        folder, {**KEYS, "Multiline_Flush": "100ms", **more}, parsers=PARSERS, Path=f"{folder}/*.log",
        DB=f"{folder}/positions.db",
    )  # fmt: skip


def test_records_of_a_file_over_a_restart(tmp_path: Path) -> None:
    log = tmp_path / "a.log"

    async def follow(text: bytes, wanted: int, **more: str) -> list[dict[Any, Any]]:
        async with running(follower(tmp_path, **more)) as one:
            append(log, text)
            await one.intake.wait_for(wanted)
        return one.intake.records

    first = asyncio.run(follow(b"before\n1 WARN a\n  at b\n2 INFO c\n", 2, Multiline_Flush="1h"))
    assert first == [{"log": "before"}, {"level": "WARN", "message": "a\n  at b"}]
    # The record that was open is read again with what has come since.
    second = asyncio.run(follow(b"  at d\nCaused by: e\n", 1, Path_Key="path"))
    assert second == [{"path": str(log), "level": "INFO", "message": "c\n  at d", "cause": "e"}]


def test_a_line_that_is_late_stands_alone(tmp_path: Path) -> None:
    async def follow() -> list[dict[Any, Any]]:
        async with running(follower(tmp_path)) as one:
            append(tmp_path / "a.log", b"1 WARN a\n  at b\n")
            await one.intake.wait_for(1)
            append(tmp_path / "a.log", b"  at c\n")
            await one.intake.wait_for(2)
        return one.intake.records

    assert asyncio.run(follow()) == [{"level": "WARN", "message": "a\n  at b"}, {"log": "  at c"}]

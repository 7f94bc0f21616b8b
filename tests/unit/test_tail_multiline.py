"""tail with multiline parsers: records of several lines over restarts, rotations, deletions and time."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.config.multiline import MultilineSection
from collector.config.parsers import Parser
from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.config.stock_parsers import STOCK
from collector.filters.modify import Modify
from collector.filters.modify import Settings as ModifySettings
from collector.multiline.parsers import MultilineParser
from collector.plugin import Filter
from tests.tail_follower import Follower, make_follower, running

HEAD = "Traceback (most recent call last):"
T = "2026-01-01T00:00:00.000000000Z"
Keys = Mapping[str, str]


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(line + "\n" for line in lines))


def follower(
    folder: Path,
    parsers: str,
    more: Keys = MappingProxyType({}),
    *own: MultilineParser,
    filters: tuple[Filter, ...] = (),
) -> Follower:
    keys = {"multiline.parser": parsers, **more}
    known = {one.name: one for one in own}
    db = f"{folder}/positions.db"
    return make_follower(
        folder, keys, filters=filters, multiline_parsers=known, Path=f"{folder}/*.log", DB=db
    )


def test_plain_lines_are_joined_and_end_with_a_newline(tmp_path: Path) -> None:
    async def follow() -> Follower:
        log = tmp_path / "a.log"
        async with running(follower(tmp_path, "python", {"Path_Key": "file"})) as one:
            append(log, "before", HEAD, "  File a", "x", "E: 1", "after")
            await one.intake.wait_for(3)
        assert {record["file"] for record in one.intake.records} == {str(log)}
        return one

    texts = asyncio.run(follow()).intake.texts()
    assert texts == ["before\n", f"{HEAD}\n  File a\nx\nE: 1\n", "after\n"]


def test_after_cri_lines_joined_from_their_parts(tmp_path: Path) -> None:
    async def follow() -> Follower:
        async with running(follower(tmp_path, "docker, cri, python")) as one:
            lines = ("F " + HEAD, "P   Fi", "F le a", "F x", "F E: 1", "F after")
            append(tmp_path / "a.log", *(f"{T} stdout {line}" for line in lines))
            await one.intake.wait_for(2)
        return one

    assert asyncio.run(follow()).intake.texts() == [f"{HEAD}\n  File a\nx\nE: 1", "after"]


def parser_of(*pairs: tuple[str, str]) -> MultilineParser:
    entries = tuple(Entry(name, value, "f", 2) for name, value in pairs)
    return load(MultilineSection, Section("MULTILINE_PARSER", "f", 1, entries)).parsed()


def test_a_record_whose_next_line_is_late_goes_out(tmp_path: Path) -> None:
    parser = parser_of(
        ("name", "fast"), ("type", "regex"), ("flush_timeout", "100"),
        ("rule", '"start_state" "/^x/" "cont"'), ("rule", '"cont" "/^y/" "cont"'),
    )  # fmt: skip

    async def follow() -> Follower:
        log = tmp_path / "a.log"
        async with running(follower(tmp_path, "fast", {}, parser)) as one:
            append(log, "x1", "y1")
            await one.intake.wait_for(1)
            append(log, "y2")
            await one.intake.wait_for(2)
        return one

    assert asyncio.run(follow()).intake.texts() == ["x1\ny1\n", "y2\n"]


def test_rules_may_look_at_another_field_than_what_is_joined(tmp_path: Path) -> None:
    parser = parser_of(
        ("name", "levels"), ("type", "regex"), ("parser", "json"), ("key_content", "log"),
        ("key_pattern", "level"), ("flush_timeout", "100"),
        ("rule", '"start_state" "/^error$/" "cont"'), ("rule", '"cont" "/^more$/" "cont"'),
    )  # fmt: skip

    async def follow() -> Follower:
        async with running(follower(tmp_path, "levels", {}, parser)) as one:
            lines = (("error", "a"), ("more", "b"), ("info", "error"), ("error", "c"))
            append(tmp_path / "a.log", *(f'{{"level":"{level}","log":"{log}"}}' for level, log in lines))
            await one.intake.wait_for(3)
        return one

    records = asyncio.run(follow()).intake.records
    assert [(one["level"], one["log"]) for one in records] == [
        ("error", "a\nb"),
        ("info", "error"),
        ("error", "c"),
    ]


TRACES = (
    ("rule", f'"start_state" "/^{re.escape(HEAD)}$/" "cont"'),
    ("rule", r'"cont" "/^\s/" "cont"'),
)


def as_json(line: str) -> str:
    stream, _, message = line.removeprefix(f"{T} ").partition("|")
    return json.dumps({"stream": stream, "message": message, "at": "7"})


@pytest.mark.parametrize(
    ("parser", "lines", "expected"),
    [
        (
            "cri",
            (
                "stdout F {}",
                "stderr F {}",
                "stdout P   Fi",
                "stdout F le a",
                "stderr F   File b",
                "stdout F x",
            ),
            [("stderr", f"{HEAD}\n  File b"), ("stdout", f"{HEAD}\n  File a"), ("stdout", "x")],
        ),
        (
            "own",
            ("stdout|{}", "stderr|{}", "stdout|  File a", "stderr|  File b", "stdout|x", "odd"),
            [("stderr", f"{HEAD}\n  File b"), ("stdout", f"{HEAD}\n  File a"), ("stdout", "x"), (None, None)],
        ),
        (
            "jsons",
            ("stdout|{}", "stderr|{}", "stdout|  File a", "stderr|  File b"),
            [("stderr", f"{HEAD}\n  File b"), ("stdout", f"{HEAD}\n  File a")],
        ),
    ],
)
def test_a_parser_takes_lines_apart_before_they_are_joined(
    tmp_path: Path, parser: str, lines: tuple[str, ...], expected: list[tuple[str | None, str | None]]
) -> None:
    """By stream, as what one process writes to both is no one record."""
    own = Parser("own", "regex", r"^\d+-\d+-(?<time>\S+) (?<stream>\w+)\|(?<message>.*)$", time_key="time")
    joining = parser_of(
        ("name", "traces"), ("type", "regex"), ("parser", parser), ("key_content", "message"),
        ("flush_timeout", "100"), *TRACES,
    )  # fmt: skip

    async def follow() -> Follower:
        one = make_follower(
            tmp_path,
            {"multiline.parser": "traces"},
            multiline_parsers={"traces": joining},
            parsers={**STOCK, "own": own, "jsons": Parser("jsons", "json", time_key="at", time_format="%s")},
            Path=f"{tmp_path}/*.log",
        )
        async with running(one):
            written = (f"{T} {line.format(HEAD)}" for line in lines)
            append(tmp_path / "a.log", *(as_json(line) if parser == "jsons" else line for line in written))
            await one.intake.wait_for(len(expected))
        return one

    records = asyncio.run(follow()).intake.records
    found = [(one.get("stream"), one.get("message")) for one in records]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert not any("at" in one for one in records)  # it is the record's time


def test_behind_a_runtime_no_parser_takes_lines_apart(tmp_path: Path) -> None:
    joining = parser_of(("name", "traces"), ("type", "regex"), ("parser", "zones"), *TRACES)
    zones = Parser("zones", "json", time_key="time", time_format="%Y")

    async def follow() -> Follower:
        keys = {"multiline.parser": "cri, traces"}
        known, path = {**STOCK, "zones": zones}, f"{tmp_path}/*.log"
        one = make_follower(tmp_path, keys, multiline_parsers={"traces": joining}, parsers=known, Path=path)
        async with running(one):
            append(tmp_path / "a.log", *(f"{T} stdout F {line}" for line in (HEAD, "  File a", "x")))
            await one.intake.wait_for(2)
        return one

    records = asyncio.run(follow()).intake.records
    assert [(one["time"], one["log"]) for one in records] == [(T, f"{HEAD}\n  File a"), (T, "x")]


def test_filters_see_the_record_of_all_lines(tmp_path: Path) -> None:
    """Also those that would else be folded into the plan, which is done before the lines are joined."""
    rules = (("Add", ("cluster", "c")), ("Set", ("stream", "s")))
    modify = Modify(ModifySettings(rules=rules), lambda tag: True)

    async def follow() -> Follower:
        async with running(follower(tmp_path, "cri, python", {"Path_Key": "file"}, filters=(modify,))) as one:
            append(tmp_path / "a.log", *(f"{T} stdout F {line}" for line in (HEAD, "  File a", "x", "E: 1")))
            await one.intake.wait_for(1)
        return one

    (record,) = asyncio.run(follow()).intake.records
    assert record == {
        "time": T, "_p": "F", "log": f"{HEAD}\n  File a\nx\nE: 1", "file": str(tmp_path / "a.log"),
        "cluster": "c", "stream": "s",
    }  # fmt: skip


def test_a_restart_in_the_middle_of_a_record(tmp_path: Path) -> None:
    log = tmp_path / "a.log"

    async def follow() -> list[str]:
        async with running(follower(tmp_path, "python")) as first:
            append(log, "before", HEAD, "  File a")
            await first.intake.wait_for(1)
        append(log, "x")
        async with running(follower(tmp_path, "python")) as second:
            append(log, "E: 1")
            await second.intake.wait_for(1)
        return first.intake.texts() + second.intake.texts()

    assert asyncio.run(follow()) == ["before\n", f"{HEAD}\n  File a\nx\nE: 1\n"]


def test_a_record_over_a_rotation_and_a_restart(tmp_path: Path) -> None:
    log = tmp_path / "a.log"

    def cri(*lines: str) -> list[str]:
        return [f"{T} stdout F {line}" for line in lines]

    async def follow() -> list[str]:
        async with running(follower(tmp_path, "cri, python")) as first:
            append(log, *cri("before", HEAD, "  File a"))
            await first.intake.wait_for(1)
            log.rename(f"{log}.20260101-000000")
            append(log, *cri("x"))
            await first.until(lambda: first.count("fluentbit_input_files_rotated_total") == 1)
        append(log, *cri("  File b"))
        async with running(follower(tmp_path, "cri, python")) as second:
            append(log, *cri("y", "E: 1", "after"))
            await second.intake.wait_for(2)
        return first.intake.texts() + second.intake.texts()

    assert asyncio.run(follow()) == ["before", f"{HEAD}\n  File a\nx\n  File b\ny\nE: 1", "after"]


def test_the_end_of_the_container_ends_its_record(tmp_path: Path) -> None:
    log = tmp_path / "a.log"

    async def follow() -> Follower:
        async with running(follower(tmp_path, "cri, python")) as one:
            append(log, f"{T} stderr F {HEAD}", f"{T} stderr F   File a")
            await one.until(lambda: one.count("fluentbit_input_files_opened_total") == 1)
            log.unlink()
            await one.intake.wait_for(1)
        return one

    assert asyncio.run(follow()).intake.texts() == [f"{HEAD}\n  File a"]


LINES = st.lists(
    st.sampled_from([HEAD, "  File a", "  File b", "x = 1", "E: 1", "plain", "", "P:Trace", "P:  Fi"]),
    min_size=1, max_size=12,
)  # fmt: skip


def written(lines: Sequence[str], number: int) -> list[str]:
    """CRI lines; some are parts, and streams take turns."""
    stream = ("stdout", "stderr")[number % 2]
    return [
        f"{T} {stream} {'P' if line.startswith('P:') else 'F'} {line.removeprefix('P:')}" for line in lines
    ]


@given(st.lists(st.tuples(LINES, st.booleans()), min_size=1, max_size=5))
@settings(max_examples=settings().max_examples * 2 // 3)
def test_restarts_and_rotations_change_nothing(steps: list[tuple[list[str], bool]]) -> None:
    """The same records of each stream as of a reader that saw it all in one go. The agent is stopped between
    the steps, and before some of them the log is rotated."""
    with tempfile.TemporaryDirectory() as name:
        whole, pieces = Path(name, "whole"), Path(name, "pieces")
        whole.mkdir()
        pieces.mkdir()
        for number, (lines, _) in enumerate(steps):
            append(whole / "a.log", *written(lines, number))
        assert asyncio.run(piece_by_piece(pieces, steps)) == by_stream(asyncio.run(read_all(whole)))


async def piece_by_piece(folder: Path, steps: list[tuple[list[str], bool]]) -> dict[str, list[str]]:
    log = folder / "a.log"
    found: list[tuple[str, str]] = []
    for number, (lines, rotates) in enumerate(steps):
        if rotates and log.exists():
            log.rename(f"{log}.20260101-{number:06}")
        append(log, *written(lines, number))
        found += await read_all(folder, removes=number == len(steps) - 1)
    return by_stream(found)


async def read_all(folder: Path, *, removes: bool = True) -> list[tuple[str, str]]:
    """One run of the agent over what is there; `removes`: the log is deleted, so its last record ends."""
    async with running(follower(folder, "cri, python", {"Read_from_Head": "On"})) as one:
        if removes:
            remove(folder)
    return [(record["stream"], record["log"]) for record in one.intake.records]


def remove(folder: Path) -> None:
    for path in folder.glob("a.log*"):
        path.unlink()


def by_stream(found: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {stream: [text for its, text in found if its == stream] for stream in ("stdout", "stderr")}

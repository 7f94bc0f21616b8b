"""The filter multiline: lines across chunks, records that wait, and pieces of a runtime's lines."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from collector.config.onigmo import compile_onigmo
from collector.config.schema import InvalidConfiguration
from collector.config.service import ServiceSettings
from collector.entries import Pairs, pack_entry
from collector.errors import ConfigError
from collector.filters import multiline
from collector.filters.chain import FilterChain
from collector.filters.multiline import Multiline, Settings
from collector.identity.identity import Identity
from collector.multiline.parsers import START, MultilineParser, Rule, connected
from collector.plugin import AnyFilter
from collector.record import Record, records_of
from tests.unit.filtering import TIME_NS, SectionText, make

TRACE = ["Traceback (most recent call last):", '  File "a.py", line 1', "    x", "ValueError: 1"]


class Sent:
    """What the filter hands on by itself, as the pipeline takes it."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Pairs]] = []
        self.grown = asyncio.Event()

    async def __call__(
        self, emitter: AnyFilter, tag: str, records: Sequence[Record], identity: Identity | None
    ) -> None:
        self.records += [(tag, record.pairs) for record in records]
        self.grown.set()


def made(folder: Path, text: str, sent: Any = None, **more: Any) -> Multiline:
    one = make(multiline, SectionText(folder, text), send=sent or Sent(), **more)
    assert isinstance(one, Multiline)
    return one


def lines(*texts: str, stream: str = "stdout") -> list[Pairs]:
    return [[("stream", stream), ("log", text), ("n", number)] for number, text in enumerate(texts)]


def give(one: Multiline, records: Sequence[Pairs], tag: str = "t") -> list[Pairs]:
    entries = b"".join(pack_entry(TIME_NS, record) for record in records)
    (part, *_) = FilterChain([one]).apply((one,), tag, entries, None)
    return [record.pairs for record in records_of(part.entries)]


def test_parsers_by_commas_and_in_several_lines_are_one_list(tmp_path: Path) -> None:
    written = SectionText(tmp_path, "multiline.parser go, java\nmultiline.parser python")
    assert written.settings(multiline).multiline_parser == ("go", "java", "python")


def test_lines_are_joined_across_chunks(tmp_path: Path) -> None:
    one = made(tmp_path, "multiline.parser python")
    assert give(one, lines("before", *TRACE[:2])) == lines("before")
    assert give(one, lines(*TRACE[2:], "after")) == [
        [("stream", "stdout"), ("log", "\n".join(TRACE)), ("n", 1)],
        [("stream", "stdout"), ("log", "after"), ("n", 2)],
    ]


def test_streams_and_tags_are_joined_by_themselves(tmp_path: Path) -> None:
    one = made(tmp_path, "multiline.parser python")
    mixed = [
        record
        for pair in zip(lines(*TRACE, "end"), lines(*TRACE, "end", stream="stderr"), strict=True)
        for record in pair
    ]
    found = give(one, mixed)
    assert [dict(record)["log"] for record in found] == ["\n".join(TRACE)] * 2 + ["end"] * 2


def test_a_record_without_the_key_ends_what_is_open(tmp_path: Path) -> None:
    one = made(tmp_path, "multiline.parser python\nmultiline.key_content message")
    assert give(one, lines("x")) == lines("x")


def test_what_waits_is_sent_on_after_a_while_and_at_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        sent, stop = Sent(), asyncio.Event()
        one = made(tmp_path, "multiline.parser python\nFlush_Ms 50", sent)
        task = asyncio.create_task(one.run(stop))
        assert give(one, lines(*TRACE[:2])) == []
        await asyncio.wait_for(sent.grown.wait(), 10)
        assert sent.records == [("t", [("stream", "stdout"), ("log", "\n".join(TRACE[:2])), ("n", 0)])]
        give(one, lines(TRACE[0]))
        stop.set()
        await task
        assert [dict(pairs)["log"] for _, pairs in sent.records][1:] == [TRACE[0]]

    asyncio.run(scenario())


def test_without_a_buffer_nothing_waits(tmp_path: Path) -> None:
    one = made(tmp_path, "multiline.parser python\nBuffer Off")
    assert [dict(record)["log"] for record in give(one, lines(*TRACE[:2]))] == ["\n".join(TRACE[:2])]


def test_the_longest_record_is_bounded(tmp_path: Path) -> None:
    one = made(tmp_path, "multiline.parser python\nEmitter_Mem_Buf_Limit 100")
    found = give(one, lines(TRACE[0], *([TRACE[1], "    " + "x" * 40] * 10), "end"))
    assert 50 < max(len(dict(record)["log"]) for record in found) <= 101


def test_the_longest_record_of_the_service_counts_too(tmp_path: Path) -> None:
    service = ServiceSettings(multiline_buffer_limit_bytes=1024)
    one = made(tmp_path, "multiline.parser python", service=service)
    found = give(one, lines(TRACE[0], *([TRACE[1], "    " + "x" * 40] * 50), "end"))
    assert 500 < max(len(dict(record)["log"]) for record in found) <= 1025


def pieces(*texts: str, ident: str = "a", last: bool = True) -> list[Pairs]:
    return [
        [
            ("partial_message", "true"),
            ("partial_id", ident),
            ("partial_ordinal", str(number)),
            ("partial_last", str(last and number == len(texts)).lower()),
            ("log", text),
        ]
        for number, text in enumerate(texts, 1)
    ]


def test_pieces_of_a_line_by_what_the_runtime_says(tmp_path: Path) -> None:
    """Those of two streams of one container come mixed; only their ids tell them apart."""
    one = made(tmp_path, "Mode partial_message")
    first, second, third = pieces("ab", "cd", "e")
    other, last = pieces("x", "y", ident="b")
    first = [*first, ("source", "stdout")]
    assert give(one, [first, other, second, [("log", "whole")], last, third]) == [
        [("log", "whole")],
        [("log", "xy")],
        [("source", "stdout"), ("log", "abcde")],
    ]


def test_pieces_that_wait_are_bounded_and_sent_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        sent, stop = Sent(), asyncio.Event()
        one = made(tmp_path, "Mode partial_message\nFlush_Ms 50\nEmitter_Mem_Buf_Limit 10", sent)
        task = asyncio.create_task(one.run(stop))
        assert give(one, pieces("x" * 6, "x" * 6, "y", last=False)) == [[("log", "x" * 12)]]
        await asyncio.wait_for(sent.grown.wait(), 10)
        assert sent.records == [("t", [("log", "y")])]
        stop.set()
        await task

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "most"), [("MAX_STREAMS", 3), ("MAX_OPEN_BYTES", 7_000_000)])
def test_the_longest_waiting_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(multiline, name, most)

    async def scenario() -> None:
        sent, stop = Sent(), asyncio.Event()
        one = made(tmp_path, "multiline.parser python\nFlush_Ms 3600000", sent)
        task = asyncio.create_task(one.run(stop))
        for tag in ("first", "second", "third"):
            assert give(one, [[*lines(TRACE[0])[0], ("other", "x" * 1_000_000)]], tag) == []
        await asyncio.wait_for(sent.grown.wait(), 10)
        assert [tag for tag, _ in sent.records] == ["first"]
        stop.set()
        await task
        assert [tag for tag, _ in sent.records] == ["first", "second", "third"]

    asyncio.run(scenario())


def opening(mode: str, number: int, *more: tuple[str, Any]) -> Pairs:
    """A record that waits in a stream of its own."""
    if mode == "parser":
        return [*lines(TRACE[0], stream=str(number))[0], *more]
    return [*pieces("x", ident=str(number), last=False)[0], *more]


MODES = {"parser": "multiline.parser python", "partial_message": "Mode partial_message"}


@pytest.mark.parametrize("mode", MODES)
def test_all_that_came_with_an_open_record_counts(tmp_path: Path, mode: str) -> None:
    """Nothing is sent on here: as while outputs have no room."""
    one, other = made(tmp_path, MODES[mode]), "x" * 100_000
    gone = [record for number in range(300) for record in give(one, [opening(mode, number, ("n", other))])]
    # Each takes its text twice: as that, and as the bytes it came in.
    assert 100 < (300 - len(gone)) * 2 * len(other) / 200_000 < (24 << 20) / 200_000
    if mode == "parser":
        assert [dict(pairs)["stream"] for pairs in gone] == [str(number) for number in range(len(gone))]


@pytest.mark.parametrize("mode", MODES)
def test_more_streams_than_may_be_go_on_with_their_records(tmp_path: Path, mode: str) -> None:
    one = made(tmp_path, MODES[mode])
    gone = give(one, [opening(mode, number) for number in range(6000)])
    assert 6000 - multiline.MAX_STREAMS <= len(gone) < 6000
    assert give(one, [[("log", "whole")]])[-1:] == [[("log", "whole")]]


def test_names_of_streams_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept where no record is open."""
    monkeypatch.setattr(multiline, "MAX_OPEN_BYTES", 1_000_000)
    one = made(tmp_path, "multiline.parser python")
    tracemalloc.start()
    for number in range(40):
        give(one, lines("alone", stream=f"{number}" * 100_000))
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken_bytes < 2_000_000


def test_an_empty_stream_counts_what_it_takes(tmp_path: Path) -> None:
    one = made(tmp_path, "multiline.parser python")
    tracemalloc.start()
    give(one, [pairs for number in range(1000) for pairs in lines("alone", stream=str(number))])
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken_bytes < 1000 * multiline.STREAM_BYTES


def test_what_is_of_another_tag_or_container_does_not_go_on_with_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiline, "MAX_STREAMS", 3)

    async def scenario() -> None:
        sent, stop = Sent(), asyncio.Event()
        stop.set()
        one = made(tmp_path, "multiline.parser python", sent)
        entries = [pack_entry(TIME_NS, pairs) for pairs in lines(TRACE[0], stream="c")]
        FilterChain([one]).apply((one,), "t", entries[0], Identity("node", "c" * 64))
        for tag in ("first", "second"):
            assert give(one, lines(TRACE[0]), tag) == []
        assert give(one, lines(TRACE[0])) == lines(TRACE[0])
        await one.run(stop)
        assert [(tag, dict(pairs)["stream"]) for tag, pairs in sent.records] == [
            ("t", "c"), ("first", "stdout"), ("second", "stdout"),
        ]  # fmt: skip

    asyncio.run(scenario())


def test_what_waits_for_room_in_the_outputs_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiline, "MAX_STREAMS", 3)

    async def scenario() -> None:
        offered, room, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def send(*_: Any) -> None:
            offered.set()
            await room.wait()

        one = made(tmp_path, "multiline.parser python\nFlush_Ms 1", send)
        give(one, [pairs for name in "abc" for pairs in lines(TRACE[0], stream=name)])
        task = asyncio.create_task(one.run(stop))
        await asyncio.wait_for(offered.wait(), 10)
        assert give(one, lines(TRACE[0])) == lines(TRACE[0])
        room.set()
        stop.set()
        await task
        assert give(one, lines(TRACE[0])) == []

    asyncio.run(scenario())


def test_rules_look_at_the_field_that_the_parser_names(tmp_path: Path) -> None:
    rules = connected(
        [Rule((START,), compile_onigmo("^E$"), "in"), Rule(("in",), compile_onigmo("^M$"), "in")]
    )
    parser = MultilineParser("levels", rules, key_pattern="level")
    one = Multiline(Settings(multiline_parser=("levels",)), (parser,), lambda tag: True, Sent())
    given: list[Pairs] = [[("level", level), ("log", log)] for level, log in ("Ea", "Mb", "Ic")]
    assert give(one, given) == [[("level", "E"), ("log", "a\nb")], [("level", "I"), ("log", "c")]]


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("Mode parser", InvalidConfiguration, "has no multiline.parser"),
        ("multiline.parser pyton", ConfigError, "there is no multiline parser called 'pyton'"),
        ("multiline.parser cri", ConfigError, "joins the parts of a runtime's line"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, text: str, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        made(tmp_path, text)

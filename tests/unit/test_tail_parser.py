"""Parsers of tail beyond the log core's: whole lines through a follower, and times that JSON lines have."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collector.config.parsers import Parser
from collector.config.stock_parsers import STOCK
from collector.entries import Pairs, pack_entry, unpack_entries
from collector.filters import rewrite_tag
from collector.inputs.tail_parser import JsonTimes, ParsedLines, reading
from collector.parsers.line import text_parser
from collector.plan import Field, Framing, Op
from tests.tail_follower import Follower, make_follower, running
from tests.unit.filtering import TIME_NS, SectionText, make

APACHE = b'1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 5'


def entries(*records: Pairs) -> bytes:
    return b"".join(pack_entry(TIME_NS, record) for record in records)


def test_which_parsers_the_log_core_reads() -> None:
    assert reading("cri", STOCK, "log")[2] is None
    assert reading("docker", STOCK, "log")[2] is None
    kind, layout, step = reading("apache", STOCK, "line")
    assert (kind, layout.content) == (Framing.LINE, "line")
    assert isinstance(step, ParsedLines)
    assert isinstance(reading("json", STOCK, "log")[2], JsonTimes)
    with pytest.raises(ValueError, match="there is no parser called 'nope'"):
        reading("nope", STOCK, "log")


def test_lines_are_taken_apart_and_others_stay_under_the_key() -> None:
    step = ParsedLines(text_parser(STOCK["apache"]), "log")
    given = entries([("log", APACHE.decode()), ("path", "/x")], [("log", "no such line"), ("path", "/x")])
    made, unparsed = step.apply(given)
    (time_ns, first), (kept_ns, second) = unpack_entries(made)
    assert unparsed == 1
    assert (time_ns, dict(first)["code"], first[-1]) == (971211336 * 10**9, "200", ("path", "/x"))
    assert (kept_ns, second) == (TIME_NS, [("log", "no such line"), ("path", "/x")])
    assert not step.allows([Field(Op.APPEND, "a", "b")])


def test_json_lines_without_the_key_are_not_taken_apart() -> None:
    step = JsonTimes(STOCK["json"])
    given = entries([("a", 1)], [("times", "x")])
    made, unparsed = step.apply(given)
    assert made is given
    assert unparsed == 0


def test_json_lines_have_their_own_time_where_it_can_be_read() -> None:
    step = JsonTimes(STOCK["json"])
    written = "10/Oct/2000:13:55:36 -0700"
    given = entries(
        [("a", 1), ("time", written)], [("time", "soon")], [("time", 5)], [("b", {"time": written})]
    )
    made, _ = step.apply(given)
    assert list(unpack_entries(made)) == [
        (971211336 * 10**9, [("a", 1)]),
        (TIME_NS, [("time", "soon")]),
        (TIME_NS, [("time", 5)]),
        (TIME_NS, [("b", {"time": written})]),
    ]
    assert step.allows([Field(Op.APPEND, "a", "b")])
    assert not step.allows([Field(Op.ADD, "time", "b")])


def test_a_kept_time_stays() -> None:
    step = JsonTimes(Parser("mine", "json", time_key="at", time_format="%s", time_keep=True))
    made, _ = step.apply(entries([("at", "5")]))
    assert list(unpack_entries(made)) == [(5 * 10**9, [("at", "5")])]


def test_a_file_through_a_parser_and_filters_of_other_tags(tmp_path: Path) -> None:
    """The position moves when the records of all tags are delivered, as one step."""

    async def follow() -> Follower:
        rewriting = make(rewrite_tag, SectionText(tmp_path, "Rule $code ^5 errors false"))
        keys = {"Parser": "apache", "DB": f"{tmp_path}/p.db", "Path_Key": "file"}
        one = make_follower(
            tmp_path, keys, filters=(rewriting,), acks=False, tag="t", Path=f"{tmp_path}/*.log"
        )
        async with running(one):
            with (tmp_path / "a.log").open("wb") as log:
                log.write(APACHE + b"\n" + APACHE.replace(b"200", b"503") + b"\n" + b"neither\n")
            await one.intake.wait_for(3)
        return one

    one = asyncio.run(follow())
    by_tag = {
        chunk.tag: [dict(pairs) for _, pairs in unpack_entries(chunk.entries)] for chunk in one.intake.chunks
    }
    assert [record.get("code") for record in by_tag["t"]] == ["200", None]
    assert [(record["code"], record["file"]) for record in by_tag["errors"]] == [("503", f"{tmp_path}/a.log")]
    assert by_tag["t"][1] == {"log": "neither", "file": f"{tmp_path}/a.log"}
    assert one.count("podwitness_tail_unparsed_lines_total") == 1
    offsets = [chunk.position.offset for chunk in one.intake.chunks if chunk.position is not None]
    assert offsets == [0, (tmp_path / "a.log").stat().st_size]
    assert len({chunk.id for chunk in one.intake.chunks}) == 2

"""Which framing a parser is: the ways in which people write the CRI expression, and others."""

from __future__ import annotations

import pytest

from collector.config.parsers import Parser, find, framing
from collector.config.stock_parsers import STOCK
from collector.parsers.rules import read_rule
from collector.plan import CRI_LAYOUT, Framing, Layout
from tests.reference.ruby import compile_regex

LINE = "2026-11-24T01:02:03.123456789Z stdout F a message, with words"
FORMAT = "%Y-%m-%dT%H:%M:%S.%L%z"


def cri(regex: str, *, time_key: str = "time", time_format: str = FORMAT, keep: bool = True) -> Parser:
    return Parser("mine", "regex", regex, time_key, time_format, keep)


@pytest.mark.parametrize(
    ("regex", "content"),
    [
        (STOCK["cri"].regex, "message"),
        (r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<log>.*)$", "log"),
        (r"^(?<time>.+) (?<stream>stdout|stderr) (?<logtag>[FP]) (?<log>.*)$", "log"),
        (r"^(?<time>.+)\s(?<stream>stdout|stderr)\s(?<logtag>F|P)\s(?<log>.*)", "log"),
        (r"/^(?<time>[^\s]+)\s+(?<stream>stderr|stdout) (?<logtag>\S+) (?<content>.*)$/", "content"),
        (r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) ?(?<log>.*)$", "log"),
    ],
)
def test_cri_in_all_its_notations(regex: str, content: str) -> None:
    layout = Layout(time="time", stream="stream", logtag="logtag", content=content)
    assert framing(cri(regex)) == (Framing.CRI, layout)
    # And it is the same expression: what it finds in a line is what the log core finds.
    found = compile_regex(regex).search(LINE)
    assert found is not None
    assert found.groupdict() == {
        "time": "2026-11-24T01:02:03.123456789Z",
        "stream": "stdout",
        "logtag": "F",
        content: "a message, with words",
    }


def test_the_time_stays_only_when_it_is_kept() -> None:
    regex = STOCK["cri"].regex
    found = framing(cri(regex, keep=False))
    assert found is not None
    assert (found[1].time, found[1].content) == ("", "message")


@pytest.mark.parametrize(
    "parser",
    [
        cri(r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<log>.*)$"),
        cri(r"^(?<time>[^ ]+) (?<stream>stdout) (?<logtag>[^ ]*) (?<log>.*)$"),
        cri(r"(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<log>.*)$"),
        cri(r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>F) (?<log>.*)$"),
        cri(r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<log>.*) end$"),
        cri(STOCK["cri"].regex, time_key=""),
        cri(STOCK["cri"].regex, time_format="%d/%b/%Y"),
        Parser("mine", "logfmt"),
    ],
)
def test_what_only_looks_alike_is_read_by_the_parser_itself(parser: Parser) -> None:
    assert framing(parser) is None


def test_json_is_read_by_the_log_core_with_a_time_that_it_knows() -> None:
    assert framing(STOCK["cri"]) == (Framing.CRI, CRI_LAYOUT)
    assert framing(STOCK["json"]) == (Framing.JSON, Layout(content="log"))
    assert framing(STOCK["docker"]) == (Framing.JSON, Layout(content="log", time="time"))
    decoding = Parser("mine", "json", decoders=(("Decode_Field_As", read_rule("json log", as_value=True)),))
    assert framing(decoding) is None


def test_a_parser_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"there is no parser called 'crio'\. Did you mean cri\?"):
        find("crio", STOCK)


def test_times_and_types_are_checked_when_they_are_read() -> None:
    with pytest.raises(ValueError, match="has %Q in"):
        Parser("mine", "json", time_format="%Q")


def test_a_regex_parser_needs_its_expression() -> None:
    with pytest.raises(ValueError, match="no Regex"):
        Parser("mine", "regex")

"""Which framing a parser is: the ways in which people write the CRI expression, and others."""

from __future__ import annotations

import re

import pytest

from collector.config.parsers import BUILT_IN, Parser, framing
from collector.config.ruby import compile_regex
from collector.plan import CRI_LAYOUT, Framing, Layout

LINE = "2026-11-24T01:02:03.123456789Z stdout F a message, with words"
FORMAT = "%Y-%m-%dT%H:%M:%S.%L%z"


def cri(regex: str, *, time_key: str = "time", time_format: str = FORMAT, keep: bool = True) -> Parser:
    return Parser("mine", "regex", regex, time_key, time_format, keep)


@pytest.mark.parametrize(
    ("regex", "content"),
    [
        (BUILT_IN["cri"].regex, "message"),
        (r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<log>.*)$", "log"),
        (r"^(?<time>.+) (?<stream>stdout|stderr) (?<logtag>[FP]) (?<log>.*)$", "log"),
        (r"^(?<time>.+)\s(?<stream>stdout|stderr)\s(?<logtag>F|P)\s(?<log>.*)", "log"),
        (r"/^(?<time>[^\s]+)\s+(?<stream>stderr|stdout) (?<logtag>\S+) (?<content>.*)$/", "content"),
        (r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) ?(?<log>.*)$", "log"),
    ],
)
def test_cri_in_all_its_notations(regex: str, content: str) -> None:
    layout = Layout(time="time", stream="stream", logtag="logtag", content=content)
    assert framing("mine", {"mine": cri(regex)}) == (Framing.CRI, layout)
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
    regex = BUILT_IN["cri"].regex
    _, layout = framing("mine", {"mine": cri(regex, keep=False)})
    assert (layout.time, layout.content) == ("", "message")


@pytest.mark.parametrize(
    "parser",
    [
        cri(r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<log>.*)$"),
        cri(r"^(?<time>[^ ]+) (?<stream>stdout) (?<logtag>[^ ]*) (?<log>.*)$"),
        cri(r"(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<log>.*)$"),
        cri(r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>F) (?<log>.*)$"),
        cri(r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<log>.*) end$"),
        cri(BUILT_IN["cri"].regex, time_key=""),
        cri(BUILT_IN["cri"].regex, time_format="%d/%b/%Y"),
        Parser("mine", "logfmt"),
    ],
)
def test_what_only_looks_alike_is_refused(parser: Parser) -> None:
    with pytest.raises(ValueError, match=re.escape("the parser 'mine' (Format ")):
        framing("mine", {"mine": parser})


def test_built_in_parsers() -> None:
    assert framing("cri", {}) == (Framing.CRI, CRI_LAYOUT)
    assert framing("json", {})[0] is Framing.JSON
    assert framing("docker", {})[0] is Framing.JSON


def test_a_parser_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"there is no parser called 'crio'\. Did you mean cri\?"):
        framing("crio", {})


def test_a_regex_parser_needs_its_expression() -> None:
    with pytest.raises(ValueError, match="no Regex"):
        Parser("mine", "regex")

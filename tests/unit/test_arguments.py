"""Flags in Fluent Bit's manner: each belongs to the plugin before it."""

from __future__ import annotations

import getopt

import pytest

from collector.config.arguments import read_arguments


def sections(*given: str) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (section.name, [(one.key, one.value) for one in section.entries])
        for section in read_arguments(given).sections
    ]


def test_plugins_in_their_order() -> None:
    inputs, filters = "-i tail -p path=/a=b -t x.*", "-F modify -p add=a\u00a0b -m y"
    outputs = "-o null --output=stdout -m * -p format=json"
    assert sections(*f"{inputs} {filters} {outputs}".split(" ")) == [
        ("INPUT", [("Name", "tail"), ("path", "/a=b"), ("Tag", "x.*")]),
        ("FILTER", [("Name", "modify"), ("add", "a\u00a0b"), ("Match", "y")]),
        ("OUTPUT", [("Name", "null"), ("Match", "*")]),
        ("OUTPUT", [("Name", "stdout"), ("Match", "*"), ("format", "json")]),
    ]


def test_match_regex_is_a_match() -> None:
    assert sections("-o", "null", "-p", "match_regex=x") == [
        ("OUTPUT", [("Name", "null"), ("match_regex", "x")])
    ]


def test_service() -> None:
    assert sections("-f", "2", "-l", "/log", "-H", "-P", "2021", "-vv", "-q") == [
        (
            "SERVICE",
            [
                ("Flush", "2"),
                ("Log_File", "/log"),
                ("HTTP_Server", "On"),
                ("HTTP_Port", "2021"),
                ("Log_Level", "debug"),
                ("Log_Level", "trace"),
                ("Log_Level", "off"),
            ],
        )
    ]


def test_files_and_modes() -> None:
    asked = read_arguments(["--config", "a.conf", "-R", "p", "--parser=q", "--dry-run", "--version", "-h"])
    assert (asked.config, asked.parsers_files) == ("a.conf", ["p", "q"])
    assert (asked.dry_run, asked.version, asked.help, asked.has_plugins) == (True, True, True, False)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["-x"], "option -x not recognized"),
        (["-c"], "option -c requires argument"),
        (["a.conf"], "'a.conf' is neither a flag nor a subcommand"),
        (["-p", "a=b"], "-p a=b has no plugin before it; write -i, -F or -o first"),
        (["-m", "*"], "-m * has no plugin before it; write -i, -F or -o first"),
        (["-i", "tail", "-p", "path"], "-p path is not KEY=VALUE"),
        (["-i", "tail", "-p", "path="], "-p path= is not KEY=VALUE"),
        (["-i", "tail", "-m", "*"], "-m * belongs to a filter or output, but an input is before it"),
        (["-o", "null", "-t", "x"], "-t x belongs to an input, but an output is before it"),
        (["-F", "modify", "-t", "x"], "-t x belongs to an input, but a filter is before it"),
    ],
)
def test_mistakes(given: list[str], reason: str) -> None:
    with pytest.raises(getopt.GetoptError) as caught:
        read_arguments(given)
    assert str(caught.value) == reason

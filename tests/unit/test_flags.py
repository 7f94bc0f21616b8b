"""The table of flags: getopt's view of it, and that nothing is listed twice."""

from __future__ import annotations

import getopt
import os
import re
from pathlib import Path
from typing import Any

import pytest

from collector import cli
from collector.config import flags
from collector.config.arguments import read_arguments
from collector.config.schema import InvalidConfiguration

# Fluent Bit 5, src/fluent-bit.c: what it gives to getopt, but for Windows.
OF_FLUENT_BIT = "b:c:dDf:C:i:m:o:R:r:F:p:e:t:T:l:vw:qVhJL:HP:s:SWYZ"
LONG_OF_FLUENT_BIT = """
    storage_path config daemon dry-run flush http_server http_listen http_port supervisor log_file custom
    input processor filter output match parser prop plugin tag sp-task version verbose workdir quiet help
    help-json coro_stack_size sosreport enable-hot-reload enable-chunk-trace trace trace-input
    trace-output trace-output-property enable-fips disable-thread-safety-on-hot-reload
"""


def test_every_flag_of_fluent_bit_is_known() -> None:
    wanted = {one.rstrip(":"): one.endswith(":") for one in re.findall(".:?", OF_FLUENT_BIT)}
    assert {flag.short: bool(flag.takes) for flag in flags.FLAGS if flag.short} == wanted
    for name in LONG_OF_FLUENT_BIT.split():
        ((found, _),), _ = getopt.gnu_getopt(
            [f"--{name}", "x"], "", [one.rstrip("=") for one in flags.long_options()]
        )
        assert flags.find(found)


def test_names_are_unique() -> None:
    names = [name for flag in flags.FLAGS for name in {flag.short, flag.long, *flag.also} if name]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("flag", [one for one in flags.FLAGS if one.refused], ids=str)
def test_a_refused_flag_says_why(flag: flags.Flag) -> None:
    with pytest.raises(getopt.GetoptError, match="is not for podwitness: podwitness"):
        read_arguments([f"--{flag.long}", *(["x"] if flag.takes else [])])


@pytest.mark.parametrize("flag", [one for one in flags.FLAGS if one.ignored], ids=str)
def test_a_flag_without_effect_says_why(flag: flags.Flag) -> None:
    asked = read_arguments([f"-{flag.short}", *(["4096"] if flag.takes else [])])
    assert asked.sections == []
    assert asked.notices == [f"argument:1: {flag!s} has no effect: {flag.ignored}."]


def test_each_flag_is_in_the_help_and_on_the_page() -> None:
    help_text, page = "\n".join(flags.listing()), "\n".join(flags.table())
    for flag in flags.FLAGS:
        assert f"--{flag.long}" in help_text
        assert f"--{flag.long}" in page
        assert flags.effect(flag)


PLUGINS = ("-i", "dummy", "-o", "null")


def service(*given: str) -> Any:
    return cli.load(read_arguments([*PLUGINS, *given])).service


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ("-b /var/spool", "storage_path", "/var/spool"),
        ("-f 0.5", "flush_s", 0.5),
        ("--flush=2", "flush_s", 2.0),
        ("-l /var/log/x", "log_file", "/var/log/x"),
        ("-H", "http_server", True),
        ("--http_server", "http_server", True),
        ("-L 127.0.0.1", "http_listen", "127.0.0.1"),
        ("-P 2021", "http_port", 2021),
        ("--http_port 2021", "http_port", 2021),
        ("-Y", "hot_reload", True),
        ("-v", "log_level", "debug"),
        ("-vv", "log_level", "trace"),
        ("-v -v", "log_level", "trace"),
        ("-q", "log_level", "off"),
    ],
)
def test_flags_of_the_service(given: str, field: str, value: object) -> None:
    assert getattr(service(*given.split()), field) == value
    assert getattr(service(), field) != value


def test_flags_of_plugins() -> None:
    written = "-i dummy -t a -p samples=1 -r modify -p ADD -F grep -m a -p REGEX -o null -o stdout -m b"
    given = written.replace("REGEX", "regex=message~.").split()
    with pytest.raises(InvalidConfiguration, match="argument:5: add is 'x'"):
        cli.load(read_arguments([one.replace("ADD", "add=x").replace("~", " ") for one in given]))
    document = cli.load(read_arguments([one.replace("ADD", "add=x 1").replace("~", " ") for one in given]))
    (dummy,), (grep,), (null, stdout) = document.inputs, document.filters, document.outputs
    assert (dummy.tag, dummy.settings.samples) == ("a", 1)
    assert [one.settings.rules for one in dummy.processors] == [(("Add", ("x", "1")),)]
    assert [(grep.matches(tag), null.matches(tag), stdout.matches(tag)) for tag in "ab"] == [
        (True, True, False),
        (False, True, True),
    ]


@pytest.mark.parametrize("before", [[], ["-o", "null"], ["-F", "grep"]])
def test_a_processor_belongs_to_an_input(before: list[str]) -> None:
    with pytest.raises(getopt.GetoptError, match="-r modify belongs to an input; write -i first"):
        read_arguments([*before, "-r", "modify"])


def test_files_and_the_folder_to_work_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.yaml").write_text(
        "pipeline: {inputs: [{name: tail, path: /x, parser: own}], outputs: [{name: 'null', match: '*'}]}\n"
    )
    (tmp_path / "own.conf").write_text("[PARSER]\n    Name own\n    Format json\n")
    monkeypatch.chdir("/")  # put back after the test
    assert cli.main(["-w", str(tmp_path), "-c", "main.yaml", "-R", "own.conf", "--dry-run"]) == 0
    assert os.getcwd() == str(tmp_path)
    assert capsys.readouterr().out == "configuration test is successful\n"
    assert cli.main(["-c", "main.yaml", "-D"]) == 1
    assert "there is no parser called 'own'" in capsys.readouterr().err
    assert cli.main(["-w", "nowhere", "-c", "main.yaml", "-D"]) == 1
    assert capsys.readouterr().err == "podwitness: -w nowhere: No such file or directory.\n"
    assert cli.main(["-c", "nowhere.conf"]) == 1
    assert "nowhere.conf can't be read: No such file or directory." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "said"),
    [("-h", "### null\n"), ("-V", "podwitness v"), ("-S", "input dummy.0 (argument:1)")],
)
def test_flags_instead_of_running(flag: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*PLUGINS, flag]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "flag", ["-d", "-e x.so", "-T SELECT", "-C calyptia", "-J", "--supervisor", "--trace x"]
)
def test_refused_flags_end_the_program(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*PLUGINS, *flag.split()]) == 2
    assert " is not for podwitness: podwitness " in capsys.readouterr().err

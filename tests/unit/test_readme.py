"""The README is about the program that is here: its plugins, keys, commands, configurations and files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from collector.cli import SUBCOMMANDS
from collector.config.arguments import read_arguments
from collector.config.document import load_file
from collector.config.instances import FilterCommon, InputCommon, OutputCommon
from collector.config.schema import keys_of
from collector.config.service import ServiceSettings
from collector.plugins import PLUGINS, PluginKind, names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CONFIGURATIONS = [block for block in BLOCKS if block.startswith("[")]
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("podwitness ")]
PAGES = sorted(path for path in ROOT.glob("*.md")) + sorted(ROOT.glob("*/README.md"))


@pytest.mark.parametrize("kind", ["input", "filter", "output"])
def test_it_names_every_plugin(kind: PluginKind) -> None:
    (row,) = re.findall(rf"^\| {kind}s \| (.*) \|$", README, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", row)) == sorted(names(kind))


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_its_configurations_are_without_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "main.conf").write_text(text)
    assert load_file(str(tmp_path / "main.conf"), {}).notices == ()


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_understood(line: str) -> None:
    _, first, *_ = arguments = shlex.split(line)
    if first not in SUBCOMMANDS:
        read_arguments(arguments[1:])


def test_there_is_something_to_be_checked() -> None:
    assert CONFIGURATIONS
    assert {line.split()[1] for line in COMMANDS} >= {"doctor", "-c"}


def test_its_keys_are_there() -> None:
    declared = [ServiceSettings, InputCommon, FilterCommon, OutputCommon]
    known = {name for one in declared for key in keys_of(one) for name in key.names}
    known |= {name for row in PLUGINS for key in keys_of(row.load().Settings) for name in key.names}
    named = re.findall(r"`(storage\.[a-z_.]+|[A-Z][a-z]+(?:_[A-Z][a-z]+)+|Compat|Trace)\b", README)
    assert len(named) > 5
    assert set(named) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_refers_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target

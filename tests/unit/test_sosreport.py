"""The report for a question: it names what runs, and no secret."""

from __future__ import annotations

import pytest

from collector.cli import main
from collector.config.arguments import read_arguments
from collector.config.document import load_sections
from collector.sosreport import report


def test_plugins_are_listed_without_their_secrets() -> None:
    forward = ("-o", "forward", "-p", "Host=there", "-p", "Shared_Key=hunter2", "-p", "Password=hunter3")
    asked = read_arguments(["-i", "systemd", "-t", "x", *forward])
    text = report(load_sections(asked.sections, {}))
    assert "input systemd.0" in text
    assert "output forward.0" in text
    assert "there" in text
    assert "hunter" not in text
    assert "Shared_Key     (not shown)" in text


def test_the_flag_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-i", "systemd", "-o", "null", "-S"]) == 0
    assert "kernel         Linux" in capsys.readouterr().out

"""collector.doctor.command: arguments, what is printed where, exit codes."""

from __future__ import annotations

import json

import pytest

from collector.doctor import command
from collector.doctor.attempt import Attempt
from tests.unit.doctor_facts import ATTEMPT, FACTS


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def gather(root: str) -> object:
        asked.append(root)
        return FACTS

    monkeypatch.setattr(command, "gather", gather)
    monkeypatch.setattr(command, "attempt", lambda: ATTEMPT)
    return asked


def test_text_is_plain_in_a_pipe(roots: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert "All is well." in out
    assert "\x1b" not in out
    assert roots == ["/"]


@pytest.mark.parametrize(("no_colour", "escapes"), [(False, True), (True, False)])
def test_colours_on_a_terminal(
    roots: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    no_colour: bool,
    escapes: bool,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    command.main([])
    assert ("\x1b[32m" in capsys.readouterr().out) == escapes


def test_json_and_the_root_of_the_host(
    roots: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "attempt", lambda: Attempt(error="refused"))
    assert command.main(["--json", "--host-root", "/host"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
    assert roots == ["/host"]


def test_a_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--jason"])
    assert "--jason" in capsys.readouterr().err

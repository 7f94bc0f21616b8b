"""collector.doctor.command: arguments, what is printed where, exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from collector.config.document import load_sections
from collector.config.sections import Entry, Section
from collector.doctor import command
from collector.doctor.attempt import Attempt
from probes.catalog import hooks_of
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


FAILING_FLOW = replace(
    ATTEMPT,
    hooks=tuple(
        hook._replace(state="failed", dialect=None, reason="no") if hook.subject == "flow" else hook
        for hook in ATTEMPT.hooks
    ),
)


@pytest.mark.parametrize(
    ("trace", "status"), [("", 0), ("    Trace process\n", 0), ("    Trace process network flow\n", 2)]
)
def test_judged_by_what_the_configuration_traces(
    roots: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trace: str, status: int
) -> None:
    monkeypatch.setattr(command, "attempt", lambda: FAILING_FLOW)
    path = tmp_path / "a.conf"
    path.write_text(f"[INPUT]\n    Name ebpf\n{trace}[OUTPUT]\n    Name null\n    Match *\n")
    assert command.main(["-c", str(path)]) == status
    assert command.main([]) == 0


def test_a_broken_configuration(roots: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[INPUT]\n    Name ebpf\n    Trace nothing\n")
    assert command.main(["-c", str(path)]) == 2
    assert "a.conf:3" in capsys.readouterr().err
    assert roots == []


def test_what_is_attached_unasked_is_traced_too() -> None:
    def hooks(*subjects: str) -> set[str]:
        return {hook.tracepoint for hook in hooks_of(subjects)}

    def traced(*inputs: dict[str, str]) -> frozenset[str]:
        plugins = [*(("INPUT", keys) for keys in inputs), ("OUTPUT", {"Name": "null", "Match": "*"})]
        sections = [
            Section(kind, "a.conf", 1, tuple(Entry(*pair, "a.conf", 2) for pair in keys.items()))
            for kind, keys in plugins
        ]
        return command.traced_hooks(load_sections(sections, {}))

    ebpf = {"Name": "ebpf", "Trace": "network"}
    assert traced(ebpf) == hooks("network", "cgroup", "state")
    assert traced({**ebpf, "State": "Off"}) == hooks("network", "cgroup")
    assert traced(ebpf, {**ebpf, "Trace": "flow"}) == hooks("network", "flow", "cgroup", "state")
    single = traced({**ebpf, "Trace": "privilege.kill flow.bind", "State": "Off"})
    assert single - hooks("cgroup") == {"signal_generate", "cgroup_post_bind4", "cgroup_post_bind6"}
    assert traced({"Name": "tail", "Path": "/x/*.log"}) == frozenset()


def test_a_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--jason"])
    assert "--jason" in capsys.readouterr().err

"""collector.doctor.attempt on the running kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.doctor import attempt as module
from collector.doctor.attempt import attempt
from collector.inputs.event_heartbeat import PROVABLE
from probes.catalog import SUBJECTS
from probes.launch import ProbeError
from tests.kernel.hooks_here import hooks_here


def test_every_hook_and_a_heartbeat() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before, children_before = set(os.listdir("/proc/self/fd")), children.read_text()
    found = attempt()
    assert (found.error, found.connector_error) == ("", "")
    assert [hook.hook for hook in found.hooks] == hooks_here(*SUBJECTS)
    assert {hook.state for hook in found.hooks} == {"attached"}
    assert found.expected == PROVABLE <= found.heard  # which has what only comes with it, too: the bind
    assert 0 < found.latency_s < 30
    assert set(os.listdir("/proc/self/fd")) == before
    assert children.read_text() == children_before


def test_no_probe_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise ProbeError("No BTF.", "", "Another kernel.")

    monkeypatch.setattr(module, "launch", refuse)
    found = attempt()
    assert found.error == "No BTF. Another kernel."
    assert (found.hooks, found.heard) == ((), frozenset())

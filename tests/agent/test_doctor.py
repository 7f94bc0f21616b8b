"""`podwitness doctor` as a process, with few privileges and with all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from collector.doctor.facts import has_legacy_cgroups
from probes.catalog import SUBJECTS
from tests.deploy import manifests
from tests.kernel.hooks_here import hooks_here

pytestmark = pytest.mark.kernel


def doctor(*arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "collector", "doctor", *arguments]
    return subprocess.run(
        command, cwd=manifests.ROOT, capture_output=True, text=True, check=False, timeout=100
    )


def states(report: str) -> dict[str, Any]:
    return {check["check"]: check["state"] for check in json.loads(report)["checks"]}


def with_capabilities(*names: str) -> list[str]:
    bounding = ",".join(["-all", *(f"+{name.lower()}" for name in names)])
    return ["setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={bounding}"]


def test_as_root_nothing_that_is_needed_fails() -> None:
    done = doctor("--json")
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert {states(done.stdout)[hook] for hook in hooks_here(*SUBJECTS)} == {"works"}
    assert states(done.stdout)["heartbeat"] == "works"


def test_flows_that_are_asked_for_need_their_capability(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[INPUT]\n    Name ebpf\n    Trace process flow\n[OUTPUT]\n    Name null\n    Match *\n")
    done = doctor("-c", str(path), prefix=with_capabilities(*manifests.capabilities()))
    assert done.returncode == 2
    assert "podwitness needs: cgroup_skb_egress" in done.stdout
    assert "-> For `Trace flow` grant NET_ADMIN" in done.stdout


def test_with_the_capabilities_of_the_daemonset() -> None:
    done = doctor("--json", prefix=with_capabilities(*manifests.capabilities()))
    assert done.returncode == 1
    found = states(done.stdout)
    assert {found[name] for name in ("BPF", "PERFMON", "DAC_READ_SEARCH", "heartbeat")} == {"works"}
    is_hybrid = has_legacy_cgroups(Path("/proc/self/cgroup").read_text())
    assert found["cgroups"] == ("lesser" if is_hybrid else "works")
    assert (found["for netlink"], found["Trace flow"]) == ("lesser", "off")
    assert not [state for state in found.values() if state == "fails"]


def test_without_capabilities_it_says_what_is_missing() -> None:
    done = doctor(prefix=with_capabilities())
    assert done.returncode == 2
    assert "podwitness needs: BPF, PERFMON, all hooks, heartbeat." in done.stdout
    assert "-> Grant BPF" in done.stdout
    assert "EPERM" in done.stdout
    assert done.stderr == ""


def test_as_another_user() -> None:
    """Who may read everything, as the folder of this tree may be closed to others."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = doctor("--json", prefix=[*user, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"])
    assert done.returncode == 2
    assert states(done.stdout)["BPF"] == "fails"
    assert done.stderr == ""

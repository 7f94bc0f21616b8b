"""collector.privilege: the table of what is needed, and giving up the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from collector import privilege
from collector.config.document import load_file
from collector.privilege import NEEDS, Situation
from tests.deploy import manifests

ROOT = Path(__file__).resolve().parents[2]
PLAIN = Situation(has_probes=True, http_port=2020, cgroups_at="/sys/fs/cgroup", not_ours=())


def in_a_process(code: str) -> Any:
    """What `code` leaves in `result`; in a process of its own, as nothing that was given up comes back."""
    body = f"import json\nfrom collector import privilege\n{textwrap.dedent(code)}\nprint(json.dumps(result))"
    done = subprocess.run(
        [sys.executable, "-c", body], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


SHOWN = """
def shown(held):
    return {"permitted": sorted(held.permitted), "effective": sorted(held.effective),
            "bounding": sorted(held.bounding), "no_new_privs": held.no_new_privs}
"""


def test_architecture_has_the_table() -> None:
    assert privilege.table() in (ROOT / "ARCHITECTURE.md").read_text()


def test_the_daemonset_grants_what_is_always_needed_and_no_more() -> None:
    always = {need.capability for need in NEEDS if not need.when}
    assert set(manifests.capabilities()) == always


def test_numbers_are_the_kernels() -> None:
    defined = {}
    for line in Path("/usr/include/linux/capability.h").read_text().splitlines():
        match line.split():
            case ["#define", name, number, *_] if name.startswith("CAP_") and number.isdigit():
                defined[int(number)] = name.removeprefix("CAP_")
    assert dict(enumerate(privilege.CAPABILITIES)) == defined


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, {"DAC_READ_SEARCH"}),
        ({"http_port": 80}, {"DAC_READ_SEARCH", "NET_BIND_SERVICE"}),
        ({"http_port": None}, {"DAC_READ_SEARCH"}),
        ({"input_ports": (24224, 601)}, {"DAC_READ_SEARCH", "NET_BIND_SERVICE"}),
        ({"cgroups_at": "/proc/1/root/sys/fs/cgroup"}, {"DAC_READ_SEARCH", "SYS_PTRACE"}),
        ({"not_ours": ("/home/somebody",)}, {"DAC_READ_SEARCH", "DAC_OVERRIDE"}),
    ],
)
def test_what_the_collector_keeps(change: dict[str, Any], kept: set[str]) -> None:
    assert privilege.wanted("collector", PLAIN._replace(**change)) == kept


def test_the_starter_keeps_nothing_without_probes() -> None:
    for_probes = {"BPF", "PERFMON", "SYS_RESOURCE", "DAC_READ_SEARCH"}
    for_netlink = {"NET_ADMIN", "SYS_PTRACE", "SYS_ADMIN", "SYS_NICE"}
    assert privilege.wanted("starter", PLAIN) == for_probes | for_netlink
    assert privilege.wanted("starter", PLAIN._replace(has_probes=False)) == set()


def test_names_of_a_mask() -> None:
    assert privilege.names(1 << 39 | 1 << 2 | 1 << 50) == {"BPF", "DAC_READ_SEARCH", "50"}


def test_status_of_a_process() -> None:
    text = "Name:\tx\nNoNewPrivs:\t1\nCapInh:\t0\nCapPrm:\t0000000000000004\nCapEff:\t0\nCapBnd:\t5\n"
    found = privilege.held(text)
    assert found.permitted == {"DAC_READ_SEARCH"}
    assert found.effective == set()
    assert found.no_new_privs
    assert found.bounding == {"DAC_READ_SEARCH", "CHOWN"}


def test_what_is_given_up_is_gone() -> None:
    code = SHOWN + "result = shown(privilege.narrow(['DAC_READ_SEARCH', 'SYS_RESOURCE']))"
    result = in_a_process(code)
    expected = sorted({"DAC_READ_SEARCH", "SYS_RESOURCE"} & privilege.own().permitted)
    assert result == {
        "permitted": expected,
        "effective": expected,
        "bounding": expected,
        "no_new_privs": True,
    }


def test_programs_that_are_started_get_nothing_back() -> None:
    result = in_a_process(
        """
        import subprocess
        privilege.narrow(["DAC_READ_SEARCH"])
        status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
        result = sorted(privilege.held(status).effective)
        """
    )
    assert result == ["DAC_READ_SEARCH"]


def test_another_user_passes_them_on_only_where_asked() -> None:
    code = """
        import ctypes, os, subprocess, sys
        libc = ctypes.CDLL(None)
        libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS: over the change of user
        os.setuid(65534)
        privilege.narrow(["DAC_READ_SEARCH"], for_children={})
        status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
        result = sorted(privilege.held(status).effective)
    """
    assert in_a_process(code.format(True)) == ["DAC_READ_SEARCH"]
    assert in_a_process(code.format(False)) == []


def test_a_capability_that_is_not_held_is_not_missed() -> None:
    code = SHOWN + "privilege.narrow([]); result = shown(privilege.narrow(['SYS_ADMIN']))"
    assert in_a_process(code)["permitted"] == []


def test_who_may_write(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir(mode=0o755)
    os.chown(theirs, 65534, 65534)
    assert privilege.is_writable_by_owner(str(ours / "not" / "there"))
    assert not privilege.is_writable_by_owner(str(theirs / "not there"))
    theirs.chmod(0o777)
    assert privilege.is_writable_by_owner(str(theirs))
    ours.chmod(0o555)
    assert not privilege.is_writable_by_owner(str(ours))


def test_situation_of_a_configuration(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    config = tmp_path / "podwitness.conf"
    config.write_text(
        "[SERVICE]\n    HTTP_Server On\n    HTTP_Port 81\n"
        f"[INPUT]\n    Name tail\n    Path /x/*.log\n    DB {theirs}/tail.db\n"
        f"[INPUT]\n    Name forward\n    Port 514\n    Unix_Path {theirs}/in.sock\n"
        f"[OUTPUT]\n    Name file\n    Match *\n    Path {tmp_path}\n"
    )
    found = privilege.situation_of(load_file(str(config), {}))
    assert (found.has_probes, found.http_port) == (False, 81)
    assert found.not_ours == (str(theirs), str(theirs / "tail.db"), str(theirs))
    assert found.input_ports == (514,)
    assert os.path.isfile(f"{found.cgroups_at}/cgroup.controllers")

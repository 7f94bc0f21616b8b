"""The DaemonSet's capabilities are enough, and each is needed: tried on this kernel with exactly that list.

SYS_RESOURCE is for kernels before 5.11 and can't be shown on a newer one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT, capabilities

pytestmark = pytest.mark.kernel

ATTACH = """
import asyncio
from probes.catalog import SUBJECTS
from probes.launch import launch

async def main():
    subjects = [subject for subject in SUBJECTS if subject != "flow"]
    attached = await launch(subjects, ring_bytes=1 << 20)
    print(*(hook.state for hook in attached.hooks))
    attached.close()

asyncio.run(main())
"""

CGROUP_BY_ID = """
import os
from collector.identity.cgroup_tree import CgroupTree

tree = CgroupTree.find()
print(tree.path_of(os.stat(tree.point).st_ino))
"""


def run_with(names: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """`code` as root, but with no other capability than `names`."""
    bounding = ",".join(["-all", *(f"+{name.lower()}" for name in names)])
    command = ["setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={bounding}"]
    command += [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def without(name: str) -> list[str]:
    return [each for each in capabilities() if each != name]


def test_all_probes_attach() -> None:
    done = run_with(capabilities(), ATTACH)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"attached"}


def test_flows_take_one_more() -> None:
    """NET_ADMIN, for programs at the root of the cgroup tree; without it the others are attached."""
    attach = ATTACH.replace('if subject != "flow"', 'if subject in ("flow", "cgroup")').replace(
        "hook.state for", "f'{hook.state} {hook.reason}' for"
    )
    done = run_with([*capabilities(), "NET_ADMIN"], attach)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    done = run_with(capabilities(), attach)
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count("failed"), done.stdout.count("NET_ADMIN")) == (5, 5)
    assert "attached" in done.stdout


@pytest.mark.parametrize("name", ["BPF", "PERFMON"])
def test_no_probe_attaches_without(name: str) -> None:
    done = run_with(without(name), ATTACH)
    assert done.returncode != 0
    assert name in done.stderr.splitlines()[-1]  # and the error says which are wanted


def test_cgroups_are_opened_by_id() -> None:
    assert run_with(capabilities(), CGROUP_BY_ID).stdout == "/\n"
    assert "Operation not permitted" in run_with(without("DAC_READ_SEARCH"), CGROUP_BY_ID).stderr


def test_logs_of_other_users_are_read(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("seen")
    log.chmod(0o600)
    subprocess.run(["chown", "-R", "nobody", str(tmp_path)], check=True)
    code = f"print(open({str(log)!r}).read())"
    assert run_with(capabilities(), code).stdout == "seen\n"
    assert "Permission denied" in run_with(without("DAC_READ_SEARCH"), code).stderr

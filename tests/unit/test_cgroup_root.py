"""probes.cgroup_root: the root of the whole tree, or a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.cgroup_root import ROOT_ID, mount_points, open_root, unescaped
from tests.kernel.sandbox import await_empty

LINES = """\
21 1 0:20 / /sys rw shared:2 - sysfs sysfs rw
22 21 0:21 / /sys/fs/cgroup\\040two rw shared:3 - cgroup2 cgroup2 rw
25 21 0:21 /../.. /of/the/host rw shared:3 - cgroup2 cgroup2 rw
23 21 0:21 /kubepods /elsewhere rw shared:3 - cgroup2 cgroup2 rw
24 21 0:22 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu
"""


def test_only_whole_mounts_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(LINES)
    assert list(mount_points(tmp_path)) == [
        f"{tmp_path}/root/sys/fs/cgroup two",
        f"{tmp_path}/root/of/the/host",
    ]


def test_root_of_this_machine() -> None:
    descriptor = open_root()
    assert os.fstat(descriptor).st_ino == ROOT_ID
    os.close(descriptor)


def test_root_from_within_a_cgroup_namespace() -> None:
    """As in a pod: what the host has mounted shows as `/..` there."""
    code = (
        "import os; from probes import cgroup_root;"
        "print(os.fstat(cgroup_root.open_root((cgroup_root.VIEWS[0],))).st_ino)"
    )
    own = next(iter(mount_points(Path("/proc/self"))))
    folder = Path(own, f"podwitness-test-{os.getpid()}")
    folder.mkdir()
    try:
        command = ["sh", "-euc", 'echo 0 > "$1/cgroup.procs"; shift; exec unshare --cgroup "$@"', "sh"]
        done = subprocess.run(
            [*command, str(folder), sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == (f"{ROOT_ID}\n", "")
    finally:
        await_empty(folder)
        folder.rmdir()


def test_a_namespaces_root_is_not_the_trees(tmp_path: Path) -> None:
    """A mount in a cgroup namespace of our own looks whole, but is a part."""
    (tmp_path / "mountinfo").write_text(LINES)
    (tmp_path / "root/sys/fs/cgroup two").mkdir(parents=True)
    with pytest.raises(OSError, match="No such file or directory") as raised:
        open_root((tmp_path, tmp_path / "gone"))
    assert raised.value.filename == "no mount shows the root of the cgroup2 file system"


def test_octal_escapes() -> None:
    assert unescaped("/a\\040b\\134c") == "/a b\\c"

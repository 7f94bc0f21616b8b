"""probes.cgroup_root: the root of the whole tree, or a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from probes.cgroup_root import ROOT_ID, mount_points, open_root, unescaped

LINES = """\
21 1 0:20 / /sys rw shared:2 - sysfs sysfs rw
22 21 0:21 / /sys/fs/cgroup\\040two rw shared:3 - cgroup2 cgroup2 rw
23 21 0:21 /kubepods /elsewhere rw shared:3 - cgroup2 cgroup2 rw
24 21 0:22 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu
"""


def test_only_whole_mounts_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(LINES)
    assert list(mount_points(tmp_path)) == [f"{tmp_path}/root/sys/fs/cgroup two"]


def test_root_of_this_machine() -> None:
    descriptor = open_root()
    assert os.fstat(descriptor).st_ino == ROOT_ID
    os.close(descriptor)


def test_a_namespaces_root_is_not_the_trees(tmp_path: Path) -> None:
    """A mount in a cgroup namespace of our own looks whole, but is a part."""
    (tmp_path / "mountinfo").write_text(LINES)
    (tmp_path / "root/sys/fs/cgroup two").mkdir(parents=True)
    with pytest.raises(OSError, match="No such file or directory") as raised:
        open_root((tmp_path, tmp_path / "gone"))
    assert raised.value.filename == "no mount shows the root of the cgroup2 file system"


def test_octal_escapes() -> None:
    assert unescaped("/a\\040b\\134c") == "/a b\\c"

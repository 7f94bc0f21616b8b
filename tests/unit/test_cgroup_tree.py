"""The cgroup2 mount is found in a mount table, and the kernel tells paths for ids."""

from __future__ import annotations

from collector.identity.cgroup_tree import Mount, cgroup2_mounts

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:6 - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:15 master:3 - cgroup2 cgroup2 rw
"""
IN_A_POD = """\
727 726 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
800 726 0:27 /../../../.. /host/sys/fs/cgroup ro,relatime master:9 - cgroup2 cgroup2 rw
"""


def test_hybrid_node_has_it_beside_version_1() -> None:
    assert cgroup2_mounts(HYBRID) == [Mount("/sys/fs/cgroup/unified", "/")]


def test_pod_with_the_hosts_mount() -> None:
    assert cgroup2_mounts(IN_A_POD) == [
        Mount("/sys/fs/cgroup", "/"),
        Mount("/host/sys/fs/cgroup", "/../../../.."),
    ]


def test_escapes_of_the_mount_table() -> None:
    line = r"41 31 0:38 / /mnt/a\040b\134c rw - cgroup2 cgroup2 rw"
    assert cgroup2_mounts(line) == [Mount("/mnt/a b\\c", "/")]


def test_other_lines_are_passed_over() -> None:
    assert cgroup2_mounts("\n1 2 - cgroup2 x\nnonsense\n41 31 0:1 / /x rw - ext4 /dev/x rw\n") == []

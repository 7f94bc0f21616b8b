"""In a private cgroup namespace podwitness sees too little, and does not take the rest for the host."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.identity.cgroup_tree import CgroupTree
from tests.containers.node import cgroup2_root, remove_cgroups

_INSIDE = """
import sys
from collector.identity.cgroup_tree import CgroupTree
tree = CgroupTree("/mnt")
print([path for _, path in tree.walk()], tree.path_of(int(sys.argv[1])), tree.path_of(int(sys.argv[2])))
"""
_ALONE = """
from collector.identity.table import IdentityTable
table = IdentityTable.open("node1")
table.scan()
print(table.by_cgroup(1, 0), table.statistics()["cgroups"])
"""


@pytest.fixture
def cgroups() -> Iterator[Path]:
    top = cgroup2_root() / f"podwitness-{uuid.uuid4()}"
    for name in ("inside/child", "outside"):
        (top / name).mkdir(parents=True)
    yield top
    remove_cgroups(f"/{top.name}")


def test_ids_outside_the_namespace_are_unknown(cgroups: Path) -> None:
    inside, outside = cgroups / "inside/child", cgroups / "outside"
    ids = [str(one.stat().st_ino) for one in (inside, outside)]
    script = f"""
        echo $$ > {cgroups}/inside/cgroup.procs
        exec unshare --cgroup --mount sh -c 'mount -t cgroup2 cgroup2 /mnt; exec "$0" "$@"' "$@"
    """
    command = ["sh", "-c", script, "sh", sys.executable, "-c", _INSIDE, *ids]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert done.stdout.strip() == "['/', '/child'] /child None"


def test_table_without_the_hosts_cgroups_says_what_is_missing(cgroups: Path) -> None:
    root = cgroup2_root()
    script = f"""
        echo $$ > {cgroups}/inside/cgroup.procs
        exec unshare --cgroup --mount --pid --fork --mount-proc sh -c \
            'umount {root} && mount -t cgroup2 cgroup2 {root} && exec "$0" "$@"' "$@"
    """
    command = ["sh", "-c", script, "sh", sys.executable, "-c", _ALONE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert done.stdout.strip() == "None 0"
    assert "The cgroups of this node can't be read: the mounts show only podwitness itself." in done.stderr
    assert "hostPID" in done.stderr


def test_ids_on_the_whole_hierarchy_have_their_path(cgroups: Path) -> None:
    tree = CgroupTree.find()
    child = cgroups / "inside/child"
    assert tree.path_of(child.stat().st_ino) == f"/{cgroups.name}/inside/child"
    assert tree.path_of(1) == "/"
    assert (child.stat().st_ino, f"/{cgroups.name}/inside/child") in set(tree.walk())
    gone = child.stat().st_ino
    child.rmdir()
    assert tree.path_of(gone) is None
    tree.close()

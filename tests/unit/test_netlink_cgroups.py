"""collector.inputs.netlink_cgroups: our own place in the tree, and pods of containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.identity.cgroup_tree import CgroupTree
from collector.inputs.netlink_cgroups import open_paths, own_path, pod_path
from tests.reference.cgroups import CONTAINER_PATH, HOST_PATH

POD_PATH = CONTAINER_PATH.rpartition("/")[0]


@pytest.mark.parametrize(
    ("path", "pod"),
    [
        (CONTAINER_PATH, POD_PATH),
        (f"{CONTAINER_PATH}/nested/deeper", POD_PATH),
        (POD_PATH, POD_PATH),
        (HOST_PATH, HOST_PATH),
        ("/", "/"),
        ("/docker/" + "d" * 64, "/docker/" + "d" * 64),
    ],
)
def test_the_pod_of_a_cgroup(path: str, pod: str) -> None:
    assert pod_path(path) == pod


def test_our_own_place_is_found_by_our_number(tmp_path: Path) -> None:
    for path, pids in (("a", "1\n"), ("a/b", f"2\n{os.getpid()}\n"), ("c", "")):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "cgroup.procs").write_text(pids)
    assert own_path(str(tmp_path), ["/a", "/a/b", "/c"]) == ("a", "b")
    assert own_path(str(tmp_path), ["/a", "/c", "/gone"]) == ()


def test_the_tree_of_this_machine() -> None:
    paths, tree = open_paths(), CgroupTree.find()
    assert paths is not None
    assert paths.id_of("/") == os.stat(tree.point).st_ino
    tree.close()

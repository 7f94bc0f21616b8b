"""probes.cgroup_paths: paths of /proc to ids, also as seen from a cgroup namespace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from probes import cgroup_paths
from probes.cgroup_paths import CgroupPaths

OWN = ("kubepods", "burstable", "pod1", "c1")


@pytest.mark.parametrize(
    ("shown", "whole"),
    [
        ("/", "/kubepods/burstable/pod1/c1"),
        ("/below", "/kubepods/burstable/pod1/c1/below"),
        ("/../c2", "/kubepods/burstable/pod1/c2"),
        ("/../../pod2/c3", "/kubepods/burstable/pod2/c3"),
        ("/../../../../system.slice/cron.service", "/system.slice/cron.service"),
        ("/../../../..", "/"),
        ("/../../../../..", "/"),
    ],
)
def test_paths_seen_from_a_namespace(shown: str, whole: str) -> None:
    assert CgroupPaths("/sys/fs/cgroup", OWN).whole(shown) == whole


@pytest.mark.parametrize("path", ["/", "/a/b", "/a..b/..c"])
def test_paths_seen_from_the_root(path: str) -> None:
    assert CgroupPaths("/sys/fs/cgroup").whole(path) == path


def test_ids_are_those_of_the_directories(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "cgroup.procs").write_text("1\n23\n")
    paths = CgroupPaths(f"{tmp_path}/")
    found = paths.id_of("/a/b")
    assert found == os.stat(tmp_path / "a" / "b").st_ino
    assert paths.path_of(found) == "/a/b"
    assert (paths.id_of("/gone"), paths.path_of(0)) == (0, None)
    assert (paths.pids("/a"), paths.pids("/a/b")) == ([1, 23], [])


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff")
    (tmp_path / name).mkdir()
    paths = CgroupPaths(str(tmp_path))
    cgroup_id, path = paths.find(f"/{name}")
    assert (cgroup_id, path) == (os.stat(tmp_path / name).st_ino, "/a\\xff")
    assert paths.path_of(cgroup_id) == f"/{name}"


def test_as_many_paths_are_remembered_as_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_paths, "MAX_REMEMBERED", 2)
    paths = CgroupPaths(str(tmp_path))
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        assert paths.path_of(paths.id_of(f"/{name}")) == f"/{name}"
    assert paths.path_of(os.stat(tmp_path / "a").st_ino) is None

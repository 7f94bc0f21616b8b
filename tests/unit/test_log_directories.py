"""The kubelet's directories and links are read as they are, broken ones among them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.identity.log_directories import LogDirectories
from collector.identity.paths import LogName

UID = "7b47325f-7086-444a-87e3-fb3a30fd855b"
ID = "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
POD = f"shop_web-0_{UID}"


@pytest.fixture
def logs(tmp_path: Path) -> LogDirectories:
    (tmp_path / "var/log/containers").mkdir(parents=True)
    return LogDirectories(str(tmp_path))


def make_log(root: Path, pod: str = POD, container: str = "web") -> Path:
    path = root / f"var/log/pods/{pod}/{container}/0.log"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def settle(directory: Path, changed_ns: int = 1) -> None:
    """As if the directory had been changed a while ago."""
    os.utime(directory, ns=(changed_ns, changed_ns))


def test_pods_and_their_containers(logs: LogDirectories, tmp_path: Path) -> None:
    make_log(tmp_path)
    make_log(tmp_path, container="side")
    make_log(tmp_path, pod="not a pod")
    make_log(tmp_path, pod=f"default_x_{UID[:-1]}0", container="_hostile")
    found = {pod[:3]: sorted(pod[3]) for pod in logs.pods()}
    assert found == {
        ("shop", "web-0", UID): ["side", "web"],
        ("default", "x", UID[:-1] + "0"): [],
    }


def test_only_the_pods_that_are_asked_for_are_looked_into(
    logs: LogDirectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_log(tmp_path)
    for number in range(20):
        make_log(tmp_path, pod=f"shop_other-{number}_{UID[:-2]}{number:02}")
    listed = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(str(path)) or listdir(path))  # type: ignore[func-returns-value]
    assert list(logs.pods({UID})) == [("shop", "web-0", UID, ("web",))]
    assert [path for path in listed if UID[:-2] in path] == [str(tmp_path / "var/log/pods" / POD)]
    assert list(logs.pods(set())) == []


def test_link_is_resolved(logs: LogDirectories, tmp_path: Path) -> None:
    link = tmp_path / f"var/log/containers/web-0_shop_web-{ID}.log"
    link.symlink_to(make_log(tmp_path))
    assert logs.name_of(str(link)) == LogName("shop", "web-0", "web", UID, ID)


def test_dangling_link_still_has_its_own_names(logs: LogDirectories, tmp_path: Path) -> None:
    link = tmp_path / f"var/log/containers/web-0_shop_web-{ID}.log"
    link.symlink_to("/nowhere")
    assert logs.name_of(str(link)) == LogName("shop", "web-0", "web", container_id=ID)


def test_link_that_was_cut_has_the_names_of_its_target(logs: LogDirectories, tmp_path: Path) -> None:
    pod = "p" * 180
    link = tmp_path / "var/log/containers" / (f"{pod}_shop_web-{ID}"[:251] + ".log")
    link.symlink_to(make_log(tmp_path, pod=f"shop_{pod}_{UID}"))
    assert logs.name_of(str(link)) == LogName("shop", pod, "web", UID)


def test_a_link_is_told_once(logs: LogDirectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read thousands of links anew for each one that comes would take the process a second for each."""
    directory = tmp_path / "var/log/containers"
    (directory / f"web-0_shop_web-{ID}.log").symlink_to(make_log(tmp_path))
    (directory / "other.txt").touch()
    settle(directory)
    assert [link.container_id for link in logs.changed_links()] == [ID]
    assert list(logs.changed_links()) == []
    (directory / f"web-0_shop_web-{'0' * 64}.log").symlink_to("/nowhere")
    settle(directory, 2)
    looked_at = []
    readlink = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path: looked_at.append(path) or readlink(path))  # type: ignore[func-returns-value]
    assert [link.container_id for link in logs.changed_links()] == ["0" * 64]
    assert len(looked_at) == 1
    (directory / f"web-0_shop_web-{ID}.log").unlink()
    assert list(logs.changed_links()) == []
    (directory / f"web-0_shop_web-{ID}.log").symlink_to("/nowhere")
    assert [link.container_id for link in logs.changed_links()] == [ID]


def test_change_within_the_same_tick_is_not_missed(logs: LogDirectories, tmp_path: Path) -> None:
    directory = tmp_path / "var/log/containers"
    for number in range(50):
        (directory / f"web-0_shop_web-{number:064x}.log").symlink_to("/nowhere")
        assert f"{number:064x}" in {link.container_id for link in logs.changed_links()}


def test_node_without_logs(tmp_path: Path) -> None:
    logs = LogDirectories(str(tmp_path / "nothing"))
    assert list(logs.pods()) == []
    assert list(logs.changed_links()) == []
    assert logs.name_of("/var/log/syslog") is None

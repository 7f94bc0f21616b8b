"""collector.doctor.facts: what is found on a machine."""

from __future__ import annotations

import os
import platform
import socket
import tempfile
from pathlib import Path

import pytest

from collector.doctor.facts import Socket, folder, gather, has_legacy_cgroups, lockdown_mode
from collector.privilege import own


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("none [integrity] confidentiality", "integrity"),
        ("[none] integrity confidentiality", "none"),
        ("", ""),
    ],
)
def test_lockdown(line: str, mode: str) -> None:
    assert lockdown_mode(line) == mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/user.slice\n", False),
        ("1:name=systemd:/user.slice\n0::/user.slice\n", False),
        ("4:memory:/kubepods/burstable\n1:name=systemd:/\n0::/\n", True),
        ("", False),
    ],
)
def test_controllers_of_version_1(text: str, expected: bool) -> None:
    assert has_legacy_cgroups(text) == expected


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert folder(str(tmp_path)) == (str(tmp_path), 1, "")
    assert folder(str(tmp_path / "b")) == (str(tmp_path / "b"), 0, "No such file or directory")


def test_this_machine() -> None:
    facts = gather()
    assert facts.release == platform.release()
    assert facts.kernel >= (5, 8)
    assert facts.btf_bytes == os.stat("/sys/kernel/btf/vmlinux").st_size
    assert facts.bcc
    assert facts.held == own()
    assert os.path.isdir(facts.cgroups.point)
    assert facts.inotify is not None
    assert not facts.inotify.error


def test_the_root_of_the_host_may_be_elsewhere(tmp_path: Path) -> None:
    for container in ("app", "sidecar"):
        (tmp_path / "var/log/pods/shop_web-1_uid" / container).mkdir(parents=True)
    (tmp_path / "var/log/containers").mkdir()
    task = "run/containerd/io.containerd.runtime.v2.task/k8s.io"
    (tmp_path / task / ("c" * 64)).mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("abc\n")
    facts = gather(str(tmp_path))
    assert (facts.pods.entries, facts.log_folders, facts.containers.error) == (1, 2, "")
    assert facts.pods.path == f"{tmp_path}/var/log/pods"
    assert (f"{tmp_path}/{task}", 1, "") in facts.bundles
    assert facts.machine_id == "abc"


def test_socket_of_the_runtime() -> None:
    # A UNIX socket's path has 107 bytes; pytest's own directories are too deep.
    with tempfile.TemporaryDirectory(prefix="pw-", dir="/tmp") as root:
        assert gather(root).cri_socket == Socket("")
        path = Path(root, "run/containerd/containerd.sock")
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
            assert gather(root).cri_socket == Socket(str(path), "Connection refused")
            one.listen()
            assert gather(root).cri_socket == Socket(str(path))

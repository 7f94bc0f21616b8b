"""collector.cri.places: which socket is used."""

from __future__ import annotations

import socket
from pathlib import Path

from collector.cri.places import PLACES, socket_path


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True)
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(path))
    return one


def test_auto_looks_below_the_hosts_root(tmp_path: Path) -> None:
    assert socket_path("auto", str(tmp_path)) is None
    with listening(tmp_path / PLACES[2]):
        assert socket_path("auto", str(tmp_path)) == str(tmp_path / "run/crio/crio.sock")
        with listening(tmp_path / PLACES[0]):
            assert socket_path("Auto", f"{tmp_path}/") == str(tmp_path / "run/containerd/containerd.sock")
            assert socket_path("off", str(tmp_path)) is None


def test_a_path_of_its_own(tmp_path: Path) -> None:
    with listening(tmp_path / "run/here.sock"):
        assert socket_path("/run/here.sock", str(tmp_path)) == str(tmp_path / "run/here.sock")


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "run/containerd").mkdir(parents=True)
    (tmp_path / PLACES[0]).write_text("")
    assert socket_path("auto", str(tmp_path)) is None
    assert socket_path("/run", str(tmp_path)) is None

"""Where the sockets of runtimes are."""

from __future__ import annotations

import os
import stat

AUTO, OFF = "auto", "off"
LOOK_AGAIN_S = 30.0  # where there is no socket
# containerd, that of k3s and RKE2, CRI-O. /var/run leads to /run on every distribution with systemd, by a
# link that would leave the host's root where that is mounted elsewhere.
PLACES = ("run/containerd/containerd.sock", "run/k3s/containerd/containerd.sock", "run/crio/crio.sock")


def socket_path(asked: str, root: str) -> str | None:
    """The socket to use, for a `Cri_Socket` and the host's root; None where there is none."""
    if asked.lower() == OFF:
        return None
    places = PLACES if asked.lower() == AUTO else (asked.lstrip("/"),)
    for place in places:
        path = os.path.join(root, place)
        if _is_socket(path):
            return path
    return None


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False

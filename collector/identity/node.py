"""Which machine this is: its name in Kubernetes, and a number that tells it and its boot from all others."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path

_MACHINE_ID = "etc/machine-id"
# What stands in where an image has no machine id: the hardware's.
_PRODUCT_UUID = "sys/class/dmi/id/product_uuid"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"  # of the kernel, the same in every container

log = logging.getLogger("podwitness.identity")


def node_name(environ: Mapping[str, str] = os.environ) -> str:
    """NODE_NAME (the pod's `spec.nodeName`, by the downward API), else the host name, as a kubelet has it."""
    return environ.get("NODE_NAME", "").strip() or socket.gethostname().lower()


def node_id(name: str, root: str = "/") -> bytes:
    """8 bytes that no other machine has, and not this one after its next boot.

    Process ids and their start times are only unique together with it. Made of /etc/machine-id (below `root`,
    where the host's root directory is mounted) and the kernel's boot id; without a machine id, of the
    hardware's UUID, else of the node's name, which a warning tells.
    """
    machine = _machine_id(name, Path(root))
    boot = _read_line(Path(_BOOT_ID))
    return hashlib.blake2b(f"{machine}\n{boot}".encode(), digest_size=8, person=b"podwitness").digest()


def _machine_id(name: str, root: Path) -> str:
    machine = _read_line(root / _MACHINE_ID)
    if machine and machine != "uninitialized":
        return machine
    product = _read_line(root / _PRODUCT_UUID)
    stand_in = f"/{_PRODUCT_UUID} ({product})" if product else f"the node's name ({name})"
    log.warning(
        "%s has no machine id. Processes are told from those of other nodes by %s instead. "
        "Mount the host's /etc/machine-id, or write one with systemd-machine-id-setup.",
        root / _MACHINE_ID,
        stand_in,
    )
    return product or name


def _read_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""

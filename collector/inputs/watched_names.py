"""Files that are watched: `Watch_Path`, and the table of hashes that the probes look them up in."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable
from typing import NamedTuple

from collector.config.kinds import Kind

SLOTS, TRIES = 512, 4  # WATCHED_SLOTS and WATCHED_TRIES of probes/watched.h
NAME_KEPT = 32  # with the NUL
PRIME = 0x9E3779B97F4A7C15
FOLDER_ITSELF = 0xC2B2AE3D27D4EB4F  # of probes/watched.h
ANY = "*"
_MASK = 2**64 - 1

# Who reads these can become somebody else. Sockets of runtimes too: who talks to them is root of the node.
# Last are the memory of other processes, and what names a program that the kernel runs as root of the node.
DEFAULT = (
    *("etc/shadow", "etc/gshadow", "etc/sudoers", ".ssh/*", "proc/kcore"),
    *(
        "serviceaccount/token",
        "kubernetes/admin.conf",
        "kubernetes/super-admin.conf",
        "kubernetes/kubelet.conf",
    ),
    *(
        "kubernetes/controller-manager.conf",
        "kubernetes/scheduler.conf",
        "pki/*",
        "etcd/*",
        "kubelet/kubeconfig",
    ),
    *("containerd/containerd.sock", "run/docker.sock", "crio/crio.sock", "podman/podman.sock"),
    *("run/cri-dockerd.sock", "buildkit/buildkitd.sock"),
    *(".aws/credentials", ".azure/msal_token_cache.json", ".azure/accessTokens.json", ".kube/config"),
    *("gcloud/credentials.db", "gcloud/access_tokens.db", "gcloud/application_default_credentials.json"),
    *(".docker/config.json", "kubelet/config.json", "*/.git-credentials", "*/.netrc", "*/.vault-token"),
    *("*/mem", "kernel/core_pattern", "kernel/modprobe", "binfmt_misc/register", "*/release_agent"),
    *("*/uevent_helper", "proc/sysrq-trigger"),
)


class WatchedName(NamedTuple):
    """A file by its last two names; one of them may be `*`."""

    folder: str
    file: str


def read_name(written: str) -> WatchedName:
    """The last two names of a path. Raises ValueError."""
    *_, folder, file = ["", *written.split("/")]
    if not folder or not file:
        raise ValueError(
            "expected a path with a folder, as /etc/shadow, etc/shadow, pki/* or */.vault-token."
        )
    name = WatchedName(folder, file)
    for one in name:
        if ANY in one and one != ANY:
            raise ValueError(f"{one!r}: * stands for a whole name only.")
    if name == (ANY, ANY):
        raise ValueError("expected a folder or a file, not * for both.")
    return name


def hash_of(name: WatchedName) -> int:
    """As the probes work it out: `*` is an empty name."""
    return _mixed(PRIME, name) | 1


def hash_of_folder(folder: str) -> int:
    """Of the folder itself: who renames it gives the files in it other names."""
    return _mixed(FOLDER_ITSELF, (folder,)) | 1


def _mixed(value: int, names: Iterable[str]) -> int:
    for one in names:
        kept = b"" if one == ANY else one.encode("utf-8", "surrogateescape")[: NAME_KEPT - 1]
        for word in struct.unpack("<4Q", kept.ljust(NAME_KEPT, b"\0")):
            value = (value ^ word) * PRIME & _MASK
            value ^= value >> 32
    return value


class Table(NamedTuple):
    content: bytes  # of the probes' map
    left_out: tuple[WatchedName, ...]  # for which there was no place; some of the last, when they are many


def table_of(names: Iterable[WatchedName]) -> Table:
    slots = [0] * SLOTS
    left_out = []
    for name in dict.fromkeys(names):
        values = [hash_of(name)] if name.folder == ANY else [hash_of(name), hash_of_folder(name.folder)]
        if not all(_put(slots, value) for value in values):
            left_out.append(name)
    return Table(struct.pack(f"<{SLOTS}Q", *slots), tuple(left_out))


def _put(slots: list[int], value: int) -> bool:
    """False: its places are taken."""
    places = [((value >> 32) + tried) % SLOTS for tried in range(TRIES)]
    free = next((place for place in places if slots[place] in (0, value)), None)
    if free is not None:
        slots[free] = value
    return free is not None


def write_table(map_fd: int, table: Table) -> None:
    """Holds from now on. The descriptor stays the caller's. Raises OSError."""
    with mmap.mmap(map_fd, len(table.content)) as memory:
        memory[:] = table.content


def _read_names(written: str) -> tuple[WatchedName, ...]:
    if written.lower() == "off":
        return ()
    names = tuple(map(read_name, written.split()))
    if left_out := table_of(names).left_out:
        raise ValueError(f"expected fewer paths: there is no place for {shown_names(left_out)}.")
    return names


def shown_names(names: Iterable[WatchedName]) -> str:
    return " ".join("/".join(name) for name in names) or "off"


watched_kind = Kind("list of paths, or off", _read_names, show=shown_names)

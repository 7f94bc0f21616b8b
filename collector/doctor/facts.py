"""What there is on this machine, as far as podwitness depends on it. Looks, and judges nothing.

What can't be looked at is None, or the reason in the kernel's words.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from collector.cri.places import AUTO, socket_path
from collector.errors import OperatorError
from collector.identity.bundles import PLACES
from collector.identity.cgroup_tree import CgroupTree
from collector.identity.node import node_name
from collector.privilege import Held, own
from probes import netns
from probes.catalog import kernel_version

PODS, CONTAINERS = "/var/log/pods", "/var/log/containers"
STATE = "/var/lib/podwitness"  # where deploy/ keeps positions
JOURNALS = ("/var/log/journal", "/run/log/journal")
# include/linux/proc_ns.h: inodes of the namespaces that the machine was started with.
FIRST_PID_NAMESPACE, FIRST_USER_NAMESPACE = 0xEFFFFFFC, 0xEFFFFFFD
# A node has some hundred pods; a folder with more entries than this is counted no further.
MOST_COUNTED = 100_000
_CLOCK_UNSYNCHRONIZED = 5  # TIME_ERROR of adjtimex(2)
_TIMEX_BYTES = 512  # struct timex has 208


class Folder(NamedTuple):
    """A folder of the host: how many entries it has, or why that can't be told."""

    path: str
    entries: int = 0
    error: str = ""


class Socket(NamedTuple):
    """A socket of the runtime, and why it can't be connected to; "" for none."""

    path: str
    error: str = ""


class Cgroups(NamedTuple):
    """The cgroup2 hierarchy as it can be seen."""

    point: str = ""  # "": there is none
    error: str = ""
    is_whole: bool = False  # its root is the machine's, not a container's
    by_id_error: str = ""  # why a cgroup can't be opened by its id
    has_legacy: bool = False  # controllers are in hierarchies of version 1, and so may containers be


class Inotify(NamedTuple):
    watches: int
    instances: int
    error: str = ""  # why there is no instance more to be had


@dataclass(frozen=True, slots=True)
class Facts:
    """`kernel` is (major, minor). Sizes in bytes, -1 without limit."""

    node: str
    kernel: tuple[int, int]
    release: str
    machine: str
    btf_bytes: int | None
    overlay_btf: bool  # as a module's; built in it is in the kernel's
    overlay_module: bool
    lockdown: str
    unprivileged_bpf: str | None
    jit: str | None
    held: Held
    is_first_user_namespace: bool
    is_first_pid_namespace: bool
    is_nodes_network: bool
    seccomp: bool
    bcc: str  # its version; "" when it can't be imported
    bcc_error: str
    memory_limit_bytes: int | None
    locked_memory_bytes: int
    descriptors: int  # hard limit, which the collector raises its own to
    cgroups: Cgroups
    pods: Folder
    log_folders: int  # below /var/log/pods: one for each container
    containers: Folder
    bundles: tuple[Folder, ...]  # of runtimes that are there
    cri_socket: Socket
    journals: tuple[Folder, ...]
    has_journal_library: bool
    machine_id: str
    state_error: str
    inotify: Inotify | None
    is_clock_synchronized: bool | None


def gather(root: str = "/") -> Facts:
    """`root` is where the host's root directory is mounted. Takes some 100 ms, most of it to import BCC."""
    under = _under(root)
    release = platform.release()
    bcc, bcc_error = _bcc()
    return Facts(
        node=node_name(),
        kernel=kernel_version(release),
        release=release,
        machine=platform.machine(),
        btf_bytes=_size_bytes("/sys/kernel/btf/vmlinux"),
        overlay_btf=os.path.exists("/sys/kernel/btf/overlay"),
        overlay_module=os.path.exists("/sys/module/overlay/initstate"),
        lockdown=lockdown_mode(_line("/sys/kernel/security/lockdown") or ""),
        unprivileged_bpf=_line("/proc/sys/kernel/unprivileged_bpf_disabled"),
        jit=_line("/proc/sys/net/core/bpf_jit_enable"),
        held=own(),
        is_first_user_namespace=_inode("/proc/self/ns/user") == FIRST_USER_NAMESPACE,
        is_first_pid_namespace=_inode("/proc/self/ns/pid") == FIRST_PID_NAMESPACE,
        is_nodes_network=netns.is_nodes(),
        seccomp="Seccomp:\t2" in Path("/proc/self/status").read_text(),
        bcc=bcc,
        bcc_error=bcc_error,
        memory_limit_bytes=_memory_limit_bytes(),
        locked_memory_bytes=resource.getrlimit(resource.RLIMIT_MEMLOCK)[1],
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        cgroups=_cgroups(root),
        pods=folder(under(PODS)),
        log_folders=_log_folders(under(PODS)),
        containers=folder(under(CONTAINERS)),
        bundles=_bundles(under),
        cri_socket=_cri_socket(root),
        journals=tuple(folder(under(path)) for path in JOURNALS if os.path.isdir(under(path))),
        has_journal_library=find_spec("systemd") is not None,
        machine_id=_line(under("/etc/machine-id")) or "",
        state_error=_state_error(STATE),
        inotify=_inotify(),
        is_clock_synchronized=_is_clock_synchronized(),
    )


def _under(root: str) -> Callable[[str], str]:
    """Where a path of the host is: below `root` or, often mounted so, at its own place."""
    prefix = root.rstrip("/")
    return lambda path: prefix + path if not prefix or os.path.exists(prefix + path) else path


def lockdown_mode(line: str) -> str:
    """`none [integrity] confidentiality` -> integrity; "" where the kernel has no such thing."""
    return line.partition("[")[2].partition("]")[0]


def folder(path: str) -> Folder:
    try:
        with os.scandir(path) as entries:
            return Folder(path, sum(1 for _ in islice(entries, MOST_COUNTED)))
    except OSError as error:
        return Folder(path, 0, str(error.strerror))


def _log_folders(pods: str) -> int:
    found = 0
    try:
        with os.scandir(pods) as entries:
            for entry in islice(entries, MOST_COUNTED):
                if entry.is_dir(follow_symlinks=False):
                    found += folder(entry.path).entries
    except OSError:
        return found
    return found


def _bundles(under: Callable[[str], str]) -> tuple[Folder, ...]:
    """Folders that runtimes keep a folder a container in."""
    places = dict.fromkeys("/" + place.partition("/{id}")[0] for place in PLACES)
    return tuple(folder(under(place)) for place in places if os.path.isdir(under(place)))


def _cri_socket(root: str) -> Socket:
    path = socket_path(AUTO, root)
    if path is None:
        return Socket("")
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(1)
            one.connect(path)
    except OSError as error:
        return Socket(path, error.strerror or str(error))
    return Socket(path)


def _bcc() -> tuple[str, str]:
    """(version, why it can't be imported). In another process: it brings a compiler."""
    code = "import bcc; print(bcc.__version__)"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if done.returncode:
        return "", done.stderr.strip().rpartition("\n")[2]
    return done.stdout.strip(), ""


def _cgroups(root: str) -> Cgroups:
    try:
        tree = CgroupTree.find(root)
    except (OperatorError, OSError) as error:
        return Cgroups(error=getattr(error, "problem", str(error)))
    root_id = os.stat(tree.point).st_ino
    by_id_error = ""
    try:
        tree.path_of(root_id)
    except OSError as error:
        by_id_error = str(error.strerror)
    finally:
        tree.close()
    has_legacy = has_legacy_cgroups(Path("/proc/self/cgroup").read_text())
    return Cgroups(tree.point, "", root_id == 1, by_id_error, has_legacy)


def has_legacy_cgroups(text: str) -> bool:
    """By a line such as `4:memory:/user.slice` in a /proc/PID/cgroup; systemd's own `1:name=systemd:/` is
    none, and `0::/` is of version 2."""
    controllers = (line.split(":", 2)[1] for line in text.splitlines() if line.count(":") >= 2)
    return any(name and not name.startswith("name=") for name in controllers)


def _memory_limit_bytes() -> int | None:
    """Of the container, where it can see its cgroup as its own."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _line(path)
        if limit and limit.isdigit() and int(limit) < 1 << 60:
            return int(limit)
    return None


def _inotify() -> Inotify | None:
    limits = [_line(f"/proc/sys/fs/inotify/max_user_{what}") for what in ("watches", "instances")]
    if not all(limits):
        return None
    watches, instances = (int(limit or 0) for limit in limits)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return Inotify(watches, instances, os.strerror(ctypes.get_errno()))
    os.close(descriptor)
    return Inotify(watches, instances)


def _is_clock_synchronized() -> bool | None:
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # all zero: only asks
    return None if state < 0 else bool(state != _CLOCK_UNSYNCHRONIZED)


def _state_error(path: str) -> str:
    if not os.path.isdir(path):
        return os.strerror(2)
    probe = os.path.join(path, f".doctor-{os.getpid()}")
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        return str(error.strerror)
    os.unlink(probe)
    return ""


def _line(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None


def _size_bytes(path: str) -> int | None:
    """Of a file that can be read."""
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError:
        return None


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0

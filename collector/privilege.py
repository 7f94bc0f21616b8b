"""What podwitness may do on its node, and what for; and how it gives up the rest.

Two processes hold privileges. The *starter* (probes/starter.py) is forked first thing; it can load probes and
does nothing else. The *collector*, which reads what containers write, gives up all but what NEEDS has for it
before it opens a file of theirs, and can't get anything back: no_new_privs is set, so that not even a program
with set-user-id gives it more. Both happens while the process has one thread: capabilities belong to threads.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from collector.identity.cgroup_tree import CgroupTree, CgroupTreeUnusable

if TYPE_CHECKING:
    from collector.config.document import Document

# By number; include/uapi/linux/capability.h.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *(
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
    ),
    *(
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
    ),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL"),
    *("SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ"),
    *("PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
LOWEST_FREE_PORT = 1024

_HEADER_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 38, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4

_libc = ctypes.CDLL(None, use_errno=True)


class Situation(NamedTuple):
    """What a configuration asks for on this machine, as far as it takes privileges."""

    has_probes: bool
    http_port: int | None
    cgroups_at: str  # where the cgroup tree was found
    not_ours: tuple[str, ...]  # paths to write to that belong to other users
    input_ports: tuple[int, ...] = ()  # that inputs listen at


@dataclass(frozen=True, slots=True)
class Need:
    """A capability, who holds it, and why."""

    capability: str
    holder: Literal["starter", "collector"]
    reason: str
    is_held: Callable[[Situation], bool]
    when: str = ""  # "": always


WITHOUT_EBPF = "for the netlink witness, where granted"

NEEDS = (
    Need(
        "BPF",
        "starter",
        "Makes maps and loads the probes.",
        lambda situation: situation.has_probes,
    ),
    Need(
        "PERFMON",
        "starter",
        "Attaches the probes to tracepoints and lets them read kernel memory.",
        lambda situation: situation.has_probes,
    ),
    Need(
        "SYS_RESOURCE",
        "starter",
        "Raises the limit of locked memory, which maps count against before Linux 5.11.",
        lambda situation: situation.has_probes,
    ),
    Need(
        "DAC_READ_SEARCH",
        "starter",
        "Reads its own program where that is installed in a folder of another user.",
        lambda situation: situation.has_probes,
    ),
    Need(
        "NET_ADMIN",
        "starter",
        "Attaches the probes of flows, which run at the root of the cgroup tree, and listens to connection "
        "tracking. For the netlink witness: "
        "listens to the proc connector before Linux 6.6, with as much room as it takes.",
        lambda situation: situation.has_probes,
        "`Trace flow`, and for the netlink witness; where granted",
    ),
    Need(
        "SYS_PTRACE",
        "starter",
        "Sees the program, folder, sockets and namespaces of processes of other users.",
        lambda situation: situation.has_probes,
        WITHOUT_EBPF,
    ),
    Need(
        "SYS_ADMIN",
        "starter",
        "Enters the network namespaces of containers to list their sockets.",
        lambda situation: situation.has_probes,
        WITHOUT_EBPF,
    ),
    Need(
        "SYS_NICE",
        "starter",
        "Is scheduled before others, to look at short processes while they are there.",
        lambda situation: situation.has_probes,
        WITHOUT_EBPF,
    ),
    Need(
        "DAC_READ_SEARCH",
        "collector",
        "Opens a cgroup by the id that the kernel reports (open_by_handle_at), and reads logs, journals and "
        "bundles of other users than root.",
        lambda situation: True,
    ),
    Need(
        "SYS_PTRACE",
        "collector",
        "Follows /proc/1/root to the cgroups of the host.",
        lambda situation: situation.cgroups_at.startswith("/proc/"),
        "where no mount of its own shows the host's cgroups",
    ),
    Need(
        "NET_BIND_SERVICE",
        "collector",
        "Listens on the port.",
        lambda situation: any(
            0 < port < LOWEST_FREE_PORT for port in (situation.http_port or 0, *situation.input_ports)
        ),
        f"`HTTP_Port`, or an input's `Port`, below {LOWEST_FREE_PORT}",
    ),
    Need(
        "DAC_OVERRIDE",
        "collector",
        "Writes there.",
        lambda situation: bool(situation.not_ours),
        "a position database, the spool, an output file or a socket in a folder of another user",
    ),
)


class Held(NamedTuple):
    """Capabilities of a process, by name."""

    permitted: frozenset[str]
    effective: frozenset[str]
    bounding: frozenset[str]
    no_new_privs: bool


def held(status: str) -> Held:
    """What the text of a /proc/PID/status says."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    permitted, effective, bounding = (names(int(fields[key], 16)) for key in ("CapPrm", "CapEff", "CapBnd"))
    return Held(permitted, effective, bounding, fields.get("NoNewPrivs", "0").strip() == "1")


def own() -> Held:
    return held(Path("/proc/self/status").read_text())


def names(mask: int) -> frozenset[str]:
    """Of the capabilities in a mask; those that are newer than our table by number."""
    known = {name for number, name in enumerate(CAPABILITIES) if mask >> number & 1}
    return frozenset(known | {str(bit) for bit in range(len(CAPABILITIES), 64) if mask >> bit & 1})


def wanted(holder: Literal["starter", "collector"], situation: Situation) -> frozenset[str]:
    """What a holder keeps, if it has it."""
    return frozenset(need.capability for need in NEEDS if need.holder == holder and need.is_held(situation))


def situation_of(document: Document) -> Situation:
    """Looks at the machine with the privileges of the start."""
    service = document.service
    return Situation(
        has_probes=any(one.plugin == "ebpf" for one in document.inputs),
        http_port=service.http_port if service.http_server else None,
        cgroups_at=_cgroups_at(service.host_root),
        not_ours=tuple(path for path in _written(document) if not is_writable_by_owner(path)),
        input_ports=tuple(one.settings.port for one in document.inputs if hasattr(one.settings, "port")),
    )


def _cgroups_at(root: str) -> str:
    try:
        tree = CgroupTree.find(root)
    except (CgroupTreeUnusable, OSError):
        return ""
    tree.close()
    return tree.point


def _written(document: Document) -> Iterator[str]:
    """Files and folders that are opened for writing after the privileges are gone."""
    if document.service.storage_path:
        yield document.service.storage_path
    for entry in (*document.inputs, *document.outputs):
        if entry.plugin == "file":
            folder = entry.settings.path or "."
            yield from (folder, os.path.join(folder, entry.settings.file))
        elif database := getattr(entry.settings, "db", ""):
            yield from (os.path.dirname(database) or ".", database)
        elif entry.kind == "input" and (path := getattr(entry.settings, "unix_path", "")):
            yield os.path.dirname(path) or "."


def is_writable_by_owner(path: str) -> bool:
    """Whether this user may write to it without CAP_DAC_OVERRIDE.

    Of what is not there its nearest folder counts. By mode alone: an access list can say otherwise.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return is_writable_by_owner(os.path.dirname(os.path.abspath(path)))
    except OSError:
        return False
    if found.st_uid == os.geteuid():
        return bool(found.st_mode & stat.S_IWUSR)
    if found.st_gid in (os.getegid(), *os.getgroups()):
        return bool(found.st_mode & stat.S_IWGRP)
    return bool(found.st_mode & stat.S_IWOTH)


def narrow(keep: Iterable[str], *, for_children: bool = False) -> Held:
    """Gives up all capabilities but those of `keep` that this thread has, and gaining others by exec.

    `for_children`: programs that are started keep them too, whoever the user is. Otherwise they keep them
    only where the user is root. Raises OSError.
    """
    present = own()
    kept = present.permitted & frozenset(keep)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Takes CAP_SETPCAP, which a container seldom has. With no_new_privs nothing comes back through it anyway.
    for name in present.bounding - kept if "SETPCAP" in present.effective else ():
        _prctl(_PR_CAPBSET_DROP, _number(name))
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    mask = _mask(kept)
    _capset(mask, mask, mask if for_children else 0)
    for name in kept if for_children else ():
        with suppress(OSError):  # a securebit forbids it: then it is as without
            _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, _number(name))
    return own()


def _number(name: str) -> int:
    return int(name) if name.isdigit() else CAPABILITIES.index(name)


def _mask(kept: Iterable[str]) -> int:
    return sum(1 << _number(name) for name in kept)


def _prctl(option: int, *arguments: int) -> None:
    given = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *given))


def _capset(effective: int, permitted: int, inheritable: int) -> None:
    sets = (effective, permitted, inheritable)
    words = [value >> shift & 0xFFFFFFFF for shift in (0, 32) for value in sets]
    header = (ctypes.c_uint32 * 2)(_HEADER_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(*words)))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def table() -> str:
    """NEEDS as a table in Markdown."""
    rows = ["| capability | held by | when | what for |", "|---|---|---|---|"]
    rows += [
        f"| `{need.capability}` | {need.holder} | {need.when or 'always'} | {need.reason} |" for need in NEEDS
    ]
    return "\n".join(rows) + "\n"

"""The map podwitness.privilege, in plain Python: what ext/event_privilege.c and event_calls.c write.

Names of flags and operations are given here as the manual pages list them; calls come from the table that the
probes are made from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collector._native import ffi, lib

from probes.syscalls import CALLS, Call
from tests.reference.event_text import comm, entity_id, path, signal_name, text

Map = dict[str, Any]
MARKS = {"i386": lib.PW_PROGRAM_I386, "cut": lib.PW_TEXT_CUT}
LARGEST_ERRNO = 4095

NAMESPACES = {
    0x00000080: "CLONE_NEWTIME",
    0x00020000: "CLONE_NEWNS",
    0x02000000: "CLONE_NEWCGROUP",
    0x04000000: "CLONE_NEWUTS",
    0x08000000: "CLONE_NEWIPC",
    0x10000000: "CLONE_NEWUSER",
    0x20000000: "CLONE_NEWPID",
    0x40000000: "CLONE_NEWNET",
}
MOUNTS = (
    *(
        "RDONLY",
        "NOSUID",
        "NODEV",
        "NOEXEC",
        "SYNCHRONOUS",
        "REMOUNT",
        "MANDLOCK",
        "DIRSYNC",
        "NOSYMFOLLOW",
        "",
    ),
    *("NOATIME", "NODIRATIME", "BIND", "MOVE", "REC", "SILENT", "POSIXACL", "UNBINDABLE", "PRIVATE", "SLAVE"),
    *("SHARED", "RELATIME", "", "I_VERSION", "STRICTATIME", "LAZYTIME"),
)
MOUNT_FLAGS = {1 << bit: f"MS_{name}" for bit, name in enumerate(MOUNTS) if name}
OPENS = {1: "O_WRONLY", 2: "O_RDWR", 64: "O_CREAT", 128: "O_EXCL", 512: "O_TRUNC", 1024: "O_APPEND"}
UMOUNT_FLAGS = {1: "MNT_FORCE", 2: "MNT_DETACH", 4: "MNT_EXPIRE", 8: "UMOUNT_NOFOLLOW"}
MEMFD_FLAGS = dict(
    zip(
        (1, 2, 4, 8, 16),
        ("MFD_CLOEXEC", "MFD_ALLOW_SEALING", "MFD_HUGETLB", "MFD_NOEXEC_SEAL", "MFD_EXEC"),
        strict=True,
    )
)
FSCONFIGS = {1: "SET_STRING", 7: "CMD_RECONFIGURE"}
REQUESTS = {
    0: "TRACEME",
    4: "POKETEXT",
    5: "POKEDATA",
    13: "SETREGS",
    16: "ATTACH",
    0x4205: "SETREGSET",
    0x4206: "SEIZE",
}
BPF_COMMANDS = {
    0: "MAP_CREATE",
    5: "PROG_LOAD",
    6: "OBJ_PIN",
    7: "OBJ_GET",
    8: "PROG_ATTACH",
    9: "PROG_DETACH",
    13: "PROG_GET_FD_BY_ID",
    14: "MAP_GET_FD_BY_ID",
    17: "RAW_TRACEPOINT_OPEN",
    18: "BTF_LOAD",
    28: "LINK_CREATE",
    29: "LINK_UPDATE",
    30: "LINK_GET_FD_BY_ID",
    32: "ENABLE_STATS",
    33: "ITER_CREATE",
    34: "LINK_DETACH",
    35: "PROG_BIND_MAP",
    36: "TOKEN_CREATE",
}
OPERATIONS = dict(
    enumerate(
        (
            *("GET_KEYRING_ID", "JOIN_SESSION_KEYRING", "UPDATE", "REVOKE", "CHOWN", "SETPERM", "DESCRIBE"),
            *("CLEAR", "LINK", "UNLINK", "SEARCH", "READ", "INSTANTIATE", "NEGATE", "SET_REQKEY_KEYRING"),
            *("SET_TIMEOUT", "ASSUME_AUTHORITY", "GET_SECURITY", "SESSION_TO_PARENT", "REJECT"),
            *("INSTANTIATE_IOV", "INVALIDATE", "GET_PERSISTENT", "DH_COMPUTE", "PKEY_QUERY", "PKEY_ENCRYPT"),
            *("PKEY_DECRYPT", "PKEY_SIGN", "PKEY_VERIFY", "RESTRICT_KEYRING", "MOVE", "CAPABILITIES"),
            "WATCH_KEY",
        )
    )
)
LABELS = (
    *("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid"),
    *("mnt_ns", "pid_ns_for_children", "net_ns", "user_ns", "uts_ns", "ipc_ns", "cgroup_ns"),
    "time_ns_for_children",
)


def integer(value: int) -> int:
    low = value & 0xFFFFFFFF
    return low - 2**32 if low >= 2**31 else low


def mode(value: int) -> str:
    return f"{value & 0o7777:04o}"


def device(value: int) -> str:
    return f"{value >> 8 & 0xFFF}:{value & 0xFF | value >> 12 & 0xFFF00}"


def count(value: int) -> int:
    return value


def capability_set(value: int) -> str:
    return f"{value:016x}"


def signal_of(value: int) -> str:
    return signal_name(value & 0xFFFFFFFF)


def named(names: dict[int, str]) -> Callable[[int], str]:
    return lambda value: names.get(value, str(value))


def flags(names: dict[int, str], *, ignored: int = 0, magic: int = 0) -> Callable[[int], list[str]]:
    def shown(value: int) -> list[str]:
        if magic and value & 0xFFFF0000 == magic:
            value &= ~0xFFFF0000
        left = value & ~ignored
        found = [bit for bit in names if left & bit][:14]
        left &= ~sum(found)
        return [names[bit] for bit in found] + ([f"{left:016x}"] if left else [])

    return shown


_NAMESPACES = flags(NAMESPACES)
# Labels of texts; labels of numbers with the argument and the form.
SHOWN: dict[str, tuple[str, tuple[tuple[str, int, Callable[[int], Any]], ...]]] = {
    "setuid": ("", (("uid", 0, integer),)),
    "setreuid": ("", (("uid", 0, integer), ("euid", 1, integer))),
    "setresuid": ("", (("uid", 0, integer), ("euid", 1, integer), ("suid", 2, integer))),
    "setfsuid": ("", (("fsuid", 0, integer),)),
    "setgid": ("", (("gid", 0, integer),)),
    "setregid": ("", (("gid", 0, integer), ("egid", 1, integer))),
    "setresgid": ("", (("gid", 0, integer), ("egid", 1, integer), ("sgid", 2, integer))),
    "setfsgid": ("", (("fsgid", 0, integer),)),
    "setgroups": ("", (("count", 0, integer),)),
    "capset": ("", ()),
    "ptrace": ("", (("request", 0, named(REQUESTS)), ("pid", 1, integer))),
    "pidfd_getfd": ("", (("descriptor", 0, integer),)),
    "mount": ("source path type", (("flags", 3, flags(MOUNT_FLAGS, magic=0xC0ED0000)),)),
    "move_mount": ("source path", ()),
    "open_tree": ("path", ()),
    "open_tree_attr": ("path", ()),
    "fsopen": ("type", ()),
    "fspick": ("path", ()),
    "fsconfig": ("source", (("descriptor", 0, integer), ("operation", 1, named(FSCONFIGS)))),
    "fsmount": ("", (("descriptor", 0, integer),)),
    "mount_setattr": ("path", ()),
    "umount2": ("path", (("flags", 1, flags(UMOUNT_FLAGS)),)),
    "pivot_root": ("path put_old", ()),
    "chroot": ("path", ()),
    "unshare": ("", (("flags", 0, _NAMESPACES),)),
    "setns": ("", (("descriptor", 0, integer), ("flags", 1, _NAMESPACES))),
    "clone": ("", (("flags", 0, flags(NAMESPACES, ignored=~0x7E020000)),)),
    "bpf": ("", (("command", 0, named(BPF_COMMANDS)),)),
    "perf_event_open": ("", (("pid", 1, integer), ("cpu", 2, integer))),
    "init_module": ("parameters", (("bytes", 1, count),)),
    "finit_module": ("parameters", (("flags", 2, count),)),
    "delete_module": ("module", (("flags", 1, count),)),
    "kexec_load": ("", (("segments", 1, count), ("flags", 3, count))),
    "kexec_file_load": ("", (("flags", 4, count),)),
    "memfd_create": ("name", (("flags", 1, flags(MEMFD_FLAGS)),)),
    "process_vm_writev": ("", (("pid", 0, integer),)),
    "keyctl": ("", (("operation", 0, named(OPERATIONS)), ("key", 1, integer))),
    "add_key": ("type description", (("keyring", 4, integer),)),
    "request_key": ("type description", (("keyring", 3, integer),)),
    "chmod": ("path", (("mode", 1, mode),)),
    "fchmod": ("", (("mode", 1, mode),)),
    "fchmodat": ("path", (("mode", 2, mode),)),
    "fchmodat2": ("path", (("mode", 2, mode),)),
    "chown": ("path", (("uid", 1, integer), ("gid", 2, integer))),
    "lchown": ("path", (("uid", 1, integer), ("gid", 2, integer))),
    "fchown": ("", (("uid", 1, integer), ("gid", 2, integer))),
    "fchownat": ("path", (("uid", 2, integer), ("gid", 3, integer))),
    "mknod": ("path", (("mode", 1, mode), ("device", 2, device))),
    "mknodat": ("path", (("mode", 2, mode), ("device", 3, device))),
    "symlink": ("points_to path", ()),
    "symlinkat": ("points_to path", ()),
    "link": ("points_to path", ()),
    "linkat": ("points_to path", ()),
    "kill": ("", (("pid", 0, integer), ("signal", 1, signal_of))),
    "tkill": ("", (("tid", 0, integer), ("signal", 1, signal_of))),
    "tgkill": ("", (("pid", 0, integer), ("tid", 1, integer), ("signal", 2, signal_of))),
    "pidfd_send_signal": ("", (("descriptor", 0, integer), ("signal", 1, signal_of))),
    "open_by_handle_at": ("", (("descriptor", 0, integer),)),
    "io_uring_setup": ("", (("entries", 0, count),)),
    "fsetxattr": ("", (("permitted", 5, capability_set),)),
    **dict.fromkeys(("setxattr", "lsetxattr", "setxattrat"), ("path", (("permitted", 5, capability_set),))),
    **dict.fromkeys(
        ("open", "openat", "openat2", "creat"), ("path", (("flags", 2, flags(OPENS, ignored=~0x6C3)),))
    ),
    **dict.fromkeys(("truncate", "unlink", "unlinkat", "connect"), ("path", ())),
    **dict.fromkeys(("rename", "renameat", "renameat2"), ("path new_path", ())),
}


def is_request(record: Any) -> bool:
    return bool(record.call and record.marks & lib.PW_BY_IO_URING)


def has_folder(record: Any, call: Call) -> bool:
    is_unopened = is_request(record) or signed(record.result) < 0
    return call.path is not None or (bool(call.open_flags) and is_unopened)


def errno_of(record: Any) -> int:
    result = signed(record.result)
    return -result if record.call and not is_request(record) and -LARGEST_ERRNO <= result < 0 else 0


def signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def texts_of(record: Any, raw: bytes) -> list[bytes]:
    """The three texts and the path."""
    at = ffi.sizeof("struct pw_privilege")
    parts = []
    for length in (*record.text_bytes, record.path_bytes):
        parts.append(raw[at : at + length])
        at += length
    return parts


def privilege_map(record: Any, raw: bytes, node_id: int) -> Map:
    made = call_map(record, raw) if record.call else event_map(record)
    made |= target_map(record, node_id)
    if record.marks & lib.PW_BEFORE_KNOWN:
        made |= {"before": side(record, "before"), "after": side(record, "after")}
    return made


def call_map(record: Any, raw: bytes) -> Map:
    is_known = record.call <= len(CALLS)
    call = CALLS[record.call - 1] if is_known else None
    labels, numbers = SHOWN[call.name] if call else ("", ())
    made: Map = {"call": call.name if call else "unknown"}
    made |= {"io_uring": True} if is_request(record) else {"result": signed(record.result)}
    made |= {label: form(record.arguments[argument]) for label, argument, form in numbers}
    if record.marks & lib.PW_MADE_SET_ID:
        made["mode"] = mode(record.arguments[5])
    made |= {name: True for name, mark in MARKS.items() if record.marks & mark}
    *texts, folder = texts_of(record, raw)
    made |= {label: text(one) for label, one in zip(labels.split(), texts, strict=False) if one}
    if folder or record.marks & lib.PW_PATH_CUT:
        label = "folder" if call and has_folder(record, call) else "file"
        made[label] = path(folder, bool(record.marks & lib.PW_PATH_CUT))
    return made


def file_path(record: Any, raw: bytes) -> str | None:
    """The whole path of the file that the event is about."""
    kind, is_known = record.head.kind, 0 < record.call <= len(CALLS)
    is_of_file = lib.PW_PRIVILEGE_CHMOD <= kind <= lib.PW_PRIVILEGE_LINK or kind >= lib.PW_PRIVILEGE_SETXATTR
    if not (is_known and is_of_file):
        return None
    call = CALLS[record.call - 1]
    *texts, components = texts_of(record, raw)
    if components and not has_folder(record, call):
        return path(components, bool(record.marks & lib.PW_PATH_CUT))
    passed = dict(zip(SHOWN[call.name][0].split(), texts, strict=False)).get("path", b"")
    return text(passed) if passed.startswith(b"/") else None


def event_map(record: Any) -> Map:
    if record.head.kind == lib.PW_PRIVILEGE_KILL:
        made: Map = {"signal": signal_of(record.arguments[0])}
        if record.arguments[1] == 1:
            made["ignored"] = True
        return made | ({} if record.marks & lib.PW_GROUP else {"to_thread": True})
    if record.head.kind == lib.PW_PRIVILEGE_CLONE:
        return {"flags": _NAMESPACES(record.arguments[0] & 0x7E020080)}
    return {}


def target_map(record: Any, node_id: int) -> Map:
    if not record.marks & lib.PW_TARGET_KNOWN:
        return {"target": {"pid": record.target_pid}} if record.target_pid else {}
    target = {
        "pid": record.target_pid,
        "entity_id": entity_id(node_id, record.target_start_ns, record.target_pid),
        "name": comm(record.target_comm),
        "user": {"id": str(record.target_uid)},
        "cgroup_id": record.target_cgroup_id,
    }
    return {"target": target}


def side(record: Any, which: str) -> Map:
    values = list(getattr(record, which))
    differs = [one != other for one, other in zip(record.before, record.after, strict=True)]
    made: Map = {
        label: value for label, value, is_other in zip(LABELS, values, differs, strict=True) if is_other
    }
    before, after = list(record.capabilities_before), list(record.capabilities_after)
    for place, label in enumerate(("capabilities_effective", "capabilities_permitted")):
        if before[place] != after[place]:
            made[label] = f"{(before if which == 'before' else after)[place]:016x}"
    return made


assert set(SHOWN) == {call.name for call in CALLS}

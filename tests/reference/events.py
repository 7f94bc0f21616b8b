"""What ext/event*.c does, in plain Python: the specification that both are tested against.

Layouts come from probes/events.h by cffi, the encoding from msgpack, addresses
from ipaddress, dates from datetime.
"""

from __future__ import annotations

import errno
import ipaddress
from datetime import UTC, datetime
from typing import Any

import msgpack
from collector._native import ffi, lib

from collector.privilege import CAPABILITIES
from tests.reference.event_exec import (
    PART_BOUNDS,
    SCOPES,
    entry_leader,
    exec_process,
    exec_witness,
    is_told,
    part_lengths,
    tree_map,
    tty_map,
)
from tests.reference.event_text import comm, entity_id, signal_name
from tests.reference.privilege import errno_of, file_path, is_request, privilege_map

HEAD_BYTES = ffi.sizeof("struct pw_head")
MAPPED = bytes(10) + b"\xff\xff"
Map = dict[str, Any]

STRUCT_OF_KIND = {
    lib.PW_EXEC: "pw_exec",
    lib.PW_FORK: "pw_fork",
    lib.PW_EXIT: "pw_exit",
    **dict.fromkeys(range(lib.PW_TCP_CONNECT, lib.PW_TCP_UNLISTEN + 1), "pw_tcp"),
    lib.PW_STATE_PROCESS: "pw_exec",
    lib.PW_STATE_LISTENER: "pw_tcp",
    lib.PW_STATE_CONNECTION: "pw_tcp",
    lib.PW_STATE_BOUND: "pw_bind",
    lib.PW_SESSION_START: "pw_session",
    lib.PW_SESSION_END: "pw_session",
    **dict.fromkeys(range(lib.PW_FLOW_START, lib.PW_FLOW_CLOSED + 1), "pw_flow"),
    lib.PW_BIND: "pw_bind",
    lib.PW_DNS: "pw_dns",
    **dict.fromkeys(range(lib.PW_PRIVILEGE_SETUID, lib.PW_PRIVILEGE_SETXATTR + 1), "pw_privilege"),
    **dict.fromkeys(range(lib.PW_PRIVILEGE_FILE_READ, lib.PW_PRIVILEGE_FILE_CONNECT + 1), "pw_privilege"),
    lib.PW_CGROUP_MKDIR: "pw_cgroup",
    lib.PW_CGROUP_RMDIR: "pw_cgroup",
}
ACTIONS = {
    lib.PW_EXEC: ("process", ["start"], "exec"),
    lib.PW_FORK: ("process", ["start"], "fork"),
    lib.PW_EXIT: ("process", ["end"], "exit"),
    lib.PW_SESSION_START: ("session", ["start"], "session-start"),
    lib.PW_SESSION_END: ("session", ["end"], "session-end"),
    lib.PW_TCP_CONNECT: ("network", ["connection", "start"], "connect"),
    lib.PW_TCP_CONNECT_FAILED: ("network", ["connection"], "connect-failed"),
    lib.PW_TCP_LISTEN: ("network", ["info", "start"], "listen"),
    lib.PW_TCP_ACCEPT: ("network", ["connection", "start"], "accept"),
    lib.PW_TCP_CLOSE: ("network", ["connection", "end"], "close"),
    lib.PW_TCP_UNLISTEN: ("network", ["info", "end"], "unlisten"),
    lib.PW_STATE_PROCESS: ("process", ["info"], "running"),
    lib.PW_STATE_LISTENER: ("network", ["info"], "listening"),
    lib.PW_STATE_CONNECTION: ("network", ["connection", "info"], "connected"),
    lib.PW_STATE_BOUND: ("network", ["info"], "bound"),
    lib.PW_FLOW_START: ("network", ["connection", "start"], "flow-start"),
    lib.PW_FLOW_UPDATE: ("network", ["connection", "info"], "flow-update"),
    lib.PW_FLOW_END: ("network", ["connection", "end"], "flow-end"),
    lib.PW_BIND: ("network", ["info"], "bind"),
    lib.PW_DNS: ("network", ["protocol"], "dns"),
    lib.PW_PRIVILEGE_SETUID: ("process", ["change"], "setuid"),
    lib.PW_PRIVILEGE_SETGID: ("process", ["change"], "setgid"),
    lib.PW_PRIVILEGE_CAPSET: ("process", ["change"], "capset"),
    lib.PW_PRIVILEGE_PTRACE: ("process", ["access"], "ptrace"),
    lib.PW_PRIVILEGE_MOUNT: ("configuration", ["creation"], "mount"),
    lib.PW_PRIVILEGE_UMOUNT: ("configuration", ["deletion"], "umount"),
    lib.PW_PRIVILEGE_PIVOT_ROOT: ("configuration", ["change"], "pivot-root"),
    lib.PW_PRIVILEGE_CHROOT: ("process", ["change"], "chroot"),
    lib.PW_PRIVILEGE_UNSHARE: ("process", ["change"], "unshare"),
    lib.PW_PRIVILEGE_SETNS: ("process", ["change"], "setns"),
    lib.PW_PRIVILEGE_CLONE: ("process", ["change"], "clone"),
    lib.PW_PRIVILEGE_BPF: ("driver", ["change"], "bpf"),
    lib.PW_PRIVILEGE_PERF_EVENT_OPEN: ("process", ["access"], "perf-event-open"),
    lib.PW_PRIVILEGE_LOAD_MODULE: ("driver", ["start"], "load-module"),
    lib.PW_PRIVILEGE_DELETE_MODULE: ("driver", ["end"], "delete-module"),
    lib.PW_PRIVILEGE_KEXEC_LOAD: ("configuration", ["change"], "kexec-load"),
    lib.PW_PRIVILEGE_MEMFD_CREATE: ("process", ["info"], "memfd-create"),
    lib.PW_PRIVILEGE_VM_WRITE: ("process", ["access"], "vm-write"),
    lib.PW_PRIVILEGE_KEYCTL: ("process", ["access"], "keyctl"),
    lib.PW_PRIVILEGE_CHMOD: ("file", ["change"], "chmod"),
    lib.PW_PRIVILEGE_CHOWN: ("file", ["change"], "chown"),
    lib.PW_PRIVILEGE_MKNOD: ("file", ["creation"], "mknod"),
    lib.PW_PRIVILEGE_SYMLINK: ("file", ["creation"], "symlink"),
    lib.PW_PRIVILEGE_LINK: ("file", ["creation"], "link"),
    lib.PW_PRIVILEGE_KILL: ("process", ["change"], "kill"),
    lib.PW_PRIVILEGE_OOM_KILL: ("process", ["change"], "oom-kill"),
    lib.PW_PRIVILEGE_CGROUP_ATTACH: ("process", ["change"], "cgroup-attach"),
    lib.PW_PRIVILEGE_OPEN_BY_HANDLE: ("file", ["access"], "open-by-handle"),
    lib.PW_PRIVILEGE_IO_URING_SETUP: ("process", ["info"], "io-uring-setup"),
    lib.PW_PRIVILEGE_SETXATTR: ("file", ["change"], "setxattr"),
    lib.PW_PRIVILEGE_FILE_READ: ("file", ["access"], "file-read"),
    lib.PW_PRIVILEGE_FILE_WRITE: ("file", ["change"], "file-write"),
    lib.PW_PRIVILEGE_FILE_DELETE: ("file", ["deletion"], "file-delete"),
    lib.PW_PRIVILEGE_FILE_RENAME: ("file", ["change"], "file-rename"),
    lib.PW_PRIVILEGE_FILE_CONNECT: ("file", ["access"], "file-connect"),
}
STATES = (lib.PW_STATE_PROCESS, lib.PW_STATE_LISTENER, lib.PW_STATE_CONNECTION, lib.PW_STATE_BOUND)
NAMED_ERRNOS = (
    *("EPERM", "EAGAIN", "EACCES", "EPIPE", "EPROTO", "ENOPROTOOPT", "EADDRINUSE", "EADDRNOTAVAIL"),
    *("ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNABORTED", "ECONNRESET", "ENOBUFS", "ETIMEDOUT"),
    *("ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH"),
    *("ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD", "ENOMEM", "EFAULT"),
    *("ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE"),
    *("ETXTBSY", "ENOSPC", "EROFS", "EMLINK", "ENAMETOOLONG", "ENOSYS", "ENOTEMPTY", "ELOOP", "EOVERFLOW"),
    *("EUSERS", "EOPNOTSUPP", "ESTALE", "EDQUOT", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED"),
)
ERRNOS = {getattr(errno, name): name for name in NAMED_ERRNOS}


def is_well_formed(record: bytes) -> bool:
    """Whether the record is of a known kind and all its lengths lie within it."""
    if len(record) < HEAD_BYTES:
        return False
    head = ffi.from_buffer("struct pw_head *", record)
    name = STRUCT_OF_KIND.get(head.kind)
    if name is None or not ffi.sizeof(f"struct {name}") <= head.record_bytes <= len(record):
        return False
    room = head.record_bytes - ffi.sizeof(f"struct {name}")
    if name == "pw_exec":
        parts = part_lengths(ffi.from_buffer("struct pw_exec *", record))
        bounds = PART_BOUNDS
        return sum(parts) <= room and all(part <= bound for part, bound in zip(parts, bounds, strict=True))
    if name == "pw_privilege":
        privilege = ffi.from_buffer("struct pw_privilege *", record)
        lengths = [*privilege.text_bytes, privilege.path_bytes]
        limits = (*[lib.PW_TEXT_BYTES] * 3, lib.PW_PATH_BYTES)
        return sum(lengths) <= room and all(one <= bound for one, bound in zip(lengths, limits, strict=True))
    if name == "pw_dns":
        length = ffi.from_buffer("struct pw_dns *", record).payload_bytes
        return bool(length <= room and length <= lib.PW_DNS_BYTES)
    if name == "pw_cgroup":
        length = ffi.from_buffer("struct pw_cgroup *", record).path_bytes
        return bool(length <= room and length <= lib.PW_CGROUP_PATH_BYTES)
    return True


def is_shipped(record: bytes, scope: int) -> bool:
    """A session of the host's is none, unless somebody entered another's namespaces."""
    head = ffi.from_buffer("struct pw_head *", record)
    if head.kind not in (lib.PW_SESSION_START, lib.PW_SESSION_END):
        return True
    return is_told(ffi.from_buffer("struct pw_session *", record).task.entry, scope)


def encode(
    record: bytes,
    pairs: bytes,
    pair_count: int,
    scope: int,
    node_id: int,
    offset_ns: int,
    variables: tuple[bytes, ...] = (),
) -> bytes:
    """The entry of a well-formed record that is no control record; nothing if it is not shipped."""
    head = ffi.from_buffer("struct pw_head *", record)
    from tests.reference import network_events

    clock = (node_id, offset_ns)
    if not is_shipped(record, scope):
        return b""
    if lib.pw_kind_is_flow(head.kind):
        own = network_events.event(record, scope, clock)
    else:
        own = process_event(record, scope, clock, variables)
    packed = b"".join(msgpack.packb(key) + msgpack.packb(value) for key, value in own.items())
    header = msgpack.Packer().pack_map_header(len(own) + pair_count)
    entry: bytes = b"\x92" + event_time(wall(head.time_ns, offset_ns)) + header + packed + pairs
    return entry


def wall(boot_ns: int, offset_ns: int) -> int:
    return (boot_ns + offset_ns) % 2**64


def event_time(time_ns: int) -> bytes:
    seconds, rest = divmod(time_ns, 10**9)
    data = min(seconds, 2**32 - 1).to_bytes(4, "big") + rest.to_bytes(4, "big")
    packed: bytes = msgpack.packb(msgpack.ExtType(0, data))
    return packed


def date(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def address(raw: Any, family: int) -> str:
    packed = ffi.buffer(raw)[:]
    if family != 10:
        return str(ipaddress.IPv4Address(packed[:4]))
    if packed.startswith(MAPPED):
        return str(ipaddress.IPv4Address(packed[12:]))
    return str(ipaddress.IPv6Address(packed))


OUTCOMES = {True: "success", False: "failure", None: "unknown"}


def event_map(kind: int, success: bool | None, duration_ns: int) -> Map:
    category, types, action = ACTIONS[kind]
    made: Map = {
        "kind": "state" if kind in STATES else "event",
        "category": [category],
        "type": types,
        "action": action,
    }
    made |= {"provider": "ebpf", "outcome": OUTCOMES[success]}
    return made | ({"duration": duration_ns} if duration_ns else {})


def process_event(
    record: bytes, scope: int, clock: tuple[int, int], variables: tuple[bytes, ...] = ()
) -> Map:
    fork = ffi.from_buffer("struct pw_fork *", record)
    kind, task, struct = fork.head.kind, fork.task, STRUCT_OF_KIND[fork.head.kind]
    own = ffi.from_buffer(f"struct {struct} *", record)
    is_exec = struct == "pw_exec"
    process = task_map(task, clock, are_capabilities_named=is_exec or kind == lib.PW_PRIVILEGE_CAPSET)
    witness = witness_map(fork, scope)
    witness |= tree_map(task.entry, scope, clock, own if struct == "pw_session" else None)
    success: bool | None = True
    more: Map = {}
    if is_exec:
        process |= exec_process(own, record, clock, variables)
        witness |= exec_witness(own, record, clock)
    elif kind == lib.PW_SESSION_START:
        process |= tty_map(own.tty_device)
    elif kind == lib.PW_EXIT:
        success = own.status == 0
        process |= {} if own.status & 0x7F else {"exit_code": own.status >> 8 & 0xFF}
        witness["exit"] = exit_map(own)
    elif struct == "pw_privilege":
        success = None if is_request(own) else not errno_of(own)
        more = outcome_map(own, record)
        witness["privilege"] = privilege_map(own, record, clock[0])
    duration_ns = own.duration_ns if kind in (lib.PW_EXIT, lib.PW_SESSION_END) else 0
    return {
        "event": event_map(kind, success, duration_ns),
        "process": process,
        "user": {"id": str(task.euid)},
        **more,
        "podwitness": witness,
    }


def witness_map(fork: Any, scope: int) -> Map:
    task = fork.task
    namespaces = ("mnt", "pid", "net", "user", "uts", "ipc", "cgroup")
    made: Map = {
        "scope": SCOPES[scope],
        "cgroup_id": fork.head.cgroup_id,
        "namespaces": {name: getattr(task, f"{name}_ns") for name in namespaces},
        "capabilities_effective": f"{task.cap_effective:016x}",
        "capabilities_permitted": f"{task.cap_permitted:016x}",
    }
    for name in ("inheritable", "ambient"):
        if capabilities := getattr(task, f"cap_{name}"):
            made[f"capabilities_{name}"] = f"{capabilities:016x}"
    if task.loginuid != 2**32 - 1:
        made["login_user_id"] = str(task.loginuid)
    if task.audit_session != 2**32 - 1:
        made["audit_session_id"] = str(task.audit_session)
    return made


def outcome_map(privilege: Any, record: bytes) -> Map:
    """Of a call: why it failed, and the file that it was about."""
    made: Map = {}
    if number := errno_of(privilege):
        made["error"] = {"code": ERRNOS.get(number, str(number))}
    if whole := file_path(privilege, record):
        made["file"] = {"path": whole}
    return made


def capability_names(task: Any) -> Map:
    def named(capabilities: int) -> list[str]:
        numbers = [number for number in range(64) if capabilities >> number & 1]
        return [f"CAP_{CAPABILITIES[number] if number < len(CAPABILITIES) else number}" for number in numbers]

    made = {"effective": named(task.cap_effective)}
    return made | (
        {"permitted": named(task.cap_permitted)} if task.cap_permitted != task.cap_effective else {}
    )


def task_map(task: Any, clock: tuple[int, int], *, are_capabilities_named: bool) -> Map:
    made: Map = {"pid": task.pid, "name": comm(task.comm), "vpid": task.namespace_pid}
    made["user"] = {"id": str(task.euid)}
    made["real_user"] = {"id": str(task.uid)}
    made["real_group"] = {"id": str(task.gid)}
    made["group"] = {"id": str(task.egid)}
    made["saved_user"] = {"id": str(task.suid)}
    made["saved_group"] = {"id": str(task.sgid)}
    if task.start_ns:
        made["entity_id"] = entity_id(clock[0], task.start_ns, task.pid)
        made["start"] = date(wall(task.start_ns, clock[1]))
    thread: Map = {"id": task.tid} if task.tid != task.pid else {}
    if are_capabilities_named:
        thread["capabilities"] = capability_names(task)
    if thread:
        made["thread"] = thread
    if task.parent_pid:
        parent: Map = {"pid": task.parent_pid}
        if task.parent_start_ns:
            parent["entity_id"] = entity_id(clock[0], task.parent_start_ns, task.parent_pid)
        made["parent"] = {**parent, "name": comm(task.parent_comm)}
    return made | entry_leader(task.entry, clock)


def exit_map(exited: Any) -> Map:
    made: Map = {"peak_memory_bytes": exited.peak_memory_bytes}
    made |= {"user_cpu_ns": exited.user_ns_total, "system_cpu_ns": exited.system_ns_total}
    if number := exited.status & 0x7F:
        made |= {"signal": signal_name(number), "signal_number": number}
    return made | ({"core_dumped": True} if exited.status & 0x80 else {})

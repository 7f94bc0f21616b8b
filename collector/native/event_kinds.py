"""What kinds of kernel records there are, and whose processes they are about: enums of probes/events.h."""

from __future__ import annotations

from enum import IntEnum

from collector._native import lib


class Kind(IntEnum):
    """enum pw_kind of probes/events.h."""

    EXEC = lib.PW_EXEC
    FORK = lib.PW_FORK
    EXIT = lib.PW_EXIT
    CONNECT = lib.PW_TCP_CONNECT
    CONNECT_FAILED = lib.PW_TCP_CONNECT_FAILED
    LISTEN = lib.PW_TCP_LISTEN
    ACCEPT = lib.PW_TCP_ACCEPT
    CLOSE = lib.PW_TCP_CLOSE
    UNLISTEN = lib.PW_TCP_UNLISTEN
    CGROUP_MKDIR = lib.PW_CGROUP_MKDIR
    CGROUP_RMDIR = lib.PW_CGROUP_RMDIR
    RUNNING = lib.PW_STATE_PROCESS
    LISTENING = lib.PW_STATE_LISTENER
    CONNECTED = lib.PW_STATE_CONNECTION
    BOUND = lib.PW_STATE_BOUND
    SESSION_START = lib.PW_SESSION_START
    SESSION_END = lib.PW_SESSION_END
    FLOW_START = lib.PW_FLOW_START
    FLOW_UPDATE = lib.PW_FLOW_UPDATE
    FLOW_END = lib.PW_FLOW_END
    FLOW_CLOSED = lib.PW_FLOW_CLOSED
    BIND = lib.PW_BIND
    DNS = lib.PW_DNS
    SETUID = lib.PW_PRIVILEGE_SETUID
    SETGID = lib.PW_PRIVILEGE_SETGID
    CAPSET = lib.PW_PRIVILEGE_CAPSET
    PTRACE = lib.PW_PRIVILEGE_PTRACE
    MOUNT = lib.PW_PRIVILEGE_MOUNT
    UMOUNT = lib.PW_PRIVILEGE_UMOUNT
    PIVOT_ROOT = lib.PW_PRIVILEGE_PIVOT_ROOT
    CHROOT = lib.PW_PRIVILEGE_CHROOT
    UNSHARE = lib.PW_PRIVILEGE_UNSHARE
    SETNS = lib.PW_PRIVILEGE_SETNS
    CLONE = lib.PW_PRIVILEGE_CLONE
    BPF = lib.PW_PRIVILEGE_BPF
    PERF_EVENT_OPEN = lib.PW_PRIVILEGE_PERF_EVENT_OPEN
    LOAD_MODULE = lib.PW_PRIVILEGE_LOAD_MODULE
    DELETE_MODULE = lib.PW_PRIVILEGE_DELETE_MODULE
    KEXEC_LOAD = lib.PW_PRIVILEGE_KEXEC_LOAD
    MEMFD_CREATE = lib.PW_PRIVILEGE_MEMFD_CREATE
    VM_WRITE = lib.PW_PRIVILEGE_VM_WRITE
    KEYCTL = lib.PW_PRIVILEGE_KEYCTL
    CHMOD = lib.PW_PRIVILEGE_CHMOD
    CHOWN = lib.PW_PRIVILEGE_CHOWN
    MKNOD = lib.PW_PRIVILEGE_MKNOD
    SYMLINK = lib.PW_PRIVILEGE_SYMLINK
    LINK = lib.PW_PRIVILEGE_LINK
    KILL = lib.PW_PRIVILEGE_KILL
    OOM_KILL = lib.PW_PRIVILEGE_OOM_KILL
    CGROUP_ATTACH = lib.PW_PRIVILEGE_CGROUP_ATTACH
    OPEN_BY_HANDLE = lib.PW_PRIVILEGE_OPEN_BY_HANDLE
    IO_URING_SETUP = lib.PW_PRIVILEGE_IO_URING_SETUP
    SETXATTR = lib.PW_PRIVILEGE_SETXATTR
    FILE_READ = lib.PW_PRIVILEGE_FILE_READ
    FILE_WRITE = lib.PW_PRIVILEGE_FILE_WRITE
    FILE_DELETE = lib.PW_PRIVILEGE_FILE_DELETE
    FILE_RENAME = lib.PW_PRIVILEGE_FILE_RENAME
    FILE_CONNECT = lib.PW_PRIVILEGE_FILE_CONNECT

    @property
    def label(self) -> str:
        """As in `event.action` and in metrics: exec, connect-failed."""
        return self.name.lower().replace("_", "-")

    @property
    def subject(self) -> str:
        """process, network, or cgroup for control records, which are not shipped."""
        if self in (Kind.CGROUP_MKDIR, Kind.CGROUP_RMDIR):
            return "cgroup"
        return "network" if lib.pw_kind_is_flow(self) else "process"


WATCHED = (Kind.FILE_READ, Kind.FILE_WRITE, Kind.FILE_DELETE, Kind.FILE_RENAME, Kind.FILE_CONNECT)


class Scope(IntEnum):
    """Whose process it is: `podwitness.scope`."""

    UNRESOLVED = lib.PW_SCOPE_UNRESOLVED
    HOST = lib.PW_SCOPE_HOST
    POD = lib.PW_SCOPE_POD
    CONTAINER = lib.PW_SCOPE_CONTAINER

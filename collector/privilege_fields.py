"""What records of privileges have below `podwitness.privilege`: rows of the table in collector/records.py."""

from __future__ import annotations

from typing import NamedTuple

IDENTITY = ("setuid", "setgid", "capset", "unshare", "setns")
FILES = ("chmod", "chown", "mknod", "symlink", "link", "setxattr")
PLACES = ("mount", "umount", "pivot-root", "chroot")
OPENED = ("file-read", "file-write")
MOVED = ("file-delete", "file-rename")
CALLED = (
    *IDENTITY,
    *("ptrace", *PLACES, "clone", "bpf", "perf-event-open", "load-module", "delete-module", "kexec-load"),
    *("memfd-create", "vm-write", "keyctl", *FILES, "kill", "open-by-handle", "io-uring-setup"),
    *(*OPENED, *MOVED, "file-connect"),
)
HAPPENED = ("oom-kill", "cgroup-attach")
OF_FILES = (*FILES, *OPENED, *MOVED, "file-connect")
PRIVILEGE = (*CALLED, *HAPPENED)
ONLY_CALLED = tuple(kind for kind in CALLED if kind not in ("kill", "clone"))
WITH_TEXT = (
    *PLACES,
    "load-module",
    "delete-module",
    "memfd-create",
    "keyctl",
    *FILES,
    *OPENED,
    *MOVED,
    "file-connect",
)
REQUESTED = ("chmod", "symlink", "link", *OPENED, *MOVED, "file-connect")  # by io_uring, too
BY_NUMBER = ("ptrace", "vm-write", "kill")
WITH_TARGET = (*BY_NUMBER, "clone", *HAPPENED)


class PrivilegeField(NamedTuple):
    """`kinds` are values of `event.action`; `always`: records of these kinds never lack it."""

    name: str
    type: str
    kinds: tuple[str, ...]
    meaning: str
    always: bool = False


_IDENTITIES = (
    ("uid", "long", "Real user"),
    ("euid", "long", "Effective user"),
    ("suid", "long", "Saved user"),
    ("fsuid", "long", "User for files"),
    ("gid", "long", "Real group"),
    ("egid", "long", "Effective group"),
    ("sgid", "long", "Saved group"),
    ("fsgid", "long", "Group for files"),
    ("mnt_ns", "long", "Mount namespace"),
    ("pid_ns_for_children", "long", "Pid namespace of children to come"),
    ("net_ns", "long", "Network namespace"),
    ("user_ns", "long", "User namespace"),
    ("uts_ns", "long", "Namespace of the host's name"),
    ("ipc_ns", "long", "Namespace of System V IPC"),
    ("cgroup_ns", "long", "Cgroup namespace"),
    ("time_ns_for_children", "long", "Time namespace of children to come"),
    ("capabilities_effective", "keyword", "Effective capabilities, 16 hex digits"),
    ("capabilities_permitted", "keyword", "Permitted capabilities, 16 hex digits"),
)


def _passed(
    name: str, type: str, kinds: tuple[str, ...], meaning: str, always: bool = False
) -> PrivilegeField:
    return PrivilegeField(f"podwitness.privilege.{name}", type, kinds, meaning, always)


PRIVILEGE_FIELDS = (
    _passed("call", "keyword", ONLY_CALLED, "The system call, e.g. `setresuid`.", always=True),
    _passed(
        "call",
        "keyword",
        ("kill", "clone"),
        "The same of one that was refused; what was done has none, as a tracepoint of its own tells it.",
    ),
    _passed(
        "result",
        "long",
        tuple(kind for kind in ONLY_CALLED if kind not in REQUESTED),
        "What it returned; an errno is negative.",
        always=True,
    ),
    _passed("result", "long", REQUESTED, "The same; absent with `io_uring`."),
    _passed(
        "io_uring",
        "boolean",
        REQUESTED,
        "True when io_uring was asked to do what the call does; whether it could is not told.",
    ),
    _passed("result", "long", ("kill", "clone"), "The same."),
    _passed("i386", "boolean", CALLED, "True for a call of a 32-bit program (or by `int 0x80`) on x86_64."),
    _passed("cut", "boolean", WITH_TEXT, "True when a text was longer than the 255 bytes that are kept."),
    _passed("uid", "long", ("setuid",), "As passed; -1 leaves it as it is."),
    _passed("uid", "long", ("chown",), "The same.", always=True),
    _passed("euid", "long", ("setuid",), "As passed."),
    _passed("suid", "long", ("setuid",), "As passed."),
    _passed("fsuid", "long", ("setuid",), "As passed."),
    _passed("gid", "long", ("setgid",), "As passed."),
    _passed("gid", "long", ("chown",), "As passed.", always=True),
    _passed("egid", "long", ("setgid",), "As passed."),
    _passed("sgid", "long", ("setgid",), "As passed."),
    _passed("fsgid", "long", ("setgid",), "As passed."),
    _passed("count", "long", ("setgid",), "Number of groups that setgroups(2) was passed."),
    _passed(
        "request", "keyword", ("ptrace",), "Of ptrace(2), e.g. `ATTACH`; only what takes hold or writes."
    ),
    _passed(
        "pid",
        "long",
        ("perf-event-open", "vm-write"),
        "As passed: a number of the caller's own pid namespace.",
        always=True,
    ),
    _passed("pid", "long", ("ptrace",), "The same, of ptrace(2)."),
    _passed("pid", "long", ("kill",), "The same of a signal that was refused."),
    _passed("tid", "long", ("kill",), "A thread's, as passed."),
    _passed("cpu", "long", ("perf-event-open",), "As passed; -1: all.", always=True),
    _passed("source", "keyword", ("mount",), "What is mounted, as passed."),
    _passed("path", "keyword", (*OPENED, "file-connect"), "As passed; `file` has where that led to."),
    _passed("new_path", "keyword", ("file-rename",), "As passed."),
    _passed("path", "keyword", (*PLACES, *FILES, *MOVED), "As passed; a relative one starts in `folder`."),
    _passed(
        "folder",
        "keyword",
        (*PLACES, *FILES, *OPENED, *MOVED),
        "Where a relative path starts; of an open that opened nothing, too. Starts with `...` when cut.",
    ),
    _passed(
        "file",
        "keyword",
        ("load-module", "kexec-load", "chmod", "chown", "setxattr", *OPENED),
        "The file behind the descriptor that was passed, or that was opened.",
    ),
    _passed("put_old", "keyword", ("pivot-root",), "Where the old root goes, as passed."),
    _passed("type", "keyword", ("mount", "keyctl"), "Of the file system or the key, as passed."),
    _passed("description", "keyword", ("keyctl",), "Of the key, as passed."),
    _passed("points_to", "keyword", ("symlink", "link"), "What the link leads to, as passed."),
    _passed("parameters", "keyword", ("load-module",), "Of the module, as passed."),
    _passed("module", "keyword", ("delete-module",), "Its name, as passed."),
    _passed("name", "keyword", ("memfd-create",), "As passed."),
    _passed(
        "flags",
        "keyword[]",
        ("umount", "unshare", "setns", "clone", "memfd-create"),
        "Names of the flags; what has none is a number in 16 hex digits.",
        always=True,
    ),
    _passed("flags", "keyword[]", ("mount",), "The same, of mount(2)."),
    _passed("flags", "keyword[]", ("file-read",), "Of these O_CREAT, O_EXCL and O_APPEND.", always=True),
    _passed("flags", "keyword[]", ("file-write",), "O_WRONLY, O_RDWR and O_TRUNC too; not of truncate(2)."),
    _passed("flags", "keyword[]", ("chmod",), "Of what open(2) or its like made with such a mode."),
    _passed("flags", "long", ("load-module",), "As passed to finit_module(2)."),
    _passed("flags", "long", ("delete-module", "kexec-load"), "As passed.", always=True),
    _passed("bytes", "long", ("load-module",), "Length of the module."),
    _passed("segments", "long", ("kexec-load",), "How many parts the new kernel has."),
    _passed("command", "keyword", ("bpf",), "e.g. `PROG_LOAD`; not what uses an open map.", always=True),
    _passed("operation", "keyword", ("keyctl",), "Of keyctl(2), e.g. `READ`."),
    _passed(
        "operation", "keyword", ("mount",), "Of fsconfig(2): `SET_STRING` of a source, `CMD_RECONFIGURE`."
    ),
    _passed("key", "long", ("keyctl",), "Serial number, as passed."),
    _passed("keyring", "long", ("keyctl",), "Serial number, as passed."),
    _passed(
        "mode",
        "keyword",
        ("chmod", "mknod"),
        "4 octal digits; 4755 is setuid. Of what open(2) or its like made the one that it has.",
        always=True,
    ),
    _passed(
        "permitted",
        "keyword",
        ("setxattr",),
        "Capabilities that the file gives to who executes it, 16 hex digits.",
        always=True,
    ),
    _passed("device", "keyword", ("mknod",), "`major:minor`.", always=True),
    _passed("descriptor", "long", ("setns", "open-by-handle"), "As passed.", always=True),
    _passed(
        "descriptor",
        "long",
        ("mount", "ptrace", "kill"),
        "As passed to fsmount(2), fsconfig(2), pidfd_getfd(2) or pidfd_send_signal(2).",
    ),
    _passed("entries", "long", ("io-uring-setup",), "Places in the ring.", always=True),
    _passed("signal", "keyword", ("kill",), "e.g. `SIGKILL`.", always=True),
    _passed("ignored", "boolean", ("kill",), "True when the target has it ignored."),
    _passed("to_thread", "boolean", ("kill",), "True when it was sent to one thread."),
    _passed(
        "target.pid",
        "long",
        HAPPENED,
        "The process that it was done to, as the node sees it. Before Linux 6.10 an oom-kill tells no more "
        "of it, and its container is that of the process which wanted the memory.",
        always=True,
    ),
    _passed("target.pid", "long", ("clone",), "The new process."),
    _passed(
        "target.pid",
        "long",
        BY_NUMBER,
        "The same; of vm-write, and of ptrace and kill that were refused, from Linux 6.14 on.",
    ),
    _passed("target.entity_id", "keyword", WITH_TARGET, "Its `process.entity_id`."),
    _passed("target.name", "keyword", WITH_TARGET, "Its name."),
    _passed("target.user.id", "keyword", WITH_TARGET, "Its real user."),
    _passed(
        "target.cgroup_id",
        "long",
        WITH_TARGET,
        "Its cgroup: `podwitness.cgroup_id` of its own records; of cgroup-attach the new one.",
    ),
    _passed("target.scope", "keyword", WITH_TARGET, "As `podwitness.scope`, where its cgroup is known."),
    _passed("target.container.id", "keyword", WITH_TARGET, "Its container."),
    _passed("target.container.name", "keyword", WITH_TARGET, "The same, as in the pod's specification."),
    _passed("target.kubernetes.pod_name", "keyword", WITH_TARGET, "Its pod."),
    _passed("target.kubernetes.namespace_name", "keyword", WITH_TARGET, "The pod's namespace."),
    _passed("target.kubernetes.pod_id", "keyword", WITH_TARGET, "The pod's uid."),
    *(
        _passed(f"{side}.{label}", type, IDENTITY, f"{meaning} {side} the call, where the call changed it.")
        for side in ("before", "after")
        for label, type, meaning in _IDENTITIES
    ),
)

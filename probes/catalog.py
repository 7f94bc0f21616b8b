"""What the probes can watch: the table of subjects, hooks and maps.

A new hook is a line in HOOKS and a PROGRAM(<tracepoint>) in <subject>.bpf.c; a new subject is a file more, a
new kind of record a line in events.h and in `RecordKind`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple


class RecordKind(IntEnum):
    """enum pw_kind of events.h."""

    EXEC = 1
    FORK = 2
    EXIT = 3
    TCP_CONNECT = 4
    TCP_CONNECT_FAILED = 5
    TCP_LISTEN = 6
    TCP_ACCEPT = 7
    TCP_CLOSE = 8
    TCP_UNLISTEN = 9
    CGROUP_MKDIR = 10
    CGROUP_RMDIR = 11
    STATE_PROCESS = 12
    STATE_LISTENER = 13
    STATE_CONNECTION = 14
    STATE_BOUND = 15
    SESSION_START = 16
    SESSION_END = 17
    FLOW_START = 20
    FLOW_UPDATE = 21  # made by the collector
    FLOW_END = 22
    FLOW_CLOSED = 23  # for the collector only
    BIND = 24
    DNS = 25
    PRIVILEGE_SETUID = 40
    PRIVILEGE_SETGID = 41
    PRIVILEGE_CAPSET = 42
    PRIVILEGE_PTRACE = 43
    PRIVILEGE_MOUNT = 44
    PRIVILEGE_UMOUNT = 45
    PRIVILEGE_PIVOT_ROOT = 46
    PRIVILEGE_CHROOT = 47
    PRIVILEGE_UNSHARE = 48
    PRIVILEGE_SETNS = 49
    PRIVILEGE_CLONE = 50
    PRIVILEGE_BPF = 51
    PRIVILEGE_PERF_EVENT_OPEN = 52
    PRIVILEGE_LOAD_MODULE = 53
    PRIVILEGE_DELETE_MODULE = 54
    PRIVILEGE_KEXEC_LOAD = 55
    PRIVILEGE_MEMFD_CREATE = 56
    PRIVILEGE_VM_WRITE = 57
    PRIVILEGE_KEYCTL = 58
    PRIVILEGE_CHMOD = 59
    PRIVILEGE_CHOWN = 60
    PRIVILEGE_MKNOD = 61
    PRIVILEGE_SYMLINK = 62
    PRIVILEGE_LINK = 63
    PRIVILEGE_KILL = 64
    PRIVILEGE_OOM_KILL = 65
    PRIVILEGE_CGROUP_ATTACH = 66
    PRIVILEGE_OPEN_BY_HANDLE = 67
    PRIVILEGE_IO_URING_SETUP = 68
    PRIVILEGE_SETXATTR = 69
    PRIVILEGE_FILE_READ = 70
    PRIVILEGE_FILE_WRITE = 71
    PRIVILEGE_FILE_DELETE = 72
    PRIVILEGE_FILE_RENAME = 73
    PRIVILEGE_FILE_CONNECT = 74


KINDS = 80  # PW_KINDS: length of tables by kind, which has gaps
LIMIT_SLOTS = 2048  # PW_LIMIT_SLOTS


class Dialect(StrEnum):
    """How a program reaches kernel memory; see dialect.h. The value is the name in reports."""

    TP_BTF = "tp_btf"
    RAW_TP = "raw_tp"


class Cost(StrEnum):
    """How often a hook runs, which is what it costs; measured by tests/bench/probe_cost.py."""

    RARE = "rare"  # by hand or by a runtime: some a second at most
    PER_PROCESS = "process"
    PER_CONNECTION = "connection"
    PER_CALL = "call"  # each read or write
    PER_PACKET = "packet"


class CgroupAttach(IntEnum):
    """enum bpf_attach_type of uapi/linux/bpf.h: programs that run for all sockets below a cgroup."""

    INGRESS = 0
    EGRESS = 1
    POST_BIND4 = 12
    POST_BIND6 = 13
    SOCKET_RELEASE = 34

    @property
    def is_of_packets(self) -> bool:
        return self <= CgroupAttach.EGRESS


class Hook(NamedTuple):
    """A tracepoint, and the program `on_<tracepoint>` in <subject>.bpf.c.

    With `cgroup` it is no tracepoint, but a program at the root of the cgroup tree; `tracepoint` is its name.
    """

    subject: str
    tracepoint: str
    kinds: tuple[RecordKind, ...]  # kinds that are lost without it; none if it only improves others
    since: tuple[int, int]  # lowest kernel
    cost: Cost
    without: str  # what follows when it can't be attached
    cgroup: CgroupAttach | None = None
    # Of a walk (bpf_iter): the kernel's function. It runs once for each thing that is there, when the others
    # are attached; `kinds` are what it writes for its reader. `tracepoint` is only its name.
    walks: str = ""
    unless: str = ""  # not attached where the kernel has this tracepoint, which tells the same for less
    is_of_option: bool = False  # kernels may be built without what it is about: then nothing is lost

    @property
    def is_walk(self) -> bool:
        return bool(self.walks)


def kernel_version(release: str) -> tuple[int, int]:
    """(6, 1) of 6.1.0-18-amd64; (0, 0) of what is no release."""
    numbers = release.replace("-", ".").split(".")[:2]
    major, minor = (*(int(one) if one.isdigit() else 0 for one in numbers), 0, 0)[:2]
    return major, minor


TCP_KINDS = tuple(kind for kind in RecordKind if kind.name.startswith("TCP_"))

CALL_KINDS = tuple(
    kind
    for kind in RecordKind
    if kind.name.startswith("PRIVILEGE_")
    and kind not in (RecordKind.PRIVILEGE_OOM_KILL, RecordKind.PRIVILEGE_CGROUP_ATTACH)
)

HOOKS = (
    Hook(
        "process",
        "sched_process_exec",
        (RecordKind.EXEC, RecordKind.SESSION_START),
        (5, 8),
        Cost.PER_PROCESS,
        "No execution of a program is seen.",
    ),
    Hook(
        "process",
        "sched_process_fork",
        (RecordKind.FORK,),
        (5, 8),
        Cost.PER_PROCESS,
        "Processes that only fork are not seen; those that execute are.",
    ),
    Hook(
        "process",
        "sched_process_exit",
        (RecordKind.EXIT, RecordKind.SESSION_END),
        (5, 8),
        Cost.PER_PROCESS,
        "No exit status, duration or CPU time is known of any process.",
    ),
    Hook(
        "process",
        "sched_prepare_exec",
        (),
        (6, 10),
        Cost.PER_PROCESS,
        "The credentials that a process had before it executed a setuid program are not told.",
    ),
    Hook(
        "process",
        "bpf_iter_task",
        (),
        (5, 8),
        Cost.RARE,
        "Of processes older than the probes it is known only once they fork or execute how they came into "
        "their container.",
        walks="bpf_iter_task",
    ),
    Hook(
        "network",
        "inet_sock_set_state",
        TCP_KINDS,
        (5, 8),
        Cost.PER_CONNECTION,
        "No TCP connection is seen.",
    ),
    Hook(
        "network",
        "tcp_rcv_space_adjust",
        (),
        (5, 8),
        Cost.PER_CALL,
        "An accepted connection counts for the process that listens until another writes or closes it.",
    ),
    Hook(
        "network",
        "tcp_sendmsg_locked",
        (),
        (6, 16),
        Cost.PER_CALL,
        "Each send() pays for a probe, also of UDP and UNIX sockets; before Linux 6.3 an accepted connection "
        "counts for the process that listens until another reads or closes it.",
    ),
    Hook(
        "network",
        "sock_send_length",
        (),
        (6, 3),
        Cost.PER_CALL,
        "An accepted connection counts for the process that listens until another reads or closes it.",
        unless="tcp_sendmsg_locked",
    ),
    Hook(
        "cgroup",
        "cgroup_mkdir",
        (RecordKind.CGROUP_MKDIR,),
        (5, 8),
        Cost.RARE,
        "A container is known only after the next look at the cgroup file system.",
    ),
    Hook(
        "cgroup",
        "cgroup_rmdir",
        (RecordKind.CGROUP_RMDIR,),
        (5, 8),
        Cost.RARE,
        "That a container ended is known only after the next look at the cgroup file system.",
    ),
    Hook(
        "state",
        "processes_before",
        (RecordKind.STATE_PROCESS,),
        (5, 8),
        Cost.RARE,
        "Processes older than the probes are known only by what they do.",
        walks="bpf_iter_task",
    ),
    Hook(
        "state",
        "sockets_before",
        (RecordKind.STATE_LISTENER, RecordKind.STATE_CONNECTION, RecordKind.STATE_BOUND),
        (5, 11),
        Cost.RARE,
        "Listeners, connections and UDP sockets older than the probes are known only by what happens to "
        "them.",
        walks="bpf_iter_task_file",
    ),
    Hook(
        "flow",
        "cgroup_skb_egress",
        (RecordKind.FLOW_START, RecordKind.FLOW_END, RecordKind.DNS),
        (5, 10),
        Cost.PER_PACKET,
        "What is sent by UDP and ICMP is not counted, and no DNS query is seen.",
        CgroupAttach.EGRESS,
    ),
    Hook(
        "flow",
        "cgroup_skb_ingress",
        (RecordKind.FLOW_START, RecordKind.FLOW_END, RecordKind.DNS),
        (5, 10),
        Cost.PER_PACKET,
        "What is received by UDP and ICMP is not counted, and no DNS answer is seen.",
        CgroupAttach.INGRESS,
    ),
    Hook(
        "flow",
        "cgroup_sock_release",
        (RecordKind.FLOW_END, RecordKind.FLOW_CLOSED),
        (5, 10),
        Cost.PER_CONNECTION,
        "A UDP flow ends when it has been idle for `Flow_Idle`, not with its socket.",
        CgroupAttach.SOCKET_RELEASE,
    ),
    Hook(
        "flow",
        "cgroup_post_bind4",
        (RecordKind.BIND,),
        (5, 10),
        Cost.PER_CONNECTION,
        "No bind() to an IPv4 address is seen, nor who receives by UDP without ever sending.",
        CgroupAttach.POST_BIND4,
    ),
    Hook(
        "flow",
        "cgroup_post_bind6",
        (RecordKind.BIND,),
        (5, 10),
        Cost.PER_CONNECTION,
        "No bind() to an IPv6 address is seen, nor who receives by UDP without ever sending.",
        CgroupAttach.POST_BIND6,
    ),
    Hook(
        "privilege",
        "signal_generate",
        (RecordKind.PRIVILEGE_KILL,),
        (5, 8),
        Cost.PER_PROCESS,
        "Signals from one container to another are not seen.",
    ),
    Hook(
        "privilege",
        "mark_victim",
        (RecordKind.PRIVILEGE_OOM_KILL,),
        (5, 8),
        Cost.RARE,
        "That the kernel killed a process for want of memory is not told; its exit by SIGKILL is.",
    ),
    Hook(
        "privilege",
        "task_newtask",
        (RecordKind.PRIVILEGE_CLONE,),
        (5, 8),
        Cost.PER_PROCESS,
        "Processes that start in new namespaces are seen by their namespaces only.",
    ),
    Hook(
        "privilege",
        "cgroup_attach_task",
        (RecordKind.PRIVILEGE_CGROUP_ATTACH,),
        (5, 8),
        Cost.RARE,
        "That a process moves to another cgroup, so out of its container's, is not seen.",
    ),
    Hook(
        "syscalls",
        "sys_exit",
        CALL_KINDS,
        (5, 8),
        Cost.PER_CALL,
        "Calls that change or use a privilege are not seen.",
    ),
    Hook(
        "syscalls",
        "sys_enter",
        (),
        (5, 8),
        Cost.PER_CALL,
        "Ids, capabilities and namespaces are told as they are after a call, not as they were before it.",
    ),
    Hook(
        "syscalls",
        "io_uring_submit_req",
        (),
        (6, 4),
        Cost.PER_CALL,
        "What io_uring opens, deletes, renames or links is not seen; who sets up an io_uring is.",
        is_of_option=True,
    ),
)

SUBJECTS = tuple(dict.fromkeys(hook.subject for hook in HOOKS))


class MapType(Enum):
    """enum bpf_map_type of uapi/linux/bpf.h."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    RINGBUF = 27


class Map(NamedTuple):
    """MAP(<name>) in the probes. The C side asserts the sizes."""

    name: str
    type: MapType
    key_bytes: int
    value_bytes: int
    entries: int
    subjects: tuple[str, ...] = SUBJECTS  # made only for these
    mappable: bool = False  # user space reads it by mmap, without bpf(2)


class RingSizes(NamedTuple):
    """Bytes, powers of two. Which kinds go where is said by PW_IS_FLOW in events.h."""

    ring: int
    flow_ring: int


FLOWS, FLOW_SLOTS = "flows", 16384  # the map that the collector reads, too


def maps(sizes: RingSizes, cpus: int) -> tuple[Map, ...]:
    """`cpus`: that the kernel may have, at most."""
    return (
        *(Map(name, MapType.RINGBUF, 0, 0, size_bytes) for name, size_bytes in sizes._asdict().items()),
        Map("lost", MapType.ARRAY, 4, 8, KINDS, mappable=True),
        # struct pw_rates, and struct pw_limit_slot for 2048 cgroups and all others: 740 KB.
        Map("rates", MapType.ARRAY, 4, 64, 1, mappable=True),
        Map("limits", MapType.ARRAY, 4, 40 + 4 * KINDS, LIMIT_SLOTS + 1, mappable=True),
        # struct pw_exec and PW_EXEC_DATA_BYTES, for each CPU.
        Map("exec_scratch", MapType.PERCPU_ARRAY, 4, 312 + 29696, 1, ("process",)),
        # Live processes in 32,768 places, and scratch memory for each CPU: 12 MB. Each has a choice of eight:
        # with 8,000 live ones one in 20,000 finds none, with 12,000 one in 700. Of those nothing is known but
        # what their records say themselves.
        Map("processes", MapType.ARRAY, 4, 352, 32768 + cpus * 3),
        # Processes older than the probes, while they are put there.
        Map("adopted", MapType.LRU_HASH, 16, 1, 1024, ("process",)),
        # Cgroups, and mount namespaces, by who came first: 16,384 cgroups are what the collector keeps, too.
        Map("homes", MapType.LRU_HASH, 8, 4, 16384),
        Map("mounts", MapType.LRU_HASH, 8, 8, 16384, ("process",)),
        Map("sessions", MapType.LRU_HASH, 16, 24, 4096, ("process",)),
        # Threads that exit at once on a kernel before 6.16: it bridges microseconds.
        Map("exited", MapType.LRU_HASH, 16, 1, 1024, ("process",)),
        # Open TCP sockets of a node, 2.6 MB. Each has a choice of eight places; if all are taken one of them
        # loses its owner, and says so.
        Map("sockets", MapType.ARRAY, 4, 80, 32768, ("network", "flow", "state")),
        Map("listeners", MapType.LRU_HASH, 24, 64, 4096, ("network", "state")),
        # struct pw_flow_slot, 3 MB. Each flow has a choice of four places; if all are taken, the one that was
        # silent for longest is reported and gives way.
        Map(FLOWS, MapType.ARRAY, 4, 192, FLOW_SLOTS, ("flow",), mappable=True),
        Map("flow_locks", MapType.HASH, 4, 4, 256, ("flow",)),
        Map("flow_sockets", MapType.LRU_HASH, 8, 40, 8192, ("flow",)),
        Map("flow_owners", MapType.LRU_HASH, 8, 64, 4096, ("flow",)),
        Map("ns_cgroups", MapType.LRU_HASH, 4, 8, 1024, ("flow",)),
        # As exec_scratch. Only one at a time reads what was there before.
        Map("state_scratch", MapType.ARRAY, 4, 312 + 29696, 1, ("state",)),
        # struct pw_privilege and PW_PRIVILEGE_DATA_BYTES.
        Map("call_scratch", MapType.PERCPU_ARRAY, 4, 472 + 8192, 1, ("syscalls",)),
        # Hashes of the names of watched files (watched.h); the collector writes them.
        Map("watched", MapType.ARRAY, 4, 4096, 1, ("syscalls",), mappable=True),
        # Threads within one of the calls that change ids or namespaces; each is there for microseconds.
        Map("identities", MapType.LRU_HASH, 4, 80, 4096, ("syscalls",)),
        # struct pw_cgroup and the longest path.
        Map("cgroup_scratch", MapType.PERCPU_ARRAY, 4, 32 + 4096, 1, ("cgroup",)),
    )


def maps_of(subjects: Collection[str], sizes: RingSizes, cpus: int) -> tuple[Map, ...]:
    return tuple(made for made in maps(sizes, cpus) if not set(subjects).isdisjoint(made.subjects))


def hooks_of(subjects: Collection[str]) -> tuple[Hook, ...]:
    """In the order of the table. Raises KeyError with the name of a subject that there is not."""
    for subject in subjects:
        if subject not in SUBJECTS:
            raise KeyError(subject)
    return tuple(hook for hook in HOOKS if hook.subject in subjects)


def needed(
    hooks: Collection[Hook], arguments: Collection[str], without: Collection[str] = ()
) -> tuple[Hook, ...]:
    """Those that no other stands in for. `arguments`: tracepoints that the BTF has; `without`: macros
    of the headers that are left out."""
    return tuple(
        hook for hook in hooks if hook.unless not in arguments or f"ARGUMENTS_{hook.unless}" in without
    )


def dialects(hook: Hook, arguments: Mapping[str, int], forced: Dialect | None = None) -> tuple[Dialect, ...]:
    """What to try for a hook, best first. `arguments`: tracepoints that the kernel's BTF has.

    A kernel whose BTF does not know a tracepoint may still have it as a raw one. Programs of cgroups follow
    typed pointers only where that saves a call.
    """
    if forced and not hook.is_walk:
        return (forced,)
    known = hook.tracepoint in arguments or hook.cgroup is not None
    if hook.is_walk:
        return (Dialect.TP_BTF,) if known else ()
    return (Dialect.TP_BTF, Dialect.RAW_TP) if known else (Dialect.RAW_TP,)

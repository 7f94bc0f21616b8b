"""Kernel events over ext/event.h: ring -> msgpack entries, by a table of constant pairs per cgroup."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from collector._native import ffi, lib
from collector.native.translations import Translations

if TYPE_CHECKING:
    from collector.native.programs import Programs

OUTPUT_BYTES_LEAST: int = lib.PW_EVENT_OUTPUT_BYTES
FRAGMENT_BYTES_MOST: int = lib.PW_FRAGMENT_BYTES
_HEAD = struct.Struct("=HHIQQ")  # struct pw_head
_CGROUP = struct.Struct("=IHH")  # what struct pw_cgroup adds before the path
assert _HEAD.size == ffi.sizeof("struct pw_head")
assert _HEAD.size + _CGROUP.size == ffi.sizeof("struct pw_cgroup")


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


class DrainEnd(IntEnum):
    """Why a drain returned."""

    EMPTY = lib.PW_DRAIN_EMPTY
    BOUND = lib.PW_DRAIN_BOUND
    FULL = lib.PW_DRAIN_FULL
    CONTROL = lib.PW_DRAIN_CONTROL
    LATER = lib.PW_DRAIN_LATER


class Fragment(NamedTuple):
    """Constant pairs of one container: msgpack `key value key value ...` and how many pairs."""

    pairs: bytes
    pair_count: int
    scope: Scope


class Entries(NamedTuple):
    """`[EventTime, record]` one after the other."""

    entries: bytes
    records: int


class CgroupChange(NamedTuple):
    """A control record. `path` starts at the root of the cgroup tree."""

    made: bool
    cgroup_id: int
    time_ns: int  # CLOCK_BOOTTIME
    level: int
    path: str


class Encoded(NamedTuple):
    process: Entries
    network: Entries
    malformed: int


class Drained(NamedTuple):
    """`unknown` are records as the kernel made them whose cgroup is not in the table (see `split`)."""

    end: DrainEnd
    process: Entries
    network: Entries
    unknown: bytes
    change: CgroupChange | None
    events: dict[Kind, int]
    malformed: int
    corrupt_bytes: int
    drained_bytes: int
    exempt: dict[Kind, int]  # of the events, those that are not told


class RawRecord(NamedTuple):
    """`bytes_padded` can be handed to EventEncoder.encode, alone or joined with others."""

    kind: int
    cgroup_id: int
    bytes_padded: bytes


def split(unknown: bytes) -> Iterator[RawRecord]:
    """The records of Drained.unknown."""
    at = 0
    while at < len(unknown):
        kind, _flags, record_bytes, _time_ns, cgroup_id = _HEAD.unpack_from(unknown, at)
        end = at + (record_bytes + 7 & ~7)
        yield RawRecord(kind, cgroup_id, unknown[at:end])
        at = end


def _check(status: int, what: str) -> None:
    if status == lib.PW_OK:
        return
    if status == lib.PW_E_SYSCALL:
        raise OSError(ffi.errno, os.strerror(ffi.errno), what)
    if status == lib.PW_E_MEMORY:
        raise MemoryError(what)
    raise ValueError(f"{what}: {ffi.string(lib.pw_error_text(status)).decode()}")


class Ring:
    """A mapped ring buffer of the probes. The descriptor stays the caller's."""

    def __init__(self, fd: int, ring_bytes: int) -> None:
        """Raises OSError when `fd` is no ring buffer of `ring_bytes`."""
        self._ring = ffi.new("struct pw_ring *")
        self.size_bytes = ring_bytes
        _check(lib.pw_ring_map(self._ring, fd, ring_bytes), "mmap of the ring buffer")

    @property
    def fill_bytes(self) -> int:
        return int(lib.pw_ring_fill_bytes(self._ring))

    def close(self) -> None:
        lib.pw_ring_unmap(self._ring)


class ContainerTable:
    """cgroup id -> constant pairs. Bounded in entries and bytes."""

    def __init__(self, max_entries: int = 16384, max_bytes: int = 32 << 20) -> None:
        table = lib.pw_containers_new(max_entries, max_bytes)
        if table == ffi.NULL:
            raise MemoryError("table of containers")
        self._table = ffi.gc(table, lib.pw_containers_free)

    def set(self, cgroup_id: int, fragment: Fragment) -> bool:
        """False: the table is full, and as it was."""
        status = lib.pw_containers_set(self._table, cgroup_id, _fragment(fragment))
        if status == lib.PW_E_TABLE_FULL:
            return False
        _check(status, "table of containers")
        return True

    def remove(self, cgroup_id: int) -> bool:
        """Whether it was there."""
        return bool(lib.pw_containers_remove(self._table, cgroup_id))

    def find(self, cgroup_id: int) -> Fragment | None:
        found = lib.pw_containers_find(self._table, cgroup_id)
        if found == ffi.NULL:
            return None
        pairs = bytes(ffi.buffer(found.pairs, found.pairs_bytes))
        return Fragment(pairs, found.pair_count, Scope(found.scope))

    @property
    def size_bytes(self) -> int:
        return int(lib.pw_containers_bytes(self._table))

    def __len__(self) -> int:
        return int(lib.pw_containers_count(self._table))


class FlowTable:
    """The map `flows` of the probes, mapped. The descriptor stays the caller's."""

    def __init__(self, fd: int, slots: int, interval_ns: int, idle_ns: int) -> None:
        """Raises OSError."""
        table = lib.pw_flow_table_open(fd, slots, interval_ns, idle_ns)
        if table == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno), "mmap of the table of flows")
        self._table = ffi.gc(table, lib.pw_flow_table_close)

    def close(self) -> None:
        ffi.release(self._table)


class Resolutions:
    """Names by which pods asked for addresses, bounded in number and by their TTL."""

    def __init__(self, host_net_ns: int) -> None:
        known = lib.pw_resolutions_new(host_net_ns)
        if known == ffi.NULL:
            raise MemoryError("names of addresses")
        self._known = ffi.gc(known, lib.pw_resolutions_free)

    def find(self, net_ns: int, cgroup_id: int, family: int, address: bytes, now_ns: int) -> str | None:
        """`address` packed."""
        inquirer = ffi.new(
            "struct pw_inquirer *", {"cgroup_id": cgroup_id, "net_ns": net_ns, "family": family}
        )
        found_bytes = ffi.new("uint32_t *")
        name = lib.pw_resolutions_find(self._known, inquirer, address.ljust(16, b"\0"), now_ns, found_bytes)
        return None if name == ffi.NULL else bytes(ffi.buffer(name, found_bytes[0])).decode()

    @property
    def unread(self) -> UnreadDns:
        found = lib.pw_resolutions_unread(self._known)
        return UnreadDns(int(found.malformed), int(found.streams))


class UnreadDns(NamedTuple):
    """Since the start. `streams`: of TCP, given up for a byte that is missing."""

    malformed: int
    streams: int


class Heartbeat(NamedTuple):
    """What the collector did so that its own probes report it; see struct pw_heartbeat."""

    pid: int = 0  # in this process's pid namespace; 0: there is no child
    pid_ns: int = 0
    net_ns: int = 0
    port: int = 0  # on 127.0.0.1; 0: no socket listened
    bound_from_ns: int = 0  # CLOCK_BOOTTIME, as the others
    from_ns: int = 0
    until_ns: int = 0


class Tables(NamedTuple):
    """Filters may want the events of one subject and not the other, so each has its constant pairs."""

    process: ContainerTable
    network: ContainerTable


def _fragment(fragment: Fragment) -> Any:
    """Points into `fragment.pairs`: the caller keeps the fragment while it is used."""
    made = ffi.new("struct pw_fragment *")
    made.pairs = ffi.from_buffer("uint8_t[]", fragment.pairs)
    made.pairs_bytes = len(fragment.pairs)
    made.pair_count = fragment.pair_count
    made.scope = fragment.scope
    return made


class EventEncoder:
    """Encodes records of the ring, or raw ones, into buffers of its own. Not for several threads at once."""

    def __init__(self, node_id: int, *, output_bytes: int = 1 << 20, variables: Sequence[str] = ()) -> None:
        """`node_id` (64 bits) is the first part of process.entity_id. `variables`: names of environment
        variables that may be told.

        `output_bytes` bounds what one call gives per subject, and the raw records
        that it hands back.
        """
        if output_bytes < OUTPUT_BYTES_LEAST:
            raise ValueError(f"at least {OUTPUT_BYTES_LEAST} bytes of output")
        self._drain = ffi.new("struct pw_drain *")
        self._drain.clock.node_id = node_id
        names = b"".join(name.encode() + b"\0" for name in variables)
        self._variables = ffi.new("char[]", names)  # kept as long as the drain points to it
        self._drain.clock.variables = self._variables
        self._drain.clock.variables_bytes = len(names)
        outputs = (self._drain.process, self._drain.network, self._drain.unknown)
        self._buffers = [ffi.new("uint8_t[]", output_bytes) for _ in outputs]
        for output, buffer in zip(outputs, self._buffers, strict=True):
            output.bytes = buffer
            output.room = output_bytes
        self._consumed = ffi.new("uint64_t *")
        self._malformed = ffi.new("uint64_t *")

    def set_clock(self, wall_offset_ns: int) -> None:
        """CLOCK_REALTIME minus CLOCK_BOOTTIME, of times from now on."""
        self._drain.clock.wall_offset_ns = wall_offset_ns

    def expect(self, heartbeat: Heartbeat) -> None:
        """Its records are taken out of the stream from now on, and those heard before are forgotten."""
        for name, value in heartbeat._asdict().items():
            setattr(self._drain.heartbeat, name, value)
        for kind in Kind:
            self._drain.heard[kind] = 0

    def heard(self) -> frozenset[Kind]:
        """Kinds of records of the heartbeat that have come."""
        return frozenset(kind for kind in Kind if self._drain.heard[kind])

    def set_born_before(self, time_ns: int) -> None:
        """Forks of processes that are older (CLOCK_BOOTTIME) are remembered from now on."""
        self._drain.born_before_ns = time_ns
        self._drain.newborn_count = 0

    def newborns(self) -> frozenset[tuple[int, int]]:
        """(start_ns, pid) of these. Not all, if there were more than 256."""
        found = self._drain.newborns[0 : self._drain.newborn_count]
        return frozenset((int(one.start_ns), int(one.pid)) for one in found)

    def drain(self, ring: Ring, tables: Tables, max_records: int, until_ns: int = 0) -> Drained:
        """Takes up to `max_records` records out of the ring, up to the first that is later than `until_ns`
        (CLOCK_BOOTTIME; 0: however late)."""
        self._drain.max_records = max_records
        self._drain.until_ns = until_ns
        self._prepare(tables)
        _check(lib.pw_ring_drain(ring._ring, self._drain), "drain")
        return self._drained()

    def watch(self, flows: FlowTable) -> None:
        """Ends of flows that come out of the ring are noted there."""
        self._flows = flows  # kept, as the others: it is freed with its object, and the drain points to it
        self._drain.flows = flows._table

    def learn(self, names: Resolutions) -> None:
        """DNS that comes out of the ring is noted there, and gives names to what is encoded later."""
        self._names = names
        self._drain.resolutions = names._known
        self._drain.clock.names = names._known

    def recognise(self, targets: ContainerTable) -> None:
        """What is done to a process of a cgroup that is in the table gets the pairs there with the target."""
        self._targets = targets
        self._drain.clock.targets = targets._table

    def recall(self, programs: Programs) -> None:
        """Processes that execute, fork or end are noted there, and all records tell what is known there."""
        self._programs = programs
        self._drain.clock.programs = programs.table

    def know(self, translations: Translations) -> None:
        """Connections that are translated get both addresses from now on."""
        self._translations = translations
        self._drain.clock.translations = translations._known

    def scan(self, flows: FlowTable, tables: Tables, now_ns: int, *, is_last: bool = False) -> Drained:
        """What the table of flows has to report; DrainEnd.FULL: there is more. `is_last`: all of it."""
        self._prepare(tables)
        _check(lib.pw_flow_table_scan(flows._table, self._drain, now_ns, is_last), "table of flows")
        return self._drained()

    def _prepare(self, tables: Tables) -> None:
        self._drain.process_containers = tables.process._table
        self._drain.network_containers = tables.network._table
        self._empty()

    def _drained(self) -> Drained:
        drain = self._drain
        control = bytes(ffi.buffer(drain.control, drain.control_bytes))
        return Drained(
            DrainEnd(drain.end),
            _entries(drain.process),
            _entries(drain.network),
            bytes(ffi.buffer(drain.unknown.bytes, drain.unknown.used)),
            _change(control) if control else None,
            {kind: int(count) for kind in Kind if (count := drain.events[kind])},
            int(drain.malformed),
            int(drain.corrupt_bytes),
            int(drain.drained_bytes),
            {kind: int(count) for kind in WATCHED if (count := drain.exempt[kind])},
        )

    def encode(self, records: bytes, fragment: Fragment) -> Iterator[Encoded]:
        """Raw records, all with the same pairs; several parts if they don't fit one output."""
        drain = self._drain
        pointer = _fragment(fragment)
        data = ffi.from_buffer("uint8_t[]", records)
        at = 0
        while at < len(records):
            self._empty()
            status = lib.pw_events_encode(
                data + at,
                len(records) - at,
                pointer,
                ffi.addressof(drain.clock),
                ffi.addressof(drain.process),
                ffi.addressof(drain.network),
                self._consumed,
                self._malformed,
            )
            _check(status, "raw records")
            at += self._consumed[0]
            yield Encoded(_entries(drain.process), _entries(drain.network), int(self._malformed[0]))

    def _empty(self) -> None:
        for output in (self._drain.process, self._drain.network, self._drain.unknown):
            output.used = 0
            output.records = 0


def _entries(output: Any) -> Entries:
    return Entries(bytes(ffi.buffer(output.bytes, output.used)), int(output.records))


def _change(control: bytes) -> CgroupChange:
    kind, _flags, _bytes, time_ns, cgroup_id = _HEAD.unpack_from(control)
    level, path_bytes, _pad = _CGROUP.unpack_from(control, _HEAD.size)
    start = _HEAD.size + _CGROUP.size
    path = control[start : start + path_bytes].decode("utf-8", "surrogateescape")
    return CgroupChange(kind == Kind.CGROUP_MKDIR, cgroup_id, time_ns, level, path)

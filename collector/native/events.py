"""Kernel events over ext/event.h: ring -> msgpack entries, by a table of constant pairs per cgroup."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from collector._native import ffi, lib
from collector.native.containers import ContainerTable, Fragment, struct_of
from collector.native.event_kinds import WATCHED, Kind
from collector.native.flow_table import FlowTable
from collector.native.programs import Programs
from collector.native.raw_records import HEAD
from collector.native.resolutions import Resolutions
from collector.native.slabs import mapped
from collector.native.status import check
from collector.native.translations import Translations

OUTPUT_BYTES_LEAST: int = lib.PW_EVENT_OUTPUT_BYTES
_CGROUP = struct.Struct("=IHH")  # what struct pw_cgroup adds before the path
assert HEAD.size + _CGROUP.size == ffi.sizeof("struct pw_cgroup")


class DrainEnd(IntEnum):
    """Why a drain returned."""

    EMPTY = lib.PW_DRAIN_EMPTY
    BOUND = lib.PW_DRAIN_BOUND
    FULL = lib.PW_DRAIN_FULL
    CONTROL = lib.PW_DRAIN_CONTROL
    LATER = lib.PW_DRAIN_LATER


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


class Ring:
    """A mapped ring buffer of the probes. The descriptor stays the caller's."""

    def __init__(self, fd: int, ring_bytes: int) -> None:
        """Raises OSError when `fd` is no ring buffer of `ring_bytes`."""
        self._ring = ffi.new("struct pw_ring *")
        self.size_bytes = ring_bytes
        check(lib.pw_ring_map(self._ring, fd, ring_bytes), "mmap of the ring buffer")

    @property
    def fill_bytes(self) -> int:
        return int(lib.pw_ring_fill_bytes(self._ring))

    def close(self) -> None:
        lib.pw_ring_unmap(self._ring)


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
        self._buffers = [mapped("uint8_t[]", output_bytes) for _ in outputs]
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

    def keep_untold(self, kinds: Collection[Kind]) -> None:
        """Records of these only teach what others tell."""
        for kind in Kind:
            self._drain.untold[kind] = kind in kinds

    def heard(self) -> frozenset[Kind]:
        """Kinds of records of the heartbeat that have come."""
        return frozenset(kind for kind in Kind if self._drain.heard[kind])

    @property
    def own_cgroup_id(self) -> int:
        """The collector's, as the last record of a heartbeat had it; 0: none has come yet."""
        return int(self._drain.own_cgroup_id)

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
        check(lib.pw_ring_drain(ring._ring, self._drain), "drain")
        return self._drained()

    def watch(self, flows: FlowTable) -> None:
        """Ends of flows that come out of the ring are noted there."""
        self._flows = flows  # kept, as the others: it is freed with its object, and the drain points to it
        self._drain.flows = flows.table

    def learn(self, names: Resolutions) -> None:
        """DNS that comes out of the ring is noted there, and gives names to what is encoded later."""
        self._names = names
        self._drain.resolutions = names.table
        self._drain.clock.names = names.table

    def recognise(self, targets: ContainerTable) -> None:
        """What is done to a process of a cgroup that is in the table gets the pairs there with the target."""
        self._targets = targets
        self._drain.clock.targets = targets.table

    def recall(self, programs: Programs) -> None:
        """Processes that execute, fork or end are noted there, and all records tell what is known there."""
        self._programs = programs
        self._drain.clock.programs = programs.table

    def know(self, translations: Translations) -> None:
        """Connections that are translated get both addresses from now on."""
        self._translations = translations
        self._drain.clock.translations = translations.table

    def scan(self, flows: FlowTable, tables: Tables, now_ns: int, *, is_last: bool = False) -> Drained:
        """What the table of flows has to report; DrainEnd.FULL: there is more. `is_last`: all of it."""
        self._prepare(tables)
        check(lib.pw_flow_table_scan(flows.table, self._drain, now_ns, is_last), "table of flows")
        return self._drained()

    def _prepare(self, tables: Tables) -> None:
        self._drain.process_containers = tables.process.table
        self._drain.network_containers = tables.network.table
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
        pointer = struct_of(fragment)
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
            check(status, "raw records")
            at += self._consumed[0]
            yield Encoded(_entries(drain.process), _entries(drain.network), int(self._malformed[0]))

    def _empty(self) -> None:
        for output in (self._drain.process, self._drain.network, self._drain.unknown):
            output.used = 0
            output.records = 0


def _entries(output: Any) -> Entries:
    return Entries(bytes(ffi.buffer(output.bytes, output.used)), int(output.records))


def _change(control: bytes) -> CgroupChange:
    kind, _flags, _bytes, time_ns, cgroup_id = HEAD.unpack_from(control)
    level, path_bytes, _pad = _CGROUP.unpack_from(control, HEAD.size)
    start = HEAD.size + _CGROUP.size
    path = control[start : start + path_bytes].decode("utf-8", "surrogateescape")
    return CgroupChange(kind == Kind.CGROUP_MKDIR, cgroup_id, time_ns, level, path)

"""The limits of each cgroup, in memory shared with the probes; see probes/limits.h."""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from collector._native import ffi, lib
from collector.native.event_kinds import Kind

CLASSES = ("process", "network", "privilege")  # enum pw_limit_class
OTHER_CGROUPS = 0  # of those that share a bucket, for there were too many
SLOTS: int = lib.PW_LIMIT_SLOTS
SLOT_BYTES: int = ffi.sizeof("struct pw_limit_slot")
COUNTS_AT: int = ffi.offsetof("struct pw_limit_slot", "suppressed")
NO_COUNTS = bytes(SLOT_BYTES - COUNTS_AT)
_RATES_BYTES: int = ffi.sizeof("struct pw_rates")
_CGROUP_ID = struct.Struct("=Q")  # the slot's first member
_COUNTS = struct.Struct(f"={lib.PW_KINDS}I")
_WRAP = 1 << 32
assert ffi.offsetof("struct pw_limit_slot", "cgroup_id") == 0
assert len(CLASSES) == lib.PW_LIMIT_CLASSES


class Rate(NamedTuple):
    """0 events a second: no limit."""

    events_per_s: int
    burst: int  # events at once


Suppressed = dict[int, Counter[Kind]]  # by cgroup id


class Limits:
    """The descriptors stay the caller's."""

    def __init__(self, rates_fd: int, limits_fd: int) -> None:
        """Raises OSError when they can't be mapped."""
        self._limits_fd = limits_fd
        self._memory = mmap.mmap(rates_fd, _RATES_BYTES)
        self._rates = ffi.cast("struct pw_rates *", ffi.from_buffer(self._memory))
        self._told = 0
        self._seen: dict[int, bytes] = {}  # counts at the last look, of slots that had any

    def set(self, rates: Mapping[str, Rate]) -> None:
        """By class. Holds for events from now on."""
        for place, name in enumerate(CLASSES):
            rate = rates.get(name, Rate(0, 1))
            limit = self._rates.limits[place]
            interval_ns = 10**9 // rate.events_per_s if rate.events_per_s else 0
            limit.burst_ns = (rate.burst - 1) * interval_ns
            limit.interval_ns = interval_ns

    def promise_look(self, time_ns: int) -> None:
        """The rings are looked at soon after that time (CLOCK_BOOTTIME) without a notification."""
        self._rates.looked_at_ns = time_ns

    def suppressed(self) -> Suppressed:
        """What was refused since the last look. The table is mapped only when there is anything."""
        told = int(self._rates.suppressed)
        if told == self._told:
            return {}
        self._told = told
        with mmap.mmap(self._limits_fd, (SLOTS + 1) * SLOT_BYTES, prot=mmap.PROT_READ) as table:
            return self._new(table)

    def close(self) -> None:
        self._rates = None
        self._memory.close()

    def _new(self, table: mmap.mmap) -> Suppressed:
        """A slot that has changed hands counts for who has it now: it was idle for a minute before, and is
        looked at each second."""
        found: Suppressed = {}
        for start in range(0, len(table), SLOT_BYTES):
            counts = table[start + COUNTS_AT : start + SLOT_BYTES]
            before = self._seen.get(start, NO_COUNTS)
            if counts != before:
                self._seen[start] = counts
                (cgroup_id,) = _CGROUP_ID.unpack_from(table, start)
                found.setdefault(cgroup_id, Counter()).update(_differences(before, counts))
        return found


def _differences(before: bytes, now: bytes) -> Counter[Kind]:
    then, counts = _COUNTS.unpack(before), _COUNTS.unpack(now)
    return Counter({kind: (counts[kind] - then[kind]) % _WRAP for kind in Kind if counts[kind] != then[kind]})

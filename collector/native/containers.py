"""Constant pairs for each cgroup, over ext/containers.c: what its records get appended."""

from __future__ import annotations

from typing import Any, NamedTuple

from collector._native import ffi, lib
from collector.native.event_kinds import Scope
from collector.native.status import check

FRAGMENT_BYTES_MOST: int = lib.PW_FRAGMENT_BYTES


class Fragment(NamedTuple):
    """Constant pairs of one container: msgpack `key value key value ...` and how many pairs.

    `container` is the same for all cgroups of one container; 0: of none, or it is not known.
    """

    pairs: bytes
    pair_count: int
    scope: Scope
    container: int = 0


class ContainerTable:
    """cgroup id -> constant pairs. Bounded in entries and bytes."""

    def __init__(self, max_entries: int = 16384, max_bytes: int = 32 << 20) -> None:
        table = lib.pw_containers_new(max_entries, max_bytes)
        if table == ffi.NULL:
            raise MemoryError("table of containers")
        self.table = ffi.gc(table, lib.pw_containers_free)

    def set(self, cgroup_id: int, fragment: Fragment) -> bool:
        """False: the table is full, and as it was."""
        status = lib.pw_containers_set(self.table, cgroup_id, struct_of(fragment))
        if status == lib.PW_E_TABLE_FULL:
            return False
        check(status, "table of containers")
        return True

    def remove(self, cgroup_id: int) -> bool:
        """Whether it was there."""
        return bool(lib.pw_containers_remove(self.table, cgroup_id))

    def find(self, cgroup_id: int) -> Fragment | None:
        found = lib.pw_containers_find(self.table, cgroup_id)
        if found == ffi.NULL:
            return None
        pairs = bytes(ffi.buffer(found.pairs, found.pairs_bytes))
        return Fragment(pairs, found.pair_count, Scope(found.scope), int(found.container))

    @property
    def size_bytes(self) -> int:
        return int(lib.pw_containers_bytes(self.table))

    def __len__(self) -> int:
        return int(lib.pw_containers_count(self.table))


def struct_of(fragment: Fragment) -> Any:
    """Points into `fragment.pairs`: the caller keeps the fragment while it is used."""
    made = ffi.new("struct pw_fragment *")
    made.pairs = ffi.from_buffer("uint8_t[]", fragment.pairs)
    made.pairs_bytes = len(fragment.pairs)
    made.pair_count = fragment.pair_count
    made.scope = fragment.scope
    made.container = fragment.container
    return made

"""Records as the kernel made them, one after the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from collector._native import ffi

HEAD = struct.Struct("=HHIQQ")  # struct pw_head
assert HEAD.size == ffi.sizeof("struct pw_head")


class RawRecord(NamedTuple):
    """`bytes_padded` can be handed to EventEncoder.encode, alone or joined with others."""

    kind: int
    cgroup_id: int
    bytes_padded: bytes


def split(unknown: bytes) -> Iterator[RawRecord]:
    """The records of Drained.unknown."""
    at = 0
    while at < len(unknown):
        kind, _flags, record_bytes, _time_ns, cgroup_id = HEAD.unpack_from(unknown, at)
        end = at + (record_bytes + 7 & ~7)
        yield RawRecord(kind, cgroup_id, unknown[at:end])
        at = end

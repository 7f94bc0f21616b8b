"""Names out of DNS, over ext/resolutions.h: learnt by the encoder, and given to later connections."""

from __future__ import annotations

from typing import NamedTuple

from collector._native import ffi, lib


class Resolutions:
    """Names by which pods asked for addresses, bounded in number and by their TTL."""

    def __init__(self, host_net_ns: int) -> None:
        known = lib.pw_resolutions_new(host_net_ns)
        if known == ffi.NULL:
            raise MemoryError("names of addresses")
        self.table = ffi.gc(known, lib.pw_resolutions_free)

    def find(self, net_ns: int, cgroup_id: int, family: int, address: bytes, now_ns: int) -> str | None:
        """`address` packed."""
        inquirer = ffi.new(
            "struct pw_inquirer *", {"cgroup_id": cgroup_id, "net_ns": net_ns, "family": family}
        )
        found_bytes = ffi.new("uint32_t *")
        name = lib.pw_resolutions_find(self.table, inquirer, address.ljust(16, b"\0"), now_ns, found_bytes)
        return None if name == ffi.NULL else bytes(ffi.buffer(name, found_bytes[0])).decode()

    @property
    def unread(self) -> UnreadDns:
        found = lib.pw_resolutions_unread(self.table)
        return UnreadDns(int(found.malformed), int(found.streams))


class UnreadDns(NamedTuple):
    """Since the start. `streams`: of TCP, given up for a byte that is missing."""

    malformed: int
    streams: int

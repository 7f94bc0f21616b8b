"""The table of flows that go on, over ext/flow_table.h: the probes write it, it is read where it lies."""

from __future__ import annotations

import os

from collector._native import ffi, lib


class FlowTable:
    """The map `flows` of the probes, mapped. The descriptor stays the caller's."""

    def __init__(self, fd: int, slots: int, interval_ns: int, idle_ns: int) -> None:
        """Raises OSError."""
        table = lib.pw_flow_table_open(fd, slots, interval_ns, idle_ns)
        if table == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno), "mmap of the table of flows")
        self.table = ffi.gc(table, lib.pw_flow_table_close)

    def close(self) -> None:
        ffi.release(self.table)

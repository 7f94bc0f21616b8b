"""Which program a process runs, over ext/programs.h: learnt as the ring is drained, told in all records."""

from __future__ import annotations

from collections.abc import Sequence

from collector._native import ffi, lib
from collector.native.raw_records import RawRecord


class Programs:
    """Bounded in processes and bytes. See EventEncoder.recall."""

    def __init__(self, max_processes: int = 16384, max_bytes: int = 4 << 20) -> None:
        programs = lib.pw_programs_new(max_processes, max_bytes)
        if programs == ffi.NULL:
            raise MemoryError("table of programs")
        self.table = ffi.gc(programs, lib.pw_programs_free)

    def exempt(self, paths: Sequence[str]) -> None:
        """Executables of the node whose use of watched files is not told."""
        joined = b"".join(path.encode() + b"\0" for path in paths)
        if lib.pw_programs_exempt(self.table, joined, len(joined)):
            raise MemoryError("exempt programs")

    def note(self, record: RawRecord) -> None:
        """A well-formed exec, fork, exit or state that does not come by the ring."""
        lib.pw_programs_note(self.table, ffi.from_buffer("struct pw_head *", record.bytes_padded))

    def doubt(self, time_ns: int) -> None:
        """Records of processes were lost before that time (CLOCK_BOOTTIME)."""
        lib.pw_programs_doubt(self.table, time_ns)

    def doubt_numbers(self, time_ns: int) -> None:
        """Exits before that time (CLOCK_BOOTTIME) were not told: a number may be another process's by now."""
        lib.pw_programs_doubt_numbers(self.table, time_ns)

    def known_until(self, time_ns: int) -> None:
        """The ring of processes is read up to that time; connections may have happened since."""
        lib.pw_programs_known_until(self.table, time_ns)

    @property
    def forgotten(self) -> int:
        """How often a process that lives lost its program, or got none, as there was no room."""
        return int(lib.pw_programs_forgotten(self.table))

    @property
    def size_bytes(self) -> int:
        return int(lib.pw_programs_bytes(self.table))

    def __len__(self) -> int:
        return int(lib.pw_programs_count(self.table))

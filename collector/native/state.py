"""Records of processes that were there before the probes, completed by what only user space can read."""

from __future__ import annotations

from typing import Any

from collector._native import ffi, lib

_EXEC_BYTES: int = ffi.sizeof("struct pw_exec")


def born(record: bytes) -> tuple[int, int]:
    """(start in ns of CLOCK_BOOTTIME, pid) of a struct pw_exec."""
    task = _exec(record).task
    return int(task.start_ns), int(task.pid)


def with_arguments(record: bytes, kept: bytes, total_bytes: int, count: int) -> bytes:
    """A struct pw_exec that has no arguments, with these; padded to 8 bytes.

    `kept` is the start of all arguments, each NUL-ended; `total_bytes` and `count` are of all.
    """
    kept = kept[: lib.PW_ARGS_BYTES]
    record_bytes = int(_exec(record).head.record_bytes)
    made = bytearray(record[:_EXEC_BYTES] + kept + record[_EXEC_BYTES:record_bytes])
    made += bytes(-len(made) % 8)
    raw = _exec(made)
    raw.head.record_bytes = record_bytes + len(kept)
    raw.args_bytes = len(kept)
    raw.args_total_bytes = total_bytes
    raw.argc = count
    if total_bytes > len(kept):
        raw.head.flags |= lib.PW_ARGS_CUT
    return bytes(made)


def without_arguments(record: bytes) -> bytes:
    """The same, saying that they can't be read."""
    made = bytearray(record)
    _exec(made).head.flags |= lib.PW_ARGS_UNREADABLE
    return bytes(made)


def _exec(record: bytes | bytearray) -> Any:
    """Points into `record`."""
    return ffi.from_buffer("struct pw_exec *", record)

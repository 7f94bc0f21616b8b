"""A real BPF ring buffer, written to by a real BPF program that copies what a test gives it."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from typing import Self

from collector._native import ffi, lib

_SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _PROG_RUN = 0, 2, 5, 10
_ARRAY, _RINGBUF, _PROG_TYPE_SYSCALL, _SLEEPABLE = 2, 27, 31, 1 << 4
_MMAPABLE = 1 << 10
_LOOKUP_ELEM, _RINGBUF_OUTPUT = 1, 130
_RECORD_BYTES = 1 << 15  # longest record, a power of two so that a mask bounds it for the verifier

FORCE_WAKEUP, NO_WAKEUP = 2, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(152, b"\0"), 152)
    result = int(_libc.syscall(_SYS_BPF, command, buffer, 152))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"bpf command {command}")
    return result


def _new_map(kind: int, key_bytes: int, value_bytes: int, entries: int, flags: int = 0) -> int:
    return _bpf(_MAP_CREATE, struct.pack("=IIIII", kind, key_bytes, value_bytes, entries, flags))


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def _map_into(register: int, map_fd: int) -> bytes:
    return _instruction(0x18, register, 1, 0, map_fd) + _instruction(0)


def _program(source_fd: int, ring_fd: int) -> bytes:
    """bpf_ringbuf_output(ring, source[0], ctx->length, ctx->flags), whose result it returns."""
    move, add, mask, load_u32, store_u32, call, exit_, if_not_0 = (
        0xBF,
        0x07,
        0x57,
        0x61,
        0x62,
        0x85,
        0x95,
        0x55,
    )
    return b"".join(
        (
            _instruction(load_u32, 6, 1, 0),
            _instruction(load_u32, 7, 1, 4),
            _instruction(store_u32, 10, 0, -4, 0),
            _map_into(1, source_fd),
            _instruction(move, 2, 10),
            _instruction(add, 2, value=-4),
            _instruction(call, value=_LOOKUP_ELEM),
            _instruction(if_not_0, 0, 0, 1, 0),
            _instruction(exit_),
            _instruction(move, 2, 0),
            _instruction(move, 3, 6),
            _instruction(mask, 3, value=_RECORD_BYTES - 1),
            _map_into(1, ring_fd),
            _instruction(move, 4, 7),
            _instruction(call, value=_RINGBUF_OUTPUT),
            _instruction(exit_),
        )
    )


class KernelRing:
    """`lost_fd` is an array map of counters by kind, as the probes have one. Needs root."""

    def __init__(self, ring_bytes: int) -> None:
        self.ring_bytes = ring_bytes
        self.ring_fd = _new_map(_RINGBUF, 0, 0, ring_bytes)
        self.lost_fd = _new_map(_ARRAY, 4, 8, lib.PW_KINDS)
        self._source_fd = _new_map(_ARRAY, 4, _RECORD_BYTES, 1)
        code = _program(self._source_fd, self.ring_fd)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._licence = ctypes.create_string_buffer(b"GPL")
        attributes = struct.pack(
            "=IIQQIIQII",
            _PROG_TYPE_SYSCALL,
            len(code) // 8,
            ctypes.addressof(self._code),
            ctypes.addressof(self._licence),
            0,
            0,
            0,
            0,
            _SLEEPABLE,
        )
        self._program_fd = _bpf(_PROG_LOAD, attributes)

    def submit(self, record: bytes, flags: int = 0) -> bool:
        """What a probe does for an event; False: the ring is full."""
        value = ctypes.create_string_buffer(record, _RECORD_BYTES)
        self._update(self._source_fd, 0, value)
        context = ctypes.create_string_buffer(struct.pack("=II", len(record), flags), 8)
        attributes = bytearray(152)
        struct.pack_into("=I", attributes, 0, self._program_fd)
        struct.pack_into("=I", attributes, 40, 8)  # ctx_size_in
        struct.pack_into("=Q", attributes, 48, ctypes.addressof(context))
        buffer = ctypes.create_string_buffer(bytes(attributes), 152)
        if _libc.syscall(_SYS_BPF, _PROG_RUN, buffer, 152) < 0:
            raise OSError(ctypes.get_errno(), "BPF_PROG_RUN")
        return int(struct.unpack_from("=I", buffer.raw, 4)[0]) == 0

    def set_lost(self, kind: int, count: int) -> None:
        self._update(self.lost_fd, kind, ctypes.create_string_buffer(count.to_bytes(8, "little"), 8))

    def _update(self, map_fd: int, index: int, value: ctypes.Array[ctypes.c_char]) -> None:
        key = ctypes.c_uint32(index)
        _bpf(
            _MAP_UPDATE,
            struct.pack("=IIQQQ", map_fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0),
        )

    def close(self) -> None:
        for fd in (self._program_fd, self._source_fd, self.ring_fd, self.lost_fd):
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KernelLimits:
    """The maps of limits, and what the probes do with them. Needs root."""

    def __init__(self) -> None:
        self._slots = lib.PW_LIMIT_SLOTS + 1
        self.rates_fd = _new_map(_ARRAY, 4, ffi.sizeof("struct pw_rates"), 1, _MMAPABLE)
        self.limits_fd = _new_map(_ARRAY, 4, ffi.sizeof("struct pw_limit_slot"), self._slots, _MMAPABLE)
        self._rates_memory = mmap.mmap(self.rates_fd, mmap.PAGESIZE)
        self._slots_memory = mmap.mmap(self.limits_fd, self._slots * ffi.sizeof("struct pw_limit_slot"))
        self._rates = ffi.cast("struct pw_rates *", ffi.from_buffer(self._rates_memory))
        self.slots = ffi.cast("struct pw_limit_slot *", ffi.from_buffer(self._slots_memory))

    def limits(self) -> list[tuple[int, int]]:
        """(interval_ns, burst_ns) by class."""
        return [(one.interval_ns, one.burst_ns) for one in self._rates.limits]

    @property
    def looked_at_ns(self) -> int:
        return int(self._rates.looked_at_ns)

    def suppress(self, slot: int, cgroup_id: int, kind: int, count: int) -> None:
        self.slots[slot].cgroup_id = cgroup_id
        now = int(self.slots[slot].suppressed[kind])
        self.slots[slot].suppressed[kind] = (now + count) % 2**32
        self._rates.suppressed += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rates = self.slots = None
        self._rates_memory.close()
        self._slots_memory.close()
        os.close(self.rates_fd)
        os.close(self.limits_fd)

"""The bpf(2) system call: maps, programs, raw tracepoints.

Layouts are those of union bpf_attr in uapi/linux/bpf.h, which the kernel only ever extends at the end.
All functions raise OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

SYSCALL_NUMBERS = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "s390x": 351,
    "ppc64le": 361,
}

MAP_CREATE, MAP_LOOKUP_ELEM, PROG_LOAD = 0, 1, 5
PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, RAW_TRACEPOINT_OPEN = 11, 13, 15, 17

PROG_TYPE_RAW_TRACEPOINT = 17
PROG_TYPE_TRACING = 26
PROG_TYPE_CGROUP_SKB, PROG_TYPE_CGROUP_SOCK = 8, 9
ATTACH_TRACE_RAW_TP, ATTACH_TRACE_ITER = 23, 28
LINK_CREATE, ITER_CREATE = 28, 33

MAP_FLAG_MMAPABLE = 1 << 10
NAME_BYTES = 15  # without the NUL
LICENSE = b"GPL"  # the helpers that read kernel memory are for GPL programs only
LOG_BYTES = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


class VerifierError(OSError):
    """A program was refused. `log` is what the kernel said, its last line the reason."""

    def __init__(self, error: OSError, log: str) -> None:
        super().__init__(error.errno, error.strerror)
        self.log = log


def bpf(command: int, attributes: bytes | bytearray) -> tuple[int, bytes]:
    """(what the call returned, the attributes as the kernel left them)."""
    number = SYSCALL_NUMBERS[os.uname().machine]
    buffer = ctypes.create_string_buffer(bytes(attributes), len(attributes))
    result: int = _libc.syscall(number, command, buffer, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def map_create(
    map_type: int, name: str, key_bytes: int, value_bytes: int, entries: int, flags: int = 0
) -> int:
    """A new map's descriptor."""
    attributes = struct.pack(
        "<IIIIIII16s",
        map_type,
        key_bytes,
        value_bytes,
        entries,
        flags,
        0,
        0,
        name[:NAME_BYTES].encode(),
    )
    return bpf(MAP_CREATE, attributes)[0]


def map_lookup(descriptor: int, key: bytes, value_bytes: int) -> bytes:
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value_bytes)
    attributes = struct.pack(
        "<I4xQQQ", descriptor, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), 0
    )
    bpf(MAP_LOOKUP_ELEM, attributes)
    return value_buffer.raw


def program_load(name: str, program_type: int, code: bytes, *, attach_type: int = 0, btf_id: int = 0) -> int:
    """A loaded program's descriptor. Raises VerifierError where the verifier has said why."""
    try:
        return _load(name, program_type, code, attach_type, btf_id, None)
    except OSError as error:
        log = ctypes.create_string_buffer(LOG_BYTES)
        try:
            return _load(name, program_type, code, attach_type, btf_id, log)
        except OSError:
            raise VerifierError(error, log.value.decode(errors="replace")) from error


def _load(
    name: str,
    program_type: int,
    code: bytes,
    attach_type: int,
    btf_id: int,
    log: ctypes.Array[ctypes.c_char] | None,
) -> int:
    code_buffer = ctypes.create_string_buffer(code, len(code))
    license_buffer = ctypes.create_string_buffer(LICENSE)
    attributes = struct.pack(
        "<IIQQIIQII16sIIIIQIIQII4x",
        program_type,
        len(code) // 8,
        ctypes.addressof(code_buffer),
        ctypes.addressof(license_buffer),
        1 if log else 0,
        len(log) if log else 0,
        ctypes.addressof(log) if log else 0,
        0,  # kern_version
        0,  # prog_flags
        name[:NAME_BYTES].encode(),
        0,  # prog_ifindex
        attach_type,
        *(0, 0, 0, 0, 0, 0, 0),  # prog_btf_fd, func_info and line_info: none
        btf_id,
    )
    return bpf(PROG_LOAD, attributes)[0]


def raw_tracepoint_open(program: int, tracepoint: str | None) -> int:
    """Attaches; the descriptor holds the attachment. tp_btf programs name their tracepoint by BTF: None."""
    name = ctypes.create_string_buffer(tracepoint.encode()) if tracepoint else None
    attributes = struct.pack("<QII", ctypes.addressof(name) if name else 0, program, 0)
    return bpf(RAW_TRACEPOINT_OPEN, attributes)[0]


def walk_link(program: int) -> int:
    """The descriptor of a link that walk_open() can be called with."""
    return bpf(LINK_CREATE, struct.pack("<IIII", program, 0, ATTACH_TRACE_ITER, 0))[0]


def walk_open(link: int) -> int:
    """A descriptor: reading it to its end runs the program, of type bpf_iter, once for each thing that it is
    about, and gives what the program writes."""
    return bpf(ITER_CREATE, struct.pack("<II", link, 0))[0]


def cgroup_attach(program: int, cgroup: int, attach_type: int) -> int:
    """The descriptor holds the attachment, beside those of others. `cgroup`: descriptor of its directory."""
    return bpf(LINK_CREATE, struct.pack("<IIII", program, cgroup, attach_type, 0))[0]


def walk(link: int) -> None:
    """Runs a program of type bpf_iter once for each of what it is about."""
    made = walk_open(link)
    try:
        while os.read(made, 4096):
            pass
    finally:
        os.close(made)


def program_ids() -> Iterator[int]:
    """All programs that are loaded on this machine."""
    found = 0
    while True:
        try:
            _, attributes = bpf(PROG_GET_NEXT_ID, struct.pack("<III", found, 0, 0))
        except FileNotFoundError:
            return
        _, found, _ = struct.unpack("<III", attributes)
        yield found

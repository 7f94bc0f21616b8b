"""ext/memory.c: which pages the process has, as the kernel says."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from collector._native import ffi, lib

from collector.native.slabs import mapped

PAGE_BYTES = os.sysconf("SC_PAGESIZE")
BLOCK_BYTES = 1 << 20  # below the size from which blocks have mappings of their own
in_heap = ffi.new_allocator(should_clear_after_alloc=False)
ENTRY = struct.Struct("=Q")

free = ctypes.CDLL(None).free
free.argtypes = [ctypes.c_void_p]


def pages_of(block: Any, size: int) -> int:
    """Pages that lie in the block with all their bytes and are there."""
    first = -(-int(ffi.cast("uintptr_t", block)) // PAGE_BYTES)
    last = (int(ffi.cast("uintptr_t", block)) + size) // PAGE_BYTES
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(first * ENTRY.size)
        entries = pagemap.read((last - first) * ENTRY.size)
    return sum(present >> 63 for (present,) in ENTRY.iter_unpack(entries))


def written_block() -> Any:
    block = in_heap("uint8_t[]", BLOCK_BYTES)
    ffi.buffer(block)[:] = b"a" * BLOCK_BYTES
    return block


def test_a_block_that_is_forgotten_takes_pages_as_it_is_written_to() -> None:
    block = written_block()
    assert pages_of(block, BLOCK_BYTES) >= BLOCK_BYTES // PAGE_BYTES - 1
    lib.pw_memory_forget(block, BLOCK_BYTES)
    assert pages_of(block, BLOCK_BYTES) == 0
    block[BLOCK_BYTES // 2] = 1
    assert pages_of(block, BLOCK_BYTES) == 1


def test_what_lies_beside_a_block_is_not_forgotten() -> None:
    block = written_block()
    lib.pw_memory_forget(block + 100, BLOCK_BYTES - 200)
    assert bytes(block[0:100]) == bytes(block[BLOCK_BYTES - 100 : BLOCK_BYTES]) == b"a" * 100
    few = in_heap("uint8_t[]", 10)
    few[0] = 1
    lib.pw_memory_forget(few, 10)
    assert few[0] == 1


def test_a_table_takes_no_pages_of_what_was_freed_before() -> None:
    blocks = [written_block() for _ in range(4)]
    del blocks
    table = lib.pw_memory_table(2, BLOCK_BYTES // 2)
    try:
        assert pages_of(table, BLOCK_BYTES) == 0
        assert ffi.buffer(table, BLOCK_BYTES)[:] == bytes(BLOCK_BYTES)
    finally:
        free(int(ffi.cast("uintptr_t", table)))


def test_freed_memory_that_is_kept_can_be_given_back() -> None:
    block = written_block()
    above = in_heap("uint8_t[]", BLOCK_BYTES // 2)  # so that it is not the end of the heap
    at = ffi.cast("uint8_t *", block)
    pages = pages_of(at, BLOCK_BYTES)
    del block
    assert pages_of(at, BLOCK_BYTES) >= pages - 1
    lib.pw_memory_give_back()
    assert pages_of(at, BLOCK_BYTES) <= 1
    assert len(above) == BLOCK_BYTES // 2


def test_a_block_with_a_mapping_of_its_own_goes_with_it() -> None:
    freed = written_block()
    heap_at = int(ffi.cast("uintptr_t", freed))
    del freed
    block = mapped("uint8_t[]", BLOCK_BYTES // 2)
    at = ffi.cast("uint8_t *", block)
    assert not heap_at <= int(ffi.cast("uintptr_t", at)) < heap_at + BLOCK_BYTES
    assert ffi.buffer(block)[:] == bytes(BLOCK_BYTES // 2)
    block[BLOCK_BYTES // 2 - 1] = 1
    assert f"{int(ffi.cast('uintptr_t', at)) & -PAGE_BYTES:x}-" in Path("/proc/self/maps").read_text()
    del block
    assert pages_of(at, BLOCK_BYTES // 2) == 0


def test_a_block_that_can_not_be_mapped_is_an_error() -> None:
    with pytest.raises(MemoryError):
        mapped("uint8_t[]", 1 << 60)

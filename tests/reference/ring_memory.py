"""The memory of a BPF ring buffer, filled as the kernel does, for tests and benches without one."""

from __future__ import annotations

import struct

from collector._native import ffi

from collector.native.events import Ring

PAGE_BYTES = 4096
BUSY = 1 << 31
DISCARDED = 1 << 30


class MemoryRing(Ring):
    """Two pages of positions and the ring twice: the kernel maps it twice, here all is written twice."""

    def __init__(self, ring_bytes: int) -> None:
        self.memory = bytearray(2 * PAGE_BYTES + 2 * ring_bytes)
        self.size_bytes = ring_bytes
        start = ffi.from_buffer("uint8_t[]", self.memory)
        self._keep = start
        self._ring = ffi.new("struct pw_ring *")
        self._ring.consumer = ffi.cast("uint64_t *", start)
        self._ring.producer = ffi.cast("uint64_t *", start + PAGE_BYTES)
        self._ring.data = start + 2 * PAGE_BYTES
        self._ring.bytes = ring_bytes
        self._ring.fd = -1

    @property
    def consumer(self) -> int:
        return int.from_bytes(self.memory[:8], "little")

    @property
    def producer(self) -> int:
        return int.from_bytes(self.memory[PAGE_BYTES : PAGE_BYTES + 8], "little")

    def set_positions(self, consumer: int, producer: int) -> None:
        self.memory[:8] = consumer.to_bytes(8, "little")
        self.memory[PAGE_BYTES : PAGE_BYTES + 8] = producer.to_bytes(8, "little")

    def write(self, at: int, content: bytes) -> None:
        """At a position, around the ring's end where need be."""
        for i, byte in enumerate(content):
            offset = 2 * PAGE_BYTES + (at + i) % self.size_bytes
            self.memory[offset] = self.memory[offset + self.size_bytes] = byte

    def submit(self, record: bytes, flags: int = 0) -> bool:
        """Appends a record as bpf_ringbuf_output does; False: no room."""
        taken = (len(record) + 8 + 7) & ~7
        if self.producer + taken - self.consumer > self.size_bytes:
            return False
        self.write(self.producer, struct.pack("<II", len(record) | flags, 0) + record)
        self.set_positions(self.consumer, self.producer + taken)
        return True

    def commit(self, at: int, length: int) -> None:
        """Takes the busy flag from the record at a position."""
        self.write(at, struct.pack("<I", length))

    def close(self) -> None:
        """Memory of ours is not unmapped."""

"""A plain reader of a BPF ring buffer: Documentation/bpf/ringbuf.rst of the kernel."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

BUSY, DISCARDED, LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1


class RingReader:
    def __init__(self, descriptor: int) -> None:
        info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        (self.size,) = (
            int(line.split(":")[1]) for line in info.split("\n") if line.startswith("max_entries:")
        )
        self._consumer = mmap.mmap(
            descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
        )
        # Stored in one piece, which struct.pack_into() does not: a kernel that reads a position half written
        # takes the ring for full.
        self._position = memoryview(self._consumer).cast("Q")
        # The data pages are mapped twice, so that a record that wraps around is in one piece.
        self._producer = mmap.mmap(
            descriptor,
            mmap.PAGESIZE + 2 * self.size,
            mmap.MAP_SHARED,
            mmap.PROT_READ,
            offset=mmap.PAGESIZE,
        )

    def positions(self) -> tuple[int, int]:
        """(of the reader, of the kernel), in bytes since the ring was made."""
        return self._position[0], struct.unpack_from("@Q", self._producer)[0]

    @property
    def used_bytes(self) -> int:
        at, end = self.positions()
        return end - at

    def drain(self) -> list[bytes]:
        records: list[bytes] = []
        at, end = self.positions()
        while at < end:
            place = mmap.PAGESIZE + at % self.size
            (head,) = struct.unpack_from("<I", self._producer, place)
            if head & BUSY:
                break
            length = head & LENGTH
            if not head & DISCARDED:
                records.append(self._producer[place + 8 : place + 8 + length])
            at += (length + 8 + 7) & ~7
            self._position[0] = at
            end = self.positions()[1]
        return records

    def take(self) -> bytes:
        """All that is there, as it stands in the ring."""
        at, end = self.positions()
        place = mmap.PAGESIZE + at % self.size
        taken = self._producer[place : place + end - at]
        self._position[0] = end
        return taken

    def discard(self) -> None:
        """Frees all space without a look: a record that is being written is skipped too."""
        self._position[0] = self.positions()[1]

    def close(self) -> None:
        self._position.release()
        self._consumer.close()
        self._producer.close()

"""Rotated log files that were compressed: their bytes in order, a bounded piece at a time.

The kubelet compresses a rotated file at the next rotation, docker and logrotate
likewise. Positions count uncompressed bytes, so what was read of a file before it
was compressed counts for its `.gz`.
"""

from __future__ import annotations

import os
import zlib

_GZIP = 16 + zlib.MAX_WBITS
READ_BYTES = 64 << 10


class Damaged(Exception):
    """The compressed data is cut off or contradicts itself; what came before it is good."""


def size_mod_4gib(fd: int) -> int:
    """The size of what the file holds, as its last four bytes say it; of several members, the last one's."""
    size = os.fstat(fd).st_size
    return int.from_bytes(os.pread(fd, 4, max(0, size - 4)), "little")


def head(fd: int, count: int) -> bytes:
    """The first bytes of what the file holds; fewer where it holds less or is damaged."""
    try:
        return GzipReader(fd).read(count) if count else b""
    except Damaged:
        return b""


class GzipReader:
    """Reads what a compressed file holds, from its start on. The descriptor stays the caller's.

    However much is compressed into the file, no more than what is asked for is in memory.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0  # in the compressed file
        self._unpacker = zlib.decompressobj(_GZIP)
        self._input = b""
        self._is_inside = True  # a member has begun and is not at its end
        self._damage = ""
        self.offset = 0

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at most and b"" at the end. Raises Damaged, OSError."""
        piece = b""
        while not piece:
            if self._damage:
                raise Damaged(self._damage)
            is_last = not self._input and not self._next_input()
            if is_last and not self._is_inside:
                return b""
            piece = self._unpack(count)
            if is_last and not piece and self._is_inside and not self._damage:
                raise Damaged("it ends in the middle")
        self.offset += len(piece)
        return piece

    def _next_input(self) -> bool:
        """False at the end of the file."""
        self._input = os.pread(self._fd, READ_BYTES, self._at)
        self._at += len(self._input)
        return bool(self._input)

    def _unpack(self, count: int) -> bytes:
        if not self._is_inside:
            # Another member may follow; zeros behind the last one are padding.
            self._input = self._input.lstrip(b"\0")
            if not self._input:
                return b""
            self._unpacker, self._is_inside = zlib.decompressobj(_GZIP), True
        before = self._unpacker.copy()
        try:
            piece = self._unpacker.decompress(self._input, count)
        except zlib.error as error:
            self._damage = str(error)
            return _good(before, self._input, count)
        self._input = self._unpacker.unconsumed_tail
        if self._unpacker.eof:
            self._input, self._is_inside = self._unpacker.unused_data, False
        return piece

    def skip(self, count: int) -> int:
        """Passes over so many bytes; returns how many there were. Raises as `read`."""
        left = count
        while left and (piece := self.read(min(left, READ_BYTES))):
            left -= len(piece)
        return count - left


def _good(unpacker: zlib._Decompress, data: bytes, count: int) -> bytes:
    """What comes before the damage: zlib drops what a call has unpacked when it ends with an error."""
    pieces: list[bytes] = []
    while count:
        attempt = unpacker.copy()
        try:
            piece = attempt.decompress(data, count)
        except zlib.error:
            count //= 2
            continue
        if not piece:
            break
        pieces.append(piece)
        unpacker, data = attempt, attempt.unconsumed_tail
    return b"".join(pieces)

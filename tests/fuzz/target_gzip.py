"""A rotated file that was compressed, whatever is in it: the same bytes in small pieces and in large ones."""

from __future__ import annotations

import os
import zlib

from collector.inputs.tail_gzip import Damaged, GzipReader

MOST_BYTES = 1 << 20


def read(fd: int, count: int) -> tuple[bytes, bool]:
    """What the file holds as far as it is good, and whether it is so to its end."""
    reader = GzipReader(fd)
    pieces: list[bytes] = []
    try:
        while reader.offset < MOST_BYTES and (piece := reader.read(count)):
            assert len(piece) <= count
            pieces.append(piece)
    except Damaged:
        return b"".join(pieces), False
    assert reader.offset == sum(map(len, pieces))
    return b"".join(pieces), True


def target(data: bytes) -> None:
    """The first byte says how many bytes are read at a time."""
    if not data:
        return
    fd = os.memfd_create("fuzz")
    try:
        os.write(fd, data[1:])
        small, is_whole = read(fd, 1 + data[0])
        large, ends_well = read(fd, MOST_BYTES)
    finally:
        os.close(fd)
    least = min(len(small), len(large))
    assert small[:least] == large[:least]
    if len(large) < MOST_BYTES:
        assert (small, is_whole) == (large, ends_well)
    first = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        expected = first.decompress(data[1:], MOST_BYTES)
    except zlib.error:
        return
    assert large.startswith(expected[: len(large)])
    assert len(large) >= min(len(expected), MOST_BYTES)

"""Spools and chunks for tests, and what a crash leaves of a spool."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from collector.delivery.chunk import Chunk, FileKey, Position, Worth, chunk_id
from collector.delivery.spool import FILE_NAME, Spool

LOG = logging.getLogger("test")
RECORD_BYTES = 1000


def opened(folder: Path) -> Spool:
    return Spool(folder, log=LOG, checksum=True)


def copy(folder: Path, to: Path) -> None:
    """The files as a kill -9 at this moment would leave them."""
    to.mkdir()
    for suffix in ("", "-wal"):
        path = folder / f"{FILE_NAME}{suffix}"
        if path.exists():
            (to / path.name).write_bytes(path.read_bytes())


def event(number: int, tag: str = "kernel.process", worth: Worth = Worth.WITNESS, size: int = 1000) -> Chunk:
    """A chunk without a file, whose entries are its number again and again."""
    entries = number.to_bytes(4, "big") * (size // 4)
    return Chunk(
        chunk_id(tag, number), tag, memoryview(entries), 1, "ebpf.0", time.monotonic_ns(), None, 0, worth
    )


def position_of(number: int, inode: int = 2) -> Position:
    return Position(FileKey(1, inode), "/var/log/a", number * RECORD_BYTES)

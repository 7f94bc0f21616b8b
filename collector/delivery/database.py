"""What the SQLite databases of delivery have in common: a damaged one is kept aside, not mended."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from collector.delivery.chunk import FileKey, Position

PositionRow = tuple[int, int, bytes, int, bytes, int, int, int, str]
"""device, inode, fingerprint, its bytes, path, offset, partial of stdout and of stderr, cursor."""


def set_aside(path: Path) -> Path:
    """Renames a database with all that belongs to it; the new name."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        # They belong to the damaged file; a new database would take them for its own.
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def position_row(position: Position) -> PositionRow:
    file = position.file
    stdout, stderr = position.partials
    return (
        file.device,
        signed(file.inode),
        file.fingerprint,
        file.fingerprint_bytes,
        # The path as bytes: names in containers need not be UTF-8.
        os.fsencode(position.path),
        position.offset,
        stdout,
        stderr,
        position.cursor,
    )


def position_of(row: PositionRow) -> Position:
    device, inode, fingerprint, fingerprint_bytes, path, offset, stdout, stderr, cursor = row
    key = FileKey(device, inode % 2**64, fingerprint, fingerprint_bytes)
    return Position(key, os.fsdecode(path), offset, (stdout, stderr), cursor)


def signed(inode: int) -> int:
    """SQLite's integers are signed; overlayfs and others use all 64 bits of an inode number."""
    return inode - 2**64 if inode >= 2**63 else inode

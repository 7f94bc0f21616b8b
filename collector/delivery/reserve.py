"""Room on a disk that is kept for what makes room: a file that is given up when the disk is full.

Removing rows writes too: to the log of the database first. On a disk that the
spool itself has filled, delivered chunks could not be removed, and it would stay
full for ever.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


class Reserve:
    """Of `size_bytes` at `path`."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def take(self) -> None:
        """Sees to it that it is there. Raises OSError (ENOSPC): nothing else should be written then."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_size == self._size_bytes:
                return
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._size_bytes)
        except OSError:
            self._path.unlink()
            raise
        finally:
            os.close(fd)

    def give_up(self) -> bool:
        """Whether that made room."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def behind(self, work: Callable[[], Result]) -> Result:
        """`work` on a database; once more without the reserve where the disk is full for it."""
        try:
            return work()
        except sqlite3.OperationalError as reason:
            is_full = getattr(reason, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
            if not is_full or not self.give_up():
                raise
        return work()

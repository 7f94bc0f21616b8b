"""The folder of compiled probes. It is open to none but who loads them: what lies there runs in the kernel.

Each entry is a file <key>.probes. It is written beside its place and renamed, so that a crash leaves the old
one or the new one. What is wrong with an entry is never repaired: the next compilation replaces it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from probes.kept_code import Entry, NotKept, decode, encode

# Two kernels and two configurations, say: an upgrade and the way back need no compiler.
ENTRIES = 4
ENTRY_BYTES = 4 << 20
SUFFIX = ".probes"
_NEW = "new"  # being written, under the lock of the folder
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Cache(NamedTuple):
    directory: str

    def read(self, key: str) -> Entry:
        """Raises NotKept."""
        name = f"{self.directory}/{key}{SUFFIX}"
        try:
            with _opened(self.directory) as folder:
                written = _read(folder, f"{key}{SUFFIX}")
            return decode(written, key)
        except FileNotFoundError as error:
            reason = "nothing is kept for this kernel, these probes and this request"
            raise NotKept(reason, is_odd=False) from error
        except OSError as error:
            raise NotKept(f"{name}: {error.strerror}") from error
        except NotKept as error:
            raise NotKept(f"{name}: {error}") from error

    def write(self, entry: Entry) -> None:
        """Also removes the entries that were written longest ago. Raises NotKept."""
        try:
            os.makedirs(self.directory, mode=stat.S_IRWXU, exist_ok=True)
            with _opened(self.directory) as folder:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write(folder, f"{entry.key}{SUFFIX}", encode(entry))
                _remove_oldest(folder)
        except OSError as error:
            raise NotKept(f"{self.directory} can't be written to: {error.strerror}") from error


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    """Raises OSError, NotKept."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check_owner(os.fstat(folder), f"the folder {directory}")
        yield folder
    finally:
        os.close(folder)


def _check_owner(found: os.stat_result, what: str) -> None:
    """Raises NotKept."""
    if found.st_uid != os.geteuid():
        raise NotKept(f"{what} belongs to user {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & _OTHERS:
        raise NotKept(f"{what} is open to others: mode {stat.S_IMODE(found.st_mode):o}, not 700 or 600")


def _read(folder: int, name: str) -> bytes:
    """Raises OSError, NotKept."""
    # Nothing waits: what has the name may be a pipe.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise NotKept("it is not a file")
        _check_owner(found, "it")
        if found.st_size > ENTRY_BYTES:
            raise NotKept(f"it is longer than {ENTRY_BYTES} bytes")
        return os.pread(file, found.st_size, 0)
    finally:
        os.close(file)


def _write(folder: int, name: str, content: bytes) -> None:
    """Raises OSError."""
    with suppress(FileNotFoundError):  # of one who was killed
        os.unlink(_NEW, dir_fd=folder)
    file = os.open(_NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR, dir_fd=folder)
    with open(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(file)
    os.rename(_NEW, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def _remove_oldest(folder: int) -> None:
    """Raises OSError."""
    entries = [name for name in os.listdir(folder) if name.endswith(SUFFIX)]
    entries.sort(key=lambda name: os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns)
    for name in entries[:-ENTRIES]:
        os.unlink(name, dir_fd=folder)

"""Whether a log file could still be read after a restart, or is about to be gone.

A file that has been unlinked lives as long as its descriptor. One that was renamed
is the next to be deleted once there are newer ones of its kind: the kubelet keeps
five files of a container (containerLogMaxFiles) and deletes the oldest at a
rotation, unasked whether it was read.
"""

from __future__ import annotations

import os
import time

from collector.inputs.tail_open import path_of
from collector.inputs.tail_paths import rotated_siblings

# A renamed file is still some rotations away from its end while it is the only one.
ROTATED_AT_LEAST = 2

# A directory of thousands of files is not listed again for each of them.
LISTING_S = 1.0


class Vanishing:
    """Asked for one file, at any time; also after it was closed."""

    __slots__ = (
        "_asked_s",
        "_fd",
        "_inode",
        "_is_next",
        "_last_path",
        "_size_bytes",
        "is_before_gone",
        "is_cut_off",
        "place",
    )

    def __init__(self, fd: int, place: str) -> None:
        self._fd = fd
        self.place = place
        self._last_path = ""
        self._inode = (0, 0)
        self._size_bytes = 0
        self._asked_s = float("-inf")
        self._is_next = False
        self.is_cut_off = False  # by a truncation, and nobody has a copy
        self.is_before_gone = False  # a later file of its log has no name, and has to wait for this one

    def __call__(self) -> bool:
        """Whether it can't be read again, or soon can't."""
        if self.is_cut_off or self.is_before_gone:
            return True
        if self._fd < 0:
            return self._is_gone() or self._is_oldest(self._last_path)
        if os.fstat(self._fd).st_nlink == 0:
            return True
        return self._is_oldest(path_of(self._fd))

    def closing(self) -> None:
        """The descriptor is about to be closed: from now on the last name counts."""
        status = os.fstat(self._fd)
        if status.st_nlink:  # else another file may soon have its inode, and its name
            self._inode = status.st_dev, status.st_ino
        self._size_bytes = status.st_size
        self._last_path = path_of(self._fd)
        self._fd = -1

    def _is_gone(self) -> bool:
        try:
            status = os.stat(self._last_path)
        except OSError:
            return True
        # Renamed since then, it is older than it was: the next to go, as far as can be known. Nobody else is
        # told of a truncation now that it is closed.
        return (status.st_dev, status.st_ino) != self._inode or status.st_size < self._size_bytes

    def _is_oldest(self, path: str) -> bool:
        if path == self.place:
            return False
        now_s = time.monotonic()
        if now_s >= self._asked_s + LISTING_S:
            self._asked_s = now_s
            self._is_next = self._look(path)
        return self._is_next

    def _look(self, path: str) -> bool:
        directory, name = os.path.split(self.place)
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            return True
        rotated = rotated_siblings(name, names)
        is_among = os.path.dirname(path) == directory and os.path.basename(path) in rotated
        return is_among and len(rotated) >= ROTATED_AT_LEAST and rotated[0] == os.path.basename(path)

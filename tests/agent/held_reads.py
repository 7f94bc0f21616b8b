"""Reads of a file that hang, as on a network disk that is gone.

The kernel asks whether they may go on (fanotify) and gets no answer.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from pathlib import Path
from typing import Self

FAN_CLASS_CONTENT, FAN_CLOEXEC, FAN_REPORT_TID = 0x4, 0x1, 0x100
FAN_MARK_ADD, FAN_ACCESS_PERM, AT_FDCWD = 0x1, 0x20000, -100
FAN_ALLOW = 1
_EVENT = struct.Struct("=IBBHQii")  # linux/fanotify.h, struct fanotify_event_metadata
_libc = ctypes.CDLL(None, use_errno=True)


class HeldReads:
    """To be made before the file is opened, since a file that nobody asks about when it is opened never is.

    From `hold` on, reads by other threads than `but` are held, until the end of the `with`.
    """

    def __init__(self, path: Path) -> None:
        self._but: int | None = None
        self._fd = _libc.fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_REPORT_TID, os.O_RDONLY)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "fanotify_init")
        mask = ctypes.c_uint64(FAN_ACCESS_PERM)
        if _libc.fanotify_mark(self._fd, FAN_MARK_ADD, mask, AT_FDCWD, os.fsencode(path)):
            raise OSError(ctypes.get_errno(), "fanotify_mark")
        self.is_holding = threading.Event()
        self._held: list[int] = []
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def hold(self, *, but: int) -> None:
        self._but = but

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stop_write)
        self._thread.join()
        for fd in self._held:
            self._allow(fd)
        for fd in (self._fd, self._stop_read):
            os.close(fd)

    def _answer(self) -> None:
        while self._stop_read not in select.select([self._fd, self._stop_read], [], [])[0]:
            events = os.read(self._fd, 4096)
            for length, *_, fd, thread in _EVENT.iter_unpack(events):
                assert length == _EVENT.size
                if self._but in (None, thread):
                    self._allow(fd)
                else:
                    self._held.append(fd)
                    self.is_holding.set()

    def _allow(self, fd: int) -> None:
        os.write(self._fd, struct.pack("=iI", fd, FAN_ALLOW))
        os.close(fd)

"""inotify over ext/lookout.c and ext/watch.c: directories whose names come and go, open files that grow."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from collector._native import ffi, lib
from collector.native.logs import ARENA, LogBatch, LogStream
from collector.native.status import check

MODIFY: int = lib.PW_IN_MODIFY
ATTRIB: int = lib.PW_IN_ATTRIB
CLOSE_WRITE: int = lib.PW_IN_CLOSE_WRITE
MOVED_FROM: int = lib.PW_IN_MOVED_FROM
MOVED_TO: int = lib.PW_IN_MOVED_TO
CREATE: int = lib.PW_IN_CREATE
DELETE: int = lib.PW_IN_DELETE
DELETE_SELF: int = lib.PW_IN_DELETE_SELF
MOVE_SELF: int = lib.PW_IN_MOVE_SELF
OVERFLOW: int = lib.PW_IN_Q_OVERFLOW
IGNORED: int = lib.PW_IN_IGNORED
IS_DIR: int = lib.PW_IN_ISDIR

_BUFFER_BYTES: int = lib.PW_WATCH_BUFFER_BYTES
_EVENTS: int = _BUFFER_BYTES // lib.PW_WATCH_EVENT_BYTES
_SIGHTINGS = 256


class WatchEvent(NamedTuple):
    """What happened. `name` is "" for events about the watched thing itself.

    `pinned_fd` is an O_PATH descriptor of a name that appeared (links followed),
    taken when the event was read; the receiver closes it. -1: there is none, and
    for what `error` (an errno) it could not be had. A directory has none.
    """

    wd: int
    mask: int
    name: str
    pinned_fd: int = -1
    child_wd: int = -1  # of a directory that appeared and is watched by now; events of what it has follow
    device: int = 0  # of what appeared
    inode: int = 0
    error: int = 0
    is_link: bool = False
    emptied: bool = False  # what a new directory had was gone before it could be watched


class Lookout:
    """Directories, watched by a thread of C that pins what appears before anybody waits for Python.

    One thread waits; all may add, remove and wake.
    """

    def __init__(self) -> None:
        """Raises OSError; EMFILE: fs.inotify.max_user_instances is used up."""
        self._lookout = lib.pw_lookout_open()
        if self._lookout == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno), "inotify_init1")
        self._sightings = ffi.new("struct pw_sighting[]", _SIGHTINGS)

    def add_dir(self, path: str, below: Iterable[str] = ()) -> int:
        """Watches the names in a directory; the same directory gives the same number.

        `path` has no links in it. `below`: patterns of names in it, or of paths below it, in which `*` alone
        is special; directories that they lead through are watched from when they appear.
        Raises OSError; ENOSPC: fs.inotify.max_user_watches is used up.
        """
        wd = ffi.new("int32_t *")
        patterns = b"".join(os.fsencode(pattern) + b"\0" for pattern in below)
        check(lib.pw_lookout_add_dir(self._lookout, os.fsencode(path), patterns, wd), path)
        return int(wd[0])

    def remove(self, wd: int) -> None:
        lib.pw_lookout_remove(self._lookout, wd)

    def wait(self, timeout_ms: int) -> list[WatchEvent]:
        """What happened, oldest first; [] after the time or a `wake`."""
        count = lib.pw_lookout_wait(self._lookout, timeout_ms, self._sightings, _SIGHTINGS)
        return [_sighting(self._sightings[index]) for index in range(count)]

    def wake(self) -> None:
        lib.pw_lookout_wake(self._lookout)

    def close(self) -> None:
        """Not while another thread waits."""
        if self._lookout != ffi.NULL:
            lib.pw_lookout_close(self._lookout)
            self._lookout = ffi.NULL


def _sighting(seen: Any) -> WatchEvent:
    name, pin = bytes(ffi.buffer(seen.name, seen.name_bytes)), seen.pin
    return WatchEvent(
        seen.wd,
        seen.mask,
        os.fsdecode(name),
        pin.fd,
        seen.child_wd,
        pin.device,
        pin.inode,
        pin.error,
        bool(pin.is_link),
        bool(seen.emptied),
    )


class Opened(NamedTuple):
    """`fd` is for reading; -1: it is no regular file, which has no `name` here, or it is in another place."""

    fd: int
    name: str  # as the kernel says it
    device: int
    inode: int


def open_pin(fd: int, roots: Iterable[str]) -> Opened:
    """Opens what an O_PATH descriptor pins, if it is below one of these directories, and closes the pin.

    All in one call: a thread that opens many beside busy ones waits once for the interpreter. Raises OSError.
    """
    opened = ffi.new("struct pw_opened *")
    listed = b"".join(os.fsencode(root.rstrip("/")) + b"/\0" for root in roots)
    check(lib.pw_pin_open(fd, listed, opened))
    name = bytes(ffi.buffer(opened.path, opened.path_bytes))
    return Opened(opened.fd, os.fsdecode(name), opened.device, opened.inode)


def tells_all(path: str) -> bool:
    """Whether watches tell of every change on the file system of a path: no other machine changes it.

    Raises OSError.
    """
    told = ffi.new("int32_t *")
    check(lib.pw_watch_tells_all(os.fsencode(path), told), path)
    return bool(told[0])


class FileWatch:
    """Open files, watched for growth, unlink, rename and the writer's close."""

    def __init__(self) -> None:
        """Raises OSError; EMFILE: fs.inotify.max_user_instances is used up."""
        self._watch = ffi.new("struct pw_watch *")
        self._buffer = ffi.new("uint8_t[]", _BUFFER_BYTES)
        self._events = ffi.new("struct pw_watch_event[]", _EVENTS)
        self._count = ffi.new("uint32_t *")
        self._wd = ffi.new("int32_t *")
        check(lib.pw_watch_open(self._watch), "inotify_init1")

    def fileno(self) -> int:
        return int(self._watch.fd)

    def add(self, fd: int) -> int:
        """Watches an open file, whatever names it has or gets. Raises OSError as Lookout.add_dir."""
        check(lib.pw_watch_add_file(self._watch, fd, self._wd), f"/proc/self/fd/{fd}")
        return int(self._wd[0])

    def remove(self, wd: int) -> None:
        lib.pw_watch_remove(self._watch, wd)

    def read(self) -> list[tuple[int, int]]:
        """(wd, mask) of what happened, up to one buffer; events of one file are merged. Does not wait."""
        status = lib.pw_watch_read(self._watch, self._buffer, _BUFFER_BYTES, self._events, self._count)
        check(status, "read of inotify events")
        events = self._events
        return [(events[index].wd, events[index].mask) for index in range(self._count[0])]

    def close(self) -> None:
        lib.pw_watch_close(self._watch)


NO_BOUND = 2**64 - 1


class ReadResult(NamedTuple):
    """`at_end`: all that the file had was read and encoded, except for an unterminated last line."""

    batch: LogBatch
    at_end: bool


def read(
    stream: LogStream, fd: int, offset: int, now_ns: int, *, end: bool = False, until: int = NO_BOUND
) -> ReadResult:
    """Reads a portion of a file from `offset` on and encodes it, all in one call without the GIL.

    `end`: nothing follows the end of the file, so what is open there is a record
    now. `until`: no further, even in the middle of a line. Raises OSError,
    MemoryError. May be called from any thread.
    """
    flags = lib.PW_LOG_END if end else 0
    with ARENA.lock:
        batch = stream.take(
            lambda: lib.pw_tail_read(
                stream.native,
                stream.native_plan,
                fd,
                offset,
                until,
                ARENA.input,
                flags,
                now_ns,
                ARENA.at_end,
                ARENA.batch,
            )
        )
        return ReadResult(batch, bool(ARENA.at_end[0]))


def has_writer(fd: int) -> bool | None:
    """Whether somebody has the file open for writing; None: it can't be told."""
    answer = lib.pw_tail_has_writer(fd)
    return None if answer < 0 else bool(answer)

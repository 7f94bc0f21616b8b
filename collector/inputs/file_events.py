"""What happens to open files: told by inotify, found by looking where inotify's limits are used up."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from collector.errors import OperatorError
from collector.inputs.follow import FollowedFile
from collector.inputs.inotify_limits import POLL_S, InotifyLimitReached
from collector.inputs.watched_devices import WatchedDevices
from collector.native import files as inotify
from collector.native.files import FileWatch

# Files of which inotify tells everything are looked at all the same, some 10 us each.
LOOKED_AT_A_SECOND, LOOKED_AT_LEAST = 50, 100

_RENAMED_OR_UNLINKED = inotify.ATTRIB | inotify.MOVE_SELF


class FileEvents:
    """Watches files until they are left. `problem` is told once what the operator has to raise.

    `behind` is for files that had more than was read after their last turn.
    """

    def __init__(self, problem: Callable[[OperatorError], None], *, watches: bool = True) -> None:
        self._problem = problem
        self._files: dict[int, FollowedFile] = {}
        self._unwatched: set[FollowedFile] = set()
        self._untold: set[FollowedFile] = set()  # watched, but other machines write to them
        self.behind: set[FollowedFile] = set()
        self._devices = WatchedDevices()
        self._round: Iterator[int] = iter(())  # numbers of watches
        self._has_told = False
        self._watch: FileWatch | None = None
        if not watches:
            return
        try:
            self._watch = FileWatch()
        except OSError as error:
            self._tell("inotify_init1", error, "max_user_instances")

    @property
    def watch_fd(self) -> int:
        """Readable when there is something; -1: nothing can be watched."""
        return -1 if self._watch is None else self._watch.fileno()

    @property
    def must_look(self) -> bool:
        """Whether there are files that only `look` tells about."""
        return bool(self._unwatched)

    def add(self, file: FollowedFile) -> None:
        if self._watch is not None:
            try:
                file.wd = self._watch.add(file.fd)
                self._files[file.wd] = file
                if not self._devices.tell_all(file.file.device, f"/proc/self/fd/{file.fd}"):
                    self._untold.add(file)
                return
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self._tell("inotify_add_watch", error, "max_user_watches")
        self._unwatched.add(file)

    def leave(self, file: FollowedFile) -> None:
        for files in (self._unwatched, self._untold, self.behind):
            files.discard(file)
        if self._watch is not None and self._files.pop(file.wd, None) is not None:
            self._watch.remove(file.wd)

    def take(self) -> tuple[list[FollowedFile], bool]:
        """Files to which something happened, their flags set; True: events were lost, look at all."""
        touched: list[FollowedFile] = []
        lost = False
        events = self._watch.read() if self._watch is not None else []
        for wd, mask in events:
            lost |= bool(mask & inotify.OVERFLOW)
            file = self._files.get(wd)
            if file is None:
                continue
            if mask & _RENAMED_OR_UNLINKED:
                file.look_at_names()
            file.was_closed |= bool(mask & inotify.CLOSE_WRITE)
            touched.append(file)
        return touched, lost

    def look_at_some(self, interval_s: float) -> list[FollowedFile]:
        """Of those that inotify does not tell all of, or that are behind, and of others in their turn."""
        count = max(LOOKED_AT_LEAST, int(LOOKED_AT_A_SECOND * interval_s))
        numbers = list(islice(self._round, count))
        if len(numbers) < count:
            self._round = iter(tuple(self._files))
        in_turn = {self._files[number] for number in numbers if number in self._files}
        return self.look(in_turn | self._unwatched | self._untold | self.behind)

    def look(self, files: Iterable[FollowedFile] | None = None) -> list[FollowedFile]:
        """Files (None: those that can't be watched) that grew, shrank, or lost their name."""
        touched = []
        for file in list(files if files is not None else self._unwatched):
            with contextlib.suppress(OSError):
                before = file.is_gone, file.is_rotated
                file.look_at_names()
                grown = os.fstat(file.fd).st_size != file.offset
                file.was_closed = True
                if grown or before != (file.is_gone, file.is_rotated):
                    touched.append(file)
        return touched

    def _tell(self, call: str, error: OSError, limit: str) -> None:
        if not self._has_told:
            self._has_told = True
            self._problem(
                InotifyLimitReached(
                    f"{call}: {error.strerror}: this user has nothing left of it.",
                    f"Open files are looked at every {POLL_S:g} s instead.",
                    f"Raise the sysctl fs.inotify.{limit}.",
                )
            )

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

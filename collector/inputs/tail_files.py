"""Which log files there are: found by inotify at once, by a look at the directories now and then.

Works in a thread of its own that does nothing else, so that a file which lives for
a few milliseconds is opened however busy the rest is.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from collector.errors import OperatorError
from collector.inputs.tail_open import OpenFile, Refused, open_pinned, pin
from collector.inputs.tail_paths import PathPattern, Selection
from collector.native import files as inotify
from collector.native.files import Lookout, WatchEvent

# How often is looked when inotify's limits are used up: pods live for seconds, a look costs 3 us a file.
POLL_S = 1.0
_APPEARED = inotify.CREATE | inotify.MOVED_TO
_VANISHED = inotify.DELETE | inotify.MOVED_FROM
# Names of directories that led to one of those watched, beside two for each; then they are found anew.
SHOWN_BESIDES = 100
_DIR_GONE = inotify.IGNORED | inotify.MOVE_SELF


class InotifyLimitReached(OperatorError):
    """The kernel gives no more watches or instances to this user."""


@dataclass(frozen=True, slots=True)
class Found:
    """A log file, open. `path` is the name under which it was looked for, `place` that name without links.

    `early`: it was found where links of the kubelet will lead, and has no link yet.
    `at_start`: it was there when following began.
    """

    file: OpenFile
    path: str
    place: str
    early: bool
    at_start: bool
    moved: bool  # it came to this name by being renamed


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names in a directory that matter: those of one level of a pattern, under the name `shown`.

    `level` -1: the directory is where a missing one is awaited.
    """

    pattern: PathPattern
    level: int
    shown: str
    early: bool

    def matches(self, name: str) -> bool:
        if self.level >= 0:
            return self.pattern.levels[self.level].fullmatch(name) is not None
        return (self.pattern.fixed + "/").startswith(os.path.join(self.shown, name) + "/")

    @property
    def is_last(self) -> bool:
        return self.level == self.pattern.depth - 1


@dataclass(slots=True)
class _Directory:
    path: str
    identity: tuple[int, int]  # device, inode
    wd: int  # -1: not watched, inotify's limit is reached
    wanted: set[Wanted] = field(default_factory=set)
    targets: dict[str, str] = field(default_factory=dict)  # name of a link's target here -> the link


@dataclass(frozen=True, slots=True)
class Reports:
    """Who is told, from the thread: must be quick and may not raise."""

    found: Callable[[Found], None]
    problem: Callable[[OperatorError], None]
    refused: Callable[[str, str], None]  # path, reason
    scanned: Callable[[], None]  # the first look at everything is over


class Discovery:
    """Finds the files of a selection until closed.

    `held` maps (device, inode) of files that the receiver has open to their
    names ("" while it has no name for them); it is only read.
    """

    def __init__(
        self,
        selection: Selection,
        early: PathPattern | None,
        held: Mapping[tuple[int, int], str],
        reports: Reports,
        *,
        refresh_s: float,
        watches: bool = True,
    ) -> None:
        self._selection = selection
        self._patterns = [(pattern, False) for pattern in selection.patterns]
        if early is not None:
            self._patterns.append((early, True))
        roots = selection.roots
        self._roots = (*roots, os.path.realpath(early.fixed)) if early is not None else roots
        self._held = held
        self._reports = reports
        self._refresh_s = refresh_s
        self._watches = watches
        self._lookout: Lookout | None = None
        self._by_path: dict[str, _Directory] = {}
        self._by_wd: dict[int, _Directory] = {}
        self._by_shown: dict[str, _Directory] = {}  # those forgotten since have no watch any more
        self._links: dict[str, str] = {}  # name found -> the same without links
        self._told: set[str] = set()
        self._at_start = True
        self._ending = threading.Event()
        self._exchange = threading.Lock()  # of the lookout, against waking one that is being closed
        self._thread = threading.Thread(target=self._run, name="tail discovery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and waits for it."""
        self._ending.set()
        with self._exchange:
            if self._lookout is not None:
                self._lookout.wake()
        self._thread.join()

    def _run(self) -> None:
        self._begin()
        self._at_start = False
        self._reports.scanned()
        next_scan_s = time.monotonic() + self._interval_s
        while not self._ending.is_set():
            wait_s = max(0.0, next_scan_s - time.monotonic())
            lost = self._take_events(wait_s)
            if lost:
                self._begin()
            elif time.monotonic() < next_scan_s:
                continue
            else:
                self._scan()
            next_scan_s = time.monotonic() + self._interval_s
        with self._exchange:
            if self._lookout is not None:
                self._lookout.close()
                self._lookout = None

    @property
    def _interval_s(self) -> float:
        if self._lookout is None or any(directory.wd < 0 for directory in self._by_path.values()):
            return min(POLL_S, self._refresh_s)
        return self._refresh_s

    # Watches

    def _begin(self) -> None:
        """Watches and looks at everything anew: at the start, and after events were lost."""
        with self._exchange:
            if self._lookout is not None:
                self._lookout.close()
            self._lookout = self._open_lookout()
        self._by_path, self._by_wd, self._by_shown, self._links = {}, {}, {}, {}
        self._scan()

    def _open_lookout(self) -> Lookout | None:
        if not self._watches:
            return None
        try:
            return Lookout()
        except OSError as error:
            self._tell(
                InotifyLimitReached(
                    f"inotify_init1: {error.strerror}: this user has no inotify instance left.",
                    f"Directories are looked at every {POLL_S:g} s; what lives shorter is missed.",
                    "Raise the sysctl fs.inotify.max_user_instances.",
                )
            )
            return None

    def _take_events(self, wait_s: float) -> bool:
        """Waits and acts on what happened; True: events were lost."""
        if self._lookout is None:
            self._ending.wait(wait_s)
            return False
        lost = False
        for event in self._lookout.wait(int(wait_s * 1000) + 1):
            lost |= bool(event.mask & inotify.OVERFLOW)
            self._take(event)
        return lost

    def _take(self, event: WatchEvent) -> None:
        directory = self._by_wd.get(event.wd)
        if directory is None:
            _close(event.pinned_fd)
        elif event.mask & _APPEARED:
            self._appeared(directory, event)
        elif event.mask & _VANISHED:
            self._vanished(directory, event.name)
        elif event.mask & _DIR_GONE:
            self._forget(directory)

    def _appeared(self, directory: _Directory, event: WatchEvent) -> None:
        name, moved = event.name, bool(event.mask & inotify.MOVED_TO)
        try:
            if name in directory.targets:
                self._offer(directory.targets[name], False, _duplicate(event.pinned_fd), moved)
            for wanted in list(directory.wanted):
                path = os.path.join(wanted.shown, name)
                if not wanted.matches(name):
                    continue
                if wanted.level < 0:
                    self._scan_pattern(wanted.pattern, wanted.early)
                elif wanted.is_last:
                    self._offer(path, wanted.early, _duplicate(event.pinned_fd), moved)
                else:
                    self._enter(wanted.pattern, wanted.level + 1, path, wanted.early)
        except OSError as error:
            self._out_of_descriptors(error)
        finally:
            _close(event.pinned_fd)

    def _vanished(self, directory: _Directory, name: str) -> None:
        for wanted in directory.wanted:
            self._unlink(os.path.join(wanted.shown, name))

    def _unlink(self, link: str) -> None:
        target = self._links.pop(link, None)
        directory = self._by_path.get(os.path.dirname(target)) if target else None
        if directory is None or directory.targets.pop(os.path.basename(target or ""), None) is None:
            return
        if not directory.targets and not directory.wanted:
            self._forget(directory)

    def _forget(self, directory: _Directory) -> None:
        self._by_path.pop(directory.path, None)
        self._by_wd.pop(directory.wd, None)
        if self._lookout is not None and directory.wd >= 0:
            self._lookout.remove(directory.wd)
            directory.wd = -1

    def _directory(self, path: str) -> _Directory | None:
        """The watched directory of a name; None when it is not there (any more)."""
        try:
            status = os.stat(path)
            identity = status.st_dev, status.st_ino
            shown = self._by_shown.get(path)
            if shown is not None and shown.identity == identity and shown.wd >= 0:
                return shown  # as at each look; to resolve links is ten times the work
            real_path = os.path.realpath(path)
            known = self._by_path.get(real_path)
            if known is not None and known.identity != identity:
                # Removed and made anew; its end is not told while a deleted file in it is held open.
                self._forget(known)
                known = None
            if known is None or known.wd < 0:
                known = self._add(real_path, identity, known)
        except OSError:
            return None
        if len(self._by_shown) > 2 * len(self._by_path) + SHOWN_BESIDES:
            self._by_shown.clear()
        self._by_shown[path] = known
        return known

    def _add(self, path: str, identity: tuple[int, int], known: _Directory | None) -> _Directory:
        directory = known or _Directory(path, identity, -1)
        if self._lookout is not None:
            try:
                directory.wd = self._lookout.add_dir(path)
                self._by_wd[directory.wd] = directory
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self._tell_no_watches(path)
        self._by_path[path] = directory
        return directory

    # Looking

    def _scan(self) -> None:
        for pattern, early in self._patterns:
            self._scan_pattern(pattern, early)

    def _scan_pattern(self, pattern: PathPattern, early: bool) -> None:
        self._await(pattern, early)
        self._enter(pattern, 0, pattern.fixed, early)

    def _await(self, pattern: PathPattern, early: bool) -> None:
        """Watches the directories above the pattern's, top down: the next is made now, later or again."""
        above = "/"
        for name in pattern.fixed.split("/")[1:]:
            directory = self._directory(above)
            if directory is None:
                return
            directory.wanted.add(Wanted(pattern, -1, above, early))
            above = os.path.join(above, name)

    def _enter(self, pattern: PathPattern, level: int, shown: str, early: bool) -> None:
        """Watches a directory, then looks at what is in it already."""
        directory = self._directory(shown)
        if directory is None:
            return
        wanted = Wanted(pattern, level, shown, early)
        directory.wanted.add(wanted)
        try:
            names = [name for name in os.listdir(shown) if wanted.matches(name)]
        except OSError:
            return  # gone again, or not ours to read: its events, if any, come all the same
        for name in names:
            path = os.path.join(shown, name)
            if wanted.is_last:
                self._offer(path, early)
            else:
                self._enter(pattern, level + 1, path, early)

    def _offer(self, path: str, early: bool, pinned_fd: int = -1, moved: bool = False) -> None:
        """Opens a file that was found, unless the receiver has it under this name; takes over the pin."""
        if not early and self._selection.excludes(path):
            _close(pinned_fd)
            return
        try:
            if pinned_fd < 0:
                if self._is_held(path, early):
                    return
                pinned_fd = pin(path)
            opened, pinned_fd = open_pinned(pinned_fd, self._roots), -1
        except FileNotFoundError:
            self._follow_link(path, os.path.realpath(path), early)
        except Refused as reason:
            self._reports.refused(path, str(reason))
        except OSError as error:
            self._out_of_descriptors(error, path)
        else:
            # Not the file's own name: that may have been rotated away since the event.
            place = os.path.realpath(path)
            self._follow_link(path, place, early)
            self._reports.found(Found(opened, path, place, early, self._at_start, moved))

    def _is_held(self, path: str, early: bool) -> bool:
        status = os.stat(path)
        name = self._held.get((status.st_dev, status.st_ino))
        if name is None or not (name or early):
            return False
        if not early and path not in self._links:
            self._follow_link(path, os.path.realpath(path), early)
        return True

    def _follow_link(self, path: str, target: str, early: bool) -> None:
        """Watches where a link leads, for the file that takes the target's place after a rotation."""
        if early or self._links.get(path) == target or not self._selection.wants(path):
            return
        self._unlink(path)
        self._links[path] = target
        directory = self._directory(os.path.dirname(target)) if target != path else None
        if directory is not None:
            directory.targets[os.path.basename(target)] = path

    # Telling

    def _tell(self, problem: OperatorError) -> None:
        if problem.remedy not in self._told:
            self._told.add(problem.remedy)
            self._reports.problem(problem)

    def _tell_no_watches(self, path: str) -> None:
        self._tell(
            InotifyLimitReached(
                f"inotify_add_watch of {path}: this user has no inotify watch left.",
                f"What can't be watched is looked at every {POLL_S:g} s instead.",
                "Raise the sysctl fs.inotify.max_user_watches.",
            )
        )

    def _out_of_descriptors(self, error: OSError, path: str = "") -> None:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            self._tell(
                OperatorError(
                    f"open: {error.strerror}: all descriptors are in use.",
                    "Files wait unopened until the next look; what is deleted meanwhile is lost.",
                    "Raise the limit of open files (RLIMIT_NOFILE).",
                )
            )
        else:
            self._reports.refused(path, error.strerror or str(error))


def _duplicate(fd: int) -> int:
    return os.dup(fd) if fd >= 0 else -1


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)

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
from collector.inputs.inotify_limits import POLL_S, lost_events, no_descriptor, no_instance, no_watch
from collector.inputs.tail_open import OpenFile, Refused, open_pinned, pin
from collector.inputs.tail_paths import PathPattern, Selection
from collector.native import files as inotify
from collector.native.files import Lookout, WatchEvent

# At the end, for what was pinned and not looked at so far.
REST_S = 1.0
_APPEARED = inotify.CREATE | inotify.MOVED_TO
_VANISHED = inotify.DELETE | inotify.MOVED_FROM
# Names of directories that led to one of those watched, beside two for each; then they are found anew.
SHOWN_BESIDES = 100


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

    @property
    def below(self) -> str:
        """The same for the lookout, which may take it more widely."""
        return self.pattern.below(self.shown, self.level)

    def inside(self, name: str) -> Wanted:
        """What matters in the directory of that name."""
        shown = os.path.join(self.shown, name)
        level = self.level + 1 if self.level >= 0 or shown == self.pattern.fixed else -1
        return Wanted(self.pattern, level, shown, self.early)


@dataclass(slots=True)
class _Directory:
    path: str
    identity: tuple[int, int]  # device, inode
    wd: int  # -1: not watched, inotify's limit is reached
    wanted: set[Wanted] = field(default_factory=set)
    targets: dict[str, str] = field(default_factory=dict)  # name of a link's target here -> the link
    unopened: dict[str, str] = field(default_factory=dict)  # names gone before they were opened -> the path
    told: set[str] = field(default_factory=set)  # names that appeared and have not vanished


@dataclass(frozen=True, slots=True)
class Reports:
    """Who is told, from the thread: must be quick and may not raise."""

    found: Callable[[Found], None]
    problem: Callable[[OperatorError], None]
    refused: Callable[[str, str], object]  # path, reason
    missed: Callable[[str], object]  # a log file, or directory of one, gone before it could be opened
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
                self._tell(lost_events())
                self._begin()
            elif time.monotonic() < next_scan_s:
                continue
            else:
                self._scan()
            next_scan_s = time.monotonic() + self._interval_s
        self._take_the_rest()
        with self._exchange:
            if self._lookout is not None:
                self._lookout.close()
                self._lookout = None

    def _take_the_rest(self) -> None:
        """What is pinned already and may be gone by its name."""
        end_s = time.monotonic() + REST_S
        while self._lookout is not None and time.monotonic() < end_s:
            events = self._lookout.wait(0)
            if not events:
                return
            for event in events:
                self._take(event)

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
            self._tell(no_instance(error))
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
            self._let_go(event.child_wd)
        elif event.mask & _APPEARED:
            self._appeared(directory, event)
        elif event.mask & _VANISHED:
            self._vanished(directory, event)
        elif event.mask & inotify.IGNORED:
            self._forget(directory, has_ended=True)
        elif event.mask & inotify.MOVE_SELF and not _is_at(directory.path, directory.identity):
            self._forget(directory)

    def _let_go(self, wd: int) -> None:
        """What the lookout watches and nobody wants."""
        if wd >= 0 and wd not in self._by_wd and self._lookout is not None:
            self._lookout.remove(wd)

    def _appeared(self, directory: _Directory, event: WatchEvent) -> None:
        takers = [wanted for wanted in directory.wanted if wanted.matches(event.name)]
        if event.error:
            if event.name in directory.told and event.error == errno.ENOENT and not event.is_link:
                return  # seen by a look into the new directory; this is the event, and its end is behind it
        elif takers:
            directory.told.add(event.name)
        link = directory.targets.get(event.name)
        paths = [(os.path.join(one.shown, event.name), one.early) for one in takers if one.is_last]
        self._offer_all([(link, False), *paths] if link else paths, directory, event)
        child = self._child(directory, event) if takers else None
        for wanted in takers:
            if not wanted.is_last:
                self._enter_appeared(wanted, child, directory, event)
        self._let_go(event.child_wd)

    def _offer_all(self, paths: list[tuple[str, bool]], directory: _Directory, event: WatchEvent) -> None:
        """The same file under each of its names; each but the last takes a pin of its own."""
        if not paths:
            _close(event.pinned_fd)
        for number, (path, early) in enumerate(paths, 1):
            fd = event.pinned_fd if number == len(paths) else _duplicate(event.pinned_fd)
            if event.error == errno.ENOENT and not event.is_link:
                self._await_end(directory, event.name, path)
            elif self._is_told(path, early, event):
                _close(fd)
            else:
                place = "" if event.is_link else os.path.join(directory.path, event.name)
                self._offer(path, early, fd, place, moved=bool(event.mask & inotify.MOVED_TO))

    def _is_told(self, path: str, early: bool, event: WatchEvent) -> bool:
        """Whether the receiver has the file under this name: what is in a new directory may come twice."""
        if event.mask & inotify.MOVED_TO:
            return False
        name = self._held.get((event.device, event.inode))
        return name is not None and (early or name == path)

    def _child(self, directory: _Directory, event: WatchEvent) -> _Directory | None:
        """The directory that appeared, if the lookout watches it and has looked into it."""
        if event.child_wd < 0 or event.mask & inotify.MOVED_TO:
            return None
        known = self._by_wd.get(event.child_wd)
        if known is not None:
            return known
        path = os.path.join(directory.path, event.name)
        before = self._by_path.get(path)
        if before is not None:
            self._forget(before)
        child = _Directory(path, (event.device, event.inode), event.child_wd)
        self._by_path[path] = self._by_wd[child.wd] = child
        return child

    def _enter_appeared(
        self, wanted: Wanted, child: _Directory | None, directory: _Directory, event: WatchEvent
    ) -> None:
        inside = wanted.inside(event.name)
        if child is not None:
            child.wanted.add(inside)
            self._show(inside.shown, child)
            if event.emptied and inside.level >= 0:
                self._reports.missed(inside.shown)
        elif event.error == errno.ENOENT and not event.is_link:
            self._await_end(directory, event.name, inside.shown)
        elif wanted.level < 0:
            self._scan_pattern(wanted.pattern, wanted.early)
        else:
            self._enter(wanted.pattern, inside.level, inside.shown, wanted.early)

    def _await_end(self, directory: _Directory, name: str, path: str) -> None:
        """Not to be opened any more: it was deleted, or has another name by now. Its next event tells."""
        if not self._selection.excludes(path):
            directory.unopened[name] = path

    def _vanished(self, directory: _Directory, event: WatchEvent) -> None:
        directory.told.discard(event.name)
        path = directory.unopened.pop(event.name, None)
        if path is not None and event.mask & inotify.DELETE:
            self._reports.missed(path)
        for wanted in directory.wanted:
            self._unlink(os.path.join(wanted.shown, event.name))

    def _unlink(self, link: str) -> None:
        target = self._links.pop(link, None)
        directory = self._by_path.get(os.path.dirname(target)) if target else None
        if directory is None or directory.targets.pop(os.path.basename(target or ""), None) is None:
            return
        if not directory.targets and not directory.wanted:
            self._forget(directory)

    def _forget(self, directory: _Directory, *, has_ended: bool = False) -> None:
        self._by_path.pop(directory.path, None)
        self._by_wd.pop(directory.wd, None)
        if self._lookout is not None and directory.wd >= 0 and not has_ended:
            self._lookout.remove(directory.wd)
        directory.wd = -1

    def _directory(self, path: str, wanted: Wanted | None = None) -> _Directory | None:
        """The watched directory of a name, in which this is wanted; None when it is not there (any more)."""
        try:
            status = os.stat(path)
            identity = status.st_dev, status.st_ino
            shown = self._by_shown.get(path)
            if shown is not None and shown.identity == identity and shown.wd >= 0:
                return self._want(shown, wanted)  # as at each look; to resolve links is ten times the work
            real_path = os.path.realpath(path)
            known = self._by_path.get(real_path)
            if known is not None and known.identity != identity:
                # Removed and made anew; its end is not told while a deleted file in it is held open.
                self._forget(known)
                known = None
            known = self._want(known or _Directory(real_path, identity, -1), wanted)
        except OSError:
            return None
        self._by_path[real_path] = known
        self._show(path, known)
        return known

    def _show(self, path: str, directory: _Directory) -> None:
        if len(self._by_shown) > 2 * len(self._by_path) + SHOWN_BESIDES:
            self._by_shown.clear()
        self._by_shown[path] = directory

    def _want(self, directory: _Directory, wanted: Wanted | None) -> _Directory:
        """Has it watched, and the lookout know all that is wanted in it."""
        is_known = wanted is None or wanted in directory.wanted
        if wanted is not None:
            directory.wanted.add(wanted)
        if self._lookout is None or (is_known and directory.wd >= 0):
            return directory
        try:
            directory.wd = self._lookout.add_dir(directory.path, {one.below for one in directory.wanted})
            self._take_over(directory)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._tell(no_watch(directory.path))
        return directory

    def _take_over(self, directory: _Directory) -> None:
        """Renamed, it keeps its wd, as does what is in it: the former name's end is not to end the watch."""
        before = self._by_wd.get(directory.wd)
        if before is not None and before is not directory:
            before.wd = -1
            if self._by_path.get(before.path) is before:
                del self._by_path[before.path]
        self._by_wd[directory.wd] = directory

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
            if self._directory(above, Wanted(pattern, -1, above, early)) is None:
                return
            above = os.path.join(above, name)

    def _enter(self, pattern: PathPattern, level: int, shown: str, early: bool) -> None:
        """Watches a directory, then looks at what is in it already."""
        wanted = Wanted(pattern, level, shown, early)
        if self._directory(shown, wanted) is None:
            return
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

    def _offer(
        self, path: str, early: bool, pinned_fd: int = -1, place: str = "", *, moved: bool = False
    ) -> None:
        """Opens a file that was found, unless the receiver has it under this name; takes over the pin.

        `place`: the path without links, where it is known.
        """
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
            place = place or os.path.realpath(path)
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

    def _out_of_descriptors(self, error: OSError, path: str = "") -> None:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            self._tell(no_descriptor(error))
        else:
            self._reports.refused(path, error.strerror or str(error))


def _duplicate(fd: int) -> int:
    try:
        return os.dup(fd) if fd >= 0 else -1
    except OSError:
        return -1  # it is opened by its name, which says what is wrong


def _is_at(path: str, identity: tuple[int, int]) -> bool:
    """Whether a directory is there still, or by now: its new name is told before the end of the old one."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == identity


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)

"""Which log files there are: found by inotify at once, by a look at the directories now and then.

Works in a thread of its own that does nothing else, so that a file which lives for
a few milliseconds is opened however busy the rest is.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from itertools import islice

from collector.errors import OperatorError
from collector.inputs.inotify_limits import POLL_S, lost_events, no_descriptor
from collector.inputs.tail_directories import Directories, Directory, Loose, Wanted
from collector.inputs.tail_open import OpenFile, Refused, open_pinned, pin
from collector.inputs.tail_paths import PathPattern, Selection
from collector.native import files as inotify
from collector.native.files import WatchEvent

# At the end, for what was pinned and not looked at so far.
REST_S = 1.0
# Of what inotify tells of all the same, some 12 us each: directories and names in them.
STEPS_A_SECOND = 50
STEPS_AT_LEAST = 100
# Names that appeared last: a file that replaces another does so within moments, or was opened.
LATEST_KEPT = 256
_APPEARED = inotify.CREATE | inotify.MOVED_TO
_VANISHED = inotify.DELETE | inotify.MOVED_FROM


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
    names ("" while it has no name for them); it is only read. `left` are paths of
    files that it had open, and has no more though they have a name.

    Each `refresh_s` all that inotify does not tell of is looked at: directories that are
    not watched, or that other machines change, and names whose file the receiver does not
    hold. Of all else a part is, so that what was missed all the same is found some time:
    with a few hundred names at once, with ten thousand pods within a quarter of an hour.
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
        left: deque[str] | None = None,
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
        self._left = deque[str]() if left is None else left
        self._directories = Directories(self._tell, watches=watches)
        self._walking: Iterator[None] = iter(())
        self._loose: dict[str, Loose] = {}  # names found whose files may not be held
        self._unentered: set[Wanted] = set()  # directories that could not be looked into
        self._links: dict[str, str] = {}  # name found -> the same without links
        self._told: set[str] = set()
        self._latest: dict[str, tuple[int, int]] = {}  # names that appeared -> what was there then
        self._at_start = True
        self._ending = threading.Event()
        self._exchange = threading.Lock()  # of the lookout, against waking one that is being closed
        self._failed: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, name="tail discovery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def failure(self) -> None:
        """Never returns; raises what ended the thread before its time."""
        await asyncio.wrap_future(self._failed)

    def close(self) -> None:
        """Ends the thread and waits for it."""
        self._ending.set()
        with self._exchange:
            if self._directories.lookout is not None:
                self._directories.lookout.wake()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._run()
        except BaseException as error:
            with contextlib.suppress(InvalidStateError):  # nobody asks any more
                self._failed.set_exception(error)
        finally:
            with self._exchange:
                self._directories.close()

    def _run(self) -> None:
        self._begin()
        self._at_start = False
        self._reports.scanned()
        next_look_s = time.monotonic() + self._interval_s
        while not self._ending.is_set():
            wait_s = max(0.0, next_look_s - time.monotonic())
            lost = self._take_events(wait_s)
            if lost:
                self._tell(lost_events())
                self._begin()
            elif time.monotonic() < next_look_s:
                continue
            else:
                self._look()
            next_look_s = time.monotonic() + self._interval_s
        self._take_the_rest()

    def _take_the_rest(self) -> None:
        """What is pinned already and may be gone by its name."""
        end_s = time.monotonic() + REST_S
        while self._directories.lookout is not None and time.monotonic() < end_s:
            events = self._directories.lookout.wait(0)
            if not events:
                return
            for event in events:
                self._take(event)

    @property
    def _interval_s(self) -> float:
        return self._refresh_s if self._directories.are_watched else min(POLL_S, self._refresh_s)

    # Watches

    def _begin(self) -> None:
        """Watches and looks at everything anew: at the start, and after events were lost."""
        with self._exchange:
            self._directories.begin()
        self._links = {}
        self._walking = iter(())
        for pattern, early in self._patterns:
            self._scan_pattern(pattern, early)

    def _take_events(self, wait_s: float) -> bool:
        """Waits and acts on what happened; True: events were lost."""
        lookout = self._directories.lookout
        if lookout is None:
            self._ending.wait(wait_s)
            return False
        lost = False
        for event in lookout.wait(int(wait_s * 1000) + 1):
            lost |= bool(event.mask & inotify.OVERFLOW)
            self._take(event)
        return lost

    def _take(self, event: WatchEvent) -> None:
        directory = self._directories.of_event(event.wd)
        if directory is None:
            _close(event.pinned_fd)
            self._directories.let_go(event.child_wd)
        elif event.mask & _APPEARED:
            self._appeared(directory, event)
        elif event.mask & _VANISHED:
            self._vanished(directory, event)
        elif event.mask & inotify.IGNORED:
            self._directories.forget(directory, has_ended=True)
        elif event.mask & inotify.MOVE_SELF and not directory.is_there:
            self._directories.forget(directory)

    def _appeared(self, directory: Directory, event: WatchEvent) -> None:
        takers = [wanted for wanted in directory.wanted if wanted.matches(event.name)]
        if event.error:
            if event.name in (directory.told or ()) and event.error == errno.ENOENT and not event.is_link:
                return  # seen by a look into the new directory; this is the event, and its end is behind it
        elif takers:
            directory.told = directory.told or set()
            directory.told.add(event.name)
        link = directory.targets.get(event.name)
        paths = [(os.path.join(one.shown, event.name), one.early) for one in takers if one.is_last]
        self._offer_all([(link, False), *paths] if link else paths, directory, event)
        child = self._child(directory, event) if takers else None
        for wanted in takers:
            if not wanted.is_last:
                self._enter_appeared(wanted, child, directory, event)
        self._directories.let_go(event.child_wd)

    def _offer_all(self, paths: list[tuple[str, bool]], directory: Directory, event: WatchEvent) -> None:
        """The same file under each of its names; each but the last takes a pin of its own."""
        if not paths:
            _close(event.pinned_fd)
        elif not event.error:
            self._tell_replaced(paths[0][0], os.path.join(directory.path, event.name), event)
        for number, (path, early) in enumerate(paths, 1):
            fd = event.pinned_fd if number == len(paths) else _duplicate(event.pinned_fd)
            if event.error == errno.ENOENT and not event.is_link:
                self._await_end(directory, event.name, path)
            elif self._is_told(path, early, event):
                _close(fd)
            else:
                place = "" if event.is_link else os.path.join(directory.path, event.name)
                self._offer(path, early, fd, place, moved=bool(event.mask & inotify.MOVED_TO))

    def _tell_replaced(self, path: str, place: str, event: WatchEvent) -> None:
        """Of files renamed over each other faster than they are opened, the last one is found for each."""
        identity = event.device, event.inode
        was_replaced = event.mask & inotify.MOVED_TO and self._latest.get(place) == identity
        if was_replaced and not self._selection.excludes(path):
            self._reports.missed(path)
        if len(self._latest) >= LATEST_KEPT:
            self._latest.clear()
        self._latest[place] = identity

    def _is_told(self, path: str, early: bool, event: WatchEvent) -> bool:
        """Whether the receiver has the file under this name: what is in a new directory may come twice."""
        if event.mask & inotify.MOVED_TO:
            return False
        name = self._held.get((event.device, event.inode))
        return name is not None and (early or name == path)

    def _child(self, directory: Directory, event: WatchEvent) -> Directory | None:
        """The directory that appeared, if the lookout watches it and has looked into it."""
        if event.child_wd < 0 or event.mask & inotify.MOVED_TO:
            return None
        path = os.path.join(directory.path, event.name)
        return self._directories.adopt(path, (event.device, event.inode), event.child_wd)

    def _enter_appeared(
        self, wanted: Wanted, child: Directory | None, directory: Directory, event: WatchEvent
    ) -> None:
        inside = wanted.inside(event.name)
        if child is not None:
            self._directories.show_inside(inside, child)
            if event.emptied and inside.level >= 0:
                self._reports.missed(inside.shown)
        elif event.error == errno.ENOENT and not event.is_link:
            self._await_end(directory, event.name, inside.shown)
        elif wanted.level < 0:
            self._scan_pattern(wanted.pattern, wanted.early)
        else:
            _finish(self._walk(inside))

    def _await_end(self, directory: Directory, name: str, path: str) -> None:
        """Not to be opened any more: it was deleted, or has another name by now. Its next event tells."""
        if not self._selection.excludes(path):
            directory.unopened[name] = path

    def _vanished(self, directory: Directory, event: WatchEvent) -> None:
        if directory.told:
            directory.told.discard(event.name)
        self._latest.pop(os.path.join(directory.path, event.name), None)
        path = directory.unopened.pop(event.name, None)
        if path is not None and event.mask & inotify.DELETE:
            self._reports.missed(path)
        for wanted in directory.wanted:
            self._unlink(os.path.join(wanted.shown, event.name))

    def _unlink(self, link: str) -> None:
        target = self._links.pop(link, None)
        directory = self._directories.at(os.path.dirname(target)) if target else None
        if directory is None or directory.targets.pop(os.path.basename(target or ""), None) is None:
            return
        if not directory.targets and not directory.wanted:
            self._directories.forget(directory)

    # Looking

    def _look(self) -> None:
        for pattern, early in self._patterns:
            self._await(pattern, early)
            self._enter_if_new(Wanted(pattern, 0, pattern.fixed, early))
        unentered, self._unentered = self._unentered, set()
        for wanted in unentered:
            _finish(self._walk(wanted))
        for directory in tuple(self._directories.untold.values()):
            self._look_into(directory)
        self._offer_again()
        self._walk_on(max(STEPS_AT_LEAST, int(STEPS_A_SECOND * self._interval_s)))

    def _walk_on(self, steps: int) -> None:
        """So far as this goes; a round that has ended begins anew with the next look."""
        if sum(1 for _ in islice(self._walking, steps)) < steps:
            self._walking = self._walk_all()

    def _walk_all(self) -> Iterator[None]:
        for pattern, early in self._patterns:
            yield from self._walk(Wanted(pattern, 0, pattern.fixed, early))

    def _scan_pattern(self, pattern: PathPattern, early: bool) -> None:
        self._await(pattern, early)
        _finish(self._walk(Wanted(pattern, 0, pattern.fixed, early)))

    def _await(self, pattern: PathPattern, early: bool) -> None:
        """Watches the directories above the pattern's, top down: the next is made now, later or again."""
        above = "/"
        for name in pattern.fixed.split("/")[1:]:
            if self._directories.watch(above, Wanted(pattern, -1, above, early)) is None:
                return
            above = os.path.join(above, name)

    def _walk(self, wanted: Wanted) -> Iterator[None]:
        """Watches a directory, then looks at what is in it, a step each; where it is new, all at once."""
        yield
        directory = self._directories.watch(wanted.shown, wanted)
        names = None if directory is None else _names(wanted)
        if directory is None or names is None:
            if os.path.isdir(wanted.shown) or os.path.islink(wanted.shown):
                self._unentered.add(wanted)
            return
        steps = self._walk_names(wanted, names)
        if directory.take_unlisted(wanted):
            _finish(steps)
        else:
            yield from steps

    def _walk_names(self, wanted: Wanted, names: list[str]) -> Iterator[None]:
        for name in names:
            if wanted.is_last:
                self._offer(os.path.join(wanted.shown, name), wanted.early)
                yield
            else:
                yield from self._walk(wanted.inside(name))

    def _enter_if_new(self, wanted: Wanted) -> None:
        directory = self._directories.watch(wanted.shown, wanted)
        if directory is not None and wanted in directory.unlisted:
            _finish(self._walk(wanted))

    def _look_into(self, directory: Directory) -> None:
        """One of which inotify does not tell, or not of all."""
        if not directory.is_there:
            self._directories.forget(directory)
            return
        for wanted in directory.wanted:
            for name in (_names(wanted) or ()) if wanted.level >= 0 else ():
                if wanted.is_last:
                    self._offer(os.path.join(wanted.shown, name), wanted.early)
                else:
                    self._enter_if_new(wanted.inside(name))
        for link in tuple(directory.targets.values()):
            self._offer(link, False)

    def _offer_again(self) -> None:
        """Names whose files the receiver may not hold: left, passed by, or not to be opened so far."""
        while self._left:
            path, name = os.path.split(self._left.popleft())
            directory = self._directories.at(path)
            if directory is not None:
                self._note_left(directory, name)
        loose, self._loose = self._loose, {}
        for path, (early, inode) in loose.items():
            if inode is None or not self._has(inode, early):
                self._offer(path, early)

    def _note_left(self, directory: Directory, name: str) -> None:
        for wanted in directory.wanted:
            if wanted.is_last and wanted.matches(name):
                self._note_loose(os.path.join(wanted.shown, name), wanted.early)
        if name in directory.targets:
            self._note_loose(directory.targets[name], False)

    def _note_loose(self, path: str, early: bool, inode: tuple[int, int] | None = None) -> None:
        known = self._loose.get(path)
        self._loose[path] = Loose(early and (known is None or known.early), inode)

    def _offer(
        self, path: str, early: bool, pinned_fd: int = -1, place: str = "", *, moved: bool = False
    ) -> None:
        """Opens a file that was found, unless the receiver has it under this name; takes over the pin.

        `place`: the path without links, where it is known.
        """
        if self._selection.hides(path, early=early):
            _close(pinned_fd)
            return
        inode = None
        try:
            if pinned_fd < 0:
                if self._is_held(path, early):
                    return
                pinned_fd = pin(path)
            opened, pinned_fd = open_pinned(pinned_fd, self._roots), -1
        except FileNotFoundError:
            if not os.path.islink(path):
                return
            self._follow_link(path, os.path.realpath(path), early)
        except Refused as reason:
            self._reports.refused(path, str(reason))
        except OSError as error:
            self._out_of_descriptors(error, path)
        else:
            inode = opened.device, opened.inode
            # Not the file's own name: that may have been rotated away since the event.
            place = place or self._directories.place_of(path)
            if place == opened.real_path:
                place = opened.real_path  # one string, of two hundred bytes
            self._follow_link(path, place, early)
            self._reports.found(Found(opened, path, place, early, self._at_start, moved))
        self._note_loose(path, early, inode)

    def _is_held(self, path: str, early: bool) -> bool:
        status = os.stat(path)
        if not self._has((status.st_dev, status.st_ino), early):
            return False
        if not early and path not in self._links:
            self._follow_link(path, os.path.realpath(path), early)
        return True

    def _has(self, inode: tuple[int, int], early: bool) -> bool:
        """Whether the receiver has the file, and if this is no early one, a name for it."""
        name = self._held.get(inode)
        return name is not None and bool(name or early)

    def _follow_link(self, path: str, target: str, early: bool) -> None:
        """Watches where a link leads, for the file that takes the target's place after a rotation."""
        if early or self._links.get(path) == target or not self._selection.wants(path):
            return
        self._unlink(path)
        self._links[path] = target
        directory = self._directories.watch(os.path.dirname(target)) if target != path else None
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


def _names(wanted: Wanted) -> list[str] | None:
    """What is wanted of a directory's names; None: it is gone again, or not ours to read."""
    try:
        return [name for name in os.listdir(wanted.shown) if wanted.matches(name)]
    except OSError:
        return None


def _finish(steps: Iterator[None]) -> None:
    deque(steps, maxlen=0)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)

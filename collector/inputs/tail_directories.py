"""The directories that log files are found in: what is wanted in each, and whether inotify tells of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.errors import OperatorError
from collector.inputs.inotify_limits import no_instance, no_watch
from collector.inputs.tail_paths import PathPattern
from collector.inputs.watched_devices import WatchedDevices
from collector.native.files import Lookout

# Names of directories that led to one of those watched, beside two for each; then they are found anew.
SHOWN_BESIDES = 100


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
class Directory:
    path: str
    identity: tuple[int, int]  # device, inode
    wd: int  # -1: not watched, inotify's limit is reached
    wanted: tuple[Wanted, ...] = ()
    unlisted: tuple[Wanted, ...] = ()  # of these, for which nobody has looked into it
    targets: dict[str, str] = field(default_factory=dict)  # name of a link's target here -> the link
    unopened: dict[str, str] = field(default_factory=dict)  # names gone before they were opened -> the path
    told: set[str] | None = None  # names that appeared and have not vanished

    def take_unlisted(self, wanted: Wanted) -> bool:
        """Whether nobody has looked into it for this; somebody does now."""
        if wanted not in self.unlisted:
            return False
        self.unlisted = tuple(one for one in self.unlisted if one != wanted)
        return True

    @property
    def is_there(self) -> bool:
        """Whether it is there still, or by now: its new name is told before the end of the old one."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity


class Loose(NamedTuple):
    """A name that was found, whose file may not be held."""

    early: bool
    inode: tuple[int, int] | None  # with the device, where it could be opened


class Directories:
    """`problem` is told what the operator has to raise. `watches` False: nothing is watched."""

    def __init__(self, problem: Callable[[OperatorError], None], *, watches: bool) -> None:
        self._problem = problem
        self._watches = watches
        self.lookout: Lookout | None = None
        self._by_path: dict[str, Directory] = {}
        self._by_wd: dict[int, Directory] = {}
        self._by_shown: dict[str, Directory] = {}  # those forgotten since have no watch any more
        self._devices = WatchedDevices()
        self.untold: dict[str, Directory] = {}
        """By path, those of whose changes inotify does not tell, or not of all."""

    def begin(self) -> None:
        """Forgets all, for a look at everything."""
        self.close()
        self._by_path, self._by_wd, self._by_shown, self.untold = {}, {}, {}, {}
        try:
            self.lookout = Lookout() if self._watches else None
        except OSError as error:
            self._problem(no_instance(error))

    def close(self) -> None:
        if self.lookout is not None:
            self.lookout.close()
            self.lookout = None

    @property
    def are_watched(self) -> bool:
        return self.lookout is not None and all(one.wd >= 0 for one in self.untold.values())

    def at(self, path: str) -> Directory | None:
        """By its path without links."""
        return self._by_path.get(path)

    def of_event(self, wd: int) -> Directory | None:
        return self._by_wd.get(wd)

    def watch(self, path: str, wanted: Wanted | None = None) -> Directory | None:
        """The watched directory of a name, in which this is wanted; None when it is not there (any more)."""
        try:
            status = os.stat(path)
            identity = status.st_dev, status.st_ino
            shown = self._by_shown.get(path)
            if shown is not None and shown.identity == identity and shown.wd >= 0:
                return self._want(shown, wanted)  # as at each look; to resolve links is ten times the work
            known = self._want(self._known(path, identity), wanted)
        except OSError:
            return None
        self._by_path[known.path] = known
        self._show(path, known)
        return known

    def _known(self, path: str, identity: tuple[int, int]) -> Directory:
        real_path = self._real_path(path, identity)
        known = self._by_path.get(real_path)
        if known is not None and known.identity != identity:
            # Removed and made anew; its end is not told while a deleted file in it is held open.
            self.forget(known)
            known = None
        return known or Directory(path if path == real_path else real_path, identity, -1)

    def _real_path(self, path: str, identity: tuple[int, int]) -> str:
        """Where the directory above is known, it is enough to see that this is no link."""
        status = os.lstat(path)
        above, name = os.path.split(path)
        known = self._by_shown.get(above)
        if known is None or known.wd < 0 or (status.st_dev, status.st_ino) != identity:
            return os.path.realpath(path)
        return path if known.path == above else os.path.join(known.path, name)

    def place_of(self, path: str) -> str:
        """The name of a file without links, with as little work."""
        try:
            target = os.readlink(path)
        except OSError:
            target = path
        is_plain = target == path or (target.startswith("/") and target == os.path.normpath(target))
        above, name = os.path.split(target)
        directory = self.watch(above) if is_plain and (target == path or not os.path.islink(target)) else None
        return os.path.realpath(path) if directory is None else os.path.join(directory.path, name)

    def adopt(self, path: str, identity: tuple[int, int], wd: int) -> Directory:
        """One that appeared, and that the lookout watches and has looked into."""
        known = self._by_wd.get(wd)
        if known is not None:
            return known
        before = self._by_path.get(path)
        if before is not None:
            self.forget(before)
        child = Directory(path, identity, wd)
        self._by_path[path] = self._by_wd[wd] = child
        self._tell_apart(child)
        return child

    def show_inside(self, wanted: Wanted, directory: Directory) -> None:
        """This is wanted in one that was adopted."""
        if wanted not in directory.wanted:
            directory.wanted = (*directory.wanted, wanted)
        self._show(wanted.shown, directory)

    def _show(self, path: str, directory: Directory) -> None:
        if len(self._by_shown) > 2 * len(self._by_path) + SHOWN_BESIDES:
            self._by_shown.clear()
        self._by_shown[path] = directory

    def _want(self, directory: Directory, wanted: Wanted | None) -> Directory:
        """Has it watched, and the lookout know all that is wanted in it."""
        is_known = wanted is None or wanted in directory.wanted
        if wanted is not None and not is_known:
            directory.wanted = (*directory.wanted, wanted)
            directory.unlisted = (*directory.unlisted, wanted)
        if is_known and directory.wd >= 0:
            return directory
        try:
            if self.lookout is not None:
                below = {one.below for one in directory.wanted}
                directory.wd = self.lookout.add_dir(directory.path, below)
                self._take_over(directory)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._problem(no_watch(directory.path))
        self._tell_apart(directory)
        return directory

    def _take_over(self, directory: Directory) -> None:
        """Renamed, it keeps its wd, as does what is in it: the former name's end is not to end the watch."""
        before = self._by_wd.get(directory.wd)
        if before is not None and before is not directory:
            before.wd = -1
            if self._by_path.get(before.path) is before:
                del self._by_path[before.path]
                self.untold.pop(before.path, None)
        self._by_wd[directory.wd] = directory

    def _tell_apart(self, directory: Directory) -> None:
        if directory.wd >= 0 and self._devices.tell_all(directory.identity[0], directory.path):
            self.untold.pop(directory.path, None)
        else:
            self.untold[directory.path] = directory

    def forget(self, directory: Directory, *, has_ended: bool = False) -> None:
        self._by_path.pop(directory.path, None)
        self._by_wd.pop(directory.wd, None)
        self.untold.pop(directory.path, None)
        if self.lookout is not None and directory.wd >= 0 and not has_ended:
            self.lookout.remove(directory.wd)
        directory.wd = -1

    def let_go(self, wd: int) -> None:
        """What the lookout watches and nobody wants."""
        if wd >= 0 and wd not in self._by_wd and self.lookout is not None:
            self.lookout.remove(wd)

"""The files that are followed: how they come, get a name, and go."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable

from collector.delivery.chunk import FileKey
from collector.inputs.beginnings import Beginnings
from collector.inputs.file_events import FileEvents
from collector.inputs.follow import FollowedFile
from collector.inputs.follow_gzip import CompressedFile
from collector.inputs.succession import Plans, Succession
from collector.inputs.tail_files import Found
from collector.inputs.tail_groups import Grouping, LineGroups
from collector.inputs.tail_open import OpenFile, path_of
from collector.inputs.tail_paths import Selection, log_of
from collector.inputs.tail_settings import Settings
from collector.native.logs import LogStream

# Acks of a deleted file's last chunks may still be on their way, and would write its position again.
FORGET_S = 60.0

COMPRESSED_ALONE = "it is compressed, and read only as what a log of this input was rotated to; unpack it"


class Followed:
    """Open files by inode, and the logs they belong to by place.

    `names` has the same inodes with the names they are known by ("" without one),
    for readers in other threads; `left` are paths of files that are left and have a
    name, which may be found again. `ready` is called with files that are to be
    looked at; `refuse` with a path that is not followed, and why; `count` with the
    name of a counter of Fluent Bit.
    """

    def __init__(
        self,
        settings: Settings,
        selection: Selection,
        plans: Plans,
        beginnings: Beginnings,
        events: FileEvents,
        *,
        grouping: Grouping | None = None,
        ready: Callable[[Iterable[FollowedFile]], None],
        refuse: Callable[[str, str], None],
        count: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self._settings = settings
        self._selection = selection
        self._roots = selection.roots
        self._plans = plans
        self._beginnings = beginnings
        self._events = events
        self._grouping = grouping
        self._ready = ready
        self._refuse = refuse
        self._count = count
        self._log = log
        self.files: dict[tuple[int, int], FollowedFile] = {}
        self.names: dict[tuple[int, int], str] = {}
        self.left: deque[str] = deque()
        self.successions: dict[str, Succession] = {}
        self._passed_by: set[tuple[int, int]] = set()  # until the first look is over
        self._gone: deque[tuple[float, FileKey]] = deque()
        self._has_looked = False

    def succession_of(self, file: FollowedFile) -> Succession | None:
        """The log of a file that is still followed."""
        return self.successions.get(file.place) if self.files.get(file.inode) is file else None

    def take(self, found: Found, now_s: float) -> None:
        """A file was found, again perhaps; takes over its descriptor."""
        if self._has_looked:
            self._beginnings.forget_listings()
        inode = found.file.device, found.file.inode
        known = self.files.get(inode)
        if known is not None:
            os.close(found.file.fd)
            known.look_at_names()
            known.replaced |= found.moved and found.place == known.place
            if not found.early:
                self.name(self.successions[known.place], found.path)
        elif self._passes_by(found.file):
            self._passed_by.add(inode)
            if found.file.is_compressed and not self._selection.wants(log_of(found.path)):
                self._refuse(found.path, COMPRESSED_ALONE)
            os.close(found.file.fd)
        else:
            self._begin(found, now_s)

    def _passes_by(self, file: OpenFile) -> bool:
        """Whether there is nothing to read in a file. Compressed ones are read as siblings of their log."""
        if file.is_compressed:
            return True
        limit_s = self._settings.ignore_older_s
        is_old = limit_s > 0 and time.time() - os.fstat(file.fd).st_mtime > limit_s
        return is_old or self._beginnings.is_read(file)

    def _begin(self, found: Found, now_s: float) -> None:
        succession = self.successions.get(found.place)
        if succession is None:
            succession = self._plans.succession(found.place, now_s)
            self.successions[found.place] = succession
        elif succession.files:
            succession.written_ns = os.fstat(succession.files[-1].fd).st_mtime_ns
        if not found.early:
            self.name(succession, found.path)
        path, since_ns = succession.path, succession.written_ns
        for one in succession.files:
            if not one.head:
                one.look_at_head()
        held = [one for one in succession.files if one.head]
        for sibling in self._beginnings.siblings(found.file, found.place, path, self._roots, since_ns, held):
            self._add(succession, sibling.file, now_s, at_start=found.at_start, is_done=sibling.is_done)
        self._add(succession, found.file, now_s, at_start=found.at_start, replaced=found.moved)
        self._ready(succession.files)  # one of them may have waited for its heir

    def _begin_missing(self, path: str, place: str, now_s: float) -> None:
        """There is no file of that name between rename and reopening, or when the runtime ended then."""
        succession = self.successions[place] = self._plans.succession(place, now_s)
        self.name(succession, path)
        for sibling in self._beginnings.siblings_of_missing(place, path, self._selection.roots):
            self._add(succession, sibling.file, now_s, at_start=True, is_done=sibling.is_done)

    def name(self, succession: Succession, path: str) -> None:
        """The name that the log's tag is made of is known; the first one stays."""
        if not succession.path:
            succession.path = path
            self.names.update((file.inode, path) for file in succession.files)
            self._ready(succession.files)

    def _add(
        self,
        succession: Succession,
        opened: OpenFile,
        now_s: float,
        *,
        at_start: bool,
        replaced: bool = False,
        is_done: bool = False,
    ) -> None:
        known = self.files.get((opened.device, opened.inode))
        if known is not None:
            os.close(opened.fd)
            known.replaced |= replaced
            return
        log = LogStream(succession.plan, max_record_bytes=self._plans.max_record_bytes)
        kind = CompressedFile if opened.is_compressed else FollowedFile
        file = kind(opened, succession.place, log, found_s=now_s, grown_s=now_s)
        file.framing = succession.plan.framing
        file.groups = None if self._grouping is None else LineGroups(self._grouping)
        file.replaced, file.is_done = replaced, is_done
        try:
            # Watched first: what is written from here on is told.
            self._events.add(file)
            file.look_at_names()
            self._beginnings.begin(file, succession.path, at_start=at_start)
        except OSError as error:
            self._log.warning("%s is not followed: %s", succession.place, error)
            self._events.leave(file)
            file.close()
            return
        if succession.files or succession.was_rotated:
            self._count("fluentbit_input_files_rotated_total")
        self.files[file.inode] = file
        self.names[file.inode] = succession.path
        succession.files.append(file)
        self._count("fluentbit_input_files_opened_total")
        self._ready((file,))

    def look_for_truncation(
        self, succession: Succession, file: FollowedFile, now_s: float
    ) -> tuple[bool, bool]:
        """Whether the file was truncated, and whether what it had goes on in a copy, read before it."""
        key, head = file.key, file.head
        if not file.is_truncated():
            return False, False
        copy = None if file.is_gone else self._copy_of(succession, file, key, head, now_s)
        self._count("podwitness_tail_files_truncated_total")
        before = f"; what it had before is in {copy.file.real_path}" if copy else ""
        self._log.info("%s was truncated; it is read from its start%s", succession.path, before)
        return True, copy is not None

    def _copy_of(
        self, succession: Succession, file: FollowedFile, key: FileKey, head: bytes, now_s: float
    ) -> FollowedFile | None:
        """The copy that was made of a file before it was truncated, in its place among the log's files."""
        copy = None
        for opened in self._beginnings.copies_of(file, key, succession.path, self._roots):
            self._add(succession, opened, now_s, at_start=False)
            added = self.files.get((opened.device, opened.inode))
            if added is None or added.file is not opened:
                continue
            succession.files.remove(added)
            succession.files.insert(succession.files.index(file), added)
            if copy is None:
                copy = added
                file.continue_in(copy, head)
                self._beginnings.copied(key, head, copy, succession.path)
        return copy

    def leave(
        self, succession: Succession, file: FollowedFile, now_s: float, partials: tuple[int, int] = (-1, -1)
    ) -> None:
        """Nothing of the file will be read any more, or it is to be found again: then `partials` are open."""
        self._events.leave(file)
        if file.damage:
            self._log.warning("%s can't be read to its end: %s", file.file.real_path, file.damage)
            self._count("podwitness_tail_damaged_files_total")
        self._beginnings.finish(file, succession.path, partials)
        if file.is_gone:
            self._gone.append((now_s, file.key))
        else:
            self.left.append(path_of(file.fd))
        del self.files[file.inode], self.names[file.inode]
        succession.files.remove(file)
        succession.written_ns = os.fstat(file.fd).st_mtime_ns
        succession.was_rotated = file.is_rotated
        file.close()
        self._count("fluentbit_input_files_closed_total")
        self._ready(succession.files)

    def replan(self, concerns: Callable[[Succession], bool]) -> None:
        """What is done to records of these is no longer what it was."""
        for succession in self.successions.values():
            if concerns(succession):
                succession.is_planned = False

    def first_look_is_over(self, now_s: float) -> None:
        """All files that were there at the start are known: positions of others are of no use."""
        self._has_looked = True
        for path, place in self._beginnings.missing(self._selection):
            if place not in self.successions:
                self._begin_missing(path, place, now_s)
        self._beginnings.first_look_is_over()
        # Where nothing is there at all, a mount is probably missing.
        if self.files:
            self._beginnings.forget_missing({*self.files, *self._passed_by}, self._selection)
        self._beginnings.forget_listings()
        self._passed_by.clear()

    def forget(self, now_s: float) -> None:
        """Drops what is kept of files and logs that are gone for good."""
        self._passed_by.clear()
        for place, succession in list(self.successions.items()):
            if not succession.files and not os.path.exists(place):
                del self.successions[place]
        while self._gone and self._gone[0][0] + FORGET_S <= now_s:
            _, key = self._gone.popleft()
            if (key.device, key.inode) not in self.files:
                self._beginnings.forget(key)

    def close(self) -> None:
        """Lets go of all files as they are."""
        for file in self.files.values():
            self._events.leave(file)
            file.close()
        self.files.clear()

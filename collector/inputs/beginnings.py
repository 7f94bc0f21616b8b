"""Where reading of a log file begins: at a stored position, at its head, or at its end."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Container

from collector.delivery.chunk import FileKey, Position
from collector.delivery.positions import FOREIGN_DEVICE, Positions
from collector.inputs.follow import FollowedFile
from collector.inputs.tail_open import OpenFile, Refused, open_pinned, pin
from collector.inputs.tail_paths import Selection, rotated_siblings

# Files read to their end and closed though they still have a name: as many as 800 pods keep of rotations.
MAX_FINISHED = 4096


class Beginnings:
    """Decides for each file that is opened.

    A position whose fingerprint fits goes before everything. Without one, a file
    begins at its head, except that files which are there at the very first start
    begin at their end unless Read_from_Head is set. From the second start on a
    file without a position was made while nobody looked: it is read from its head.
    """

    def __init__(self, positions: Positions, *, is_first_start: bool, read_from_head: bool) -> None:
        self._positions = positions
        self._skips_history = is_first_start and not read_from_head
        self._finished: OrderedDict[tuple[int, int], Position] = OrderedDict()
        self._listings: dict[str, list[str]] = {}
        self._inherited: list[tuple[Position, FollowedFile]] = []

    def begin(self, file: FollowedFile, path: str, *, at_start: bool) -> None:
        """Puts the file's offset where reading begins. Raises OSError."""
        stored = self._stored(file)
        if stored is not None:
            file.resume(stored)
        elif at_start and self._skips_history:
            file.start_at_end()
            if file.offset:
                # Recorded now: after a restart the file would else count as new.
                self._positions.record(Position(file.key, path, file.offset))

    def _stored(self, file: FollowedFile) -> Position | None:
        key = FileKey(*file.inode)
        found = self._finished.pop(file.inode, None) or self._positions.load(key)
        if found is None or not file.is_file_of(found.file):
            return None
        return found if os.fstat(file.fd).st_size >= found.offset else None

    def is_read(self, file: OpenFile) -> bool:
        """Whether the file was read to its end before, and closed."""
        finished = self._finished.get((file.device, file.inode))
        return finished is not None and os.fstat(file.fd).st_size == finished.offset

    def finish(self, file: FollowedFile) -> None:
        """The file was read to its end and is closed; if it has a name, it may be met again."""
        if file.is_gone:
            return
        self._finished[file.inode] = Position(file.key, file.place, file.offset)
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)

    def leave_open(self, earlier: FollowedFile, later: FollowedFile) -> None:
        """Records that `earlier` left open go on in `later`."""
        self._inherited.append((Position(earlier.key, earlier.place, earlier.offset), later))

    def close_inherited(self) -> None:
        """Once their records are delivered, files that left some open count as read.

        Without this their last parts would be read again after every restart.
        """
        waiting = []
        for position, heir in self._inherited:
            stored = self._positions.load(FileKey(*heir.inode))
            if max(heir.inherited) < 0 and stored is not None and stored.offset >= heir.inherited_until:
                if self._positions.load(position.file) is not None:
                    self._positions.record(position)
            else:
                waiting.append((position, heir))
        self._inherited = waiting

    def siblings(self, place: str, roots: tuple[str, ...], since_ns: int) -> list[OpenFile]:
        """What `place` was renamed to and still has to be read, open, oldest first.

        These are files with a stored position, and those without one that were
        written since `since_ns` (0: this name is new, and what begins at its end
        has no past). Compressed ones can't be continued.
        """
        directory, name = os.path.split(place)
        found: list[OpenFile] = []
        for other in rotated_siblings(name, self._names_in(directory)):
            path = os.path.join(directory, other)
            with contextlib.suppress(OSError, Refused):  # renamed or compressed meanwhile: met again, or read
                status = os.lstat(path)
                if self._is_unread(status, since_ns):
                    found.append(open_pinned(pin(path), roots))
        return found

    def _is_unread(self, status: os.stat_result, since_ns: int) -> bool:
        inode = status.st_dev, status.st_ino
        if inode in self._finished:
            return False
        stored = self._positions.load(FileKey(*inode))
        if stored is None:
            return status.st_mtime_ns >= since_ns if since_ns else not self._skips_history
        return status.st_size != stored.offset or max(stored.partials) >= 0

    def _names_in(self, directory: str) -> list[str]:
        if directory not in self._listings:
            try:
                self._listings[directory] = sorted(os.listdir(directory))
            except OSError:
                self._listings[directory] = []
        return self._listings[directory]

    def forget_listings(self) -> None:
        """Names of directories are remembered while many files are begun; they may have changed now."""
        self._listings.clear()

    def forget_missing(self, present: Container[tuple[int, int]], selection: Selection) -> None:
        """Drops the positions of files of this input that are not there any more.

        Another input may share the database; its files have names that are not ours.
        """
        for position in self._positions.all():
            inode = position.file.device, position.file.inode
            is_foreign = position.file.device == FOREIGN_DEVICE
            if is_foreign or inode in present or not selection.wants(position.path):
                continue
            if not self._has_name(inode, os.path.realpath(position.path)):
                self._positions.forget(position.file)

    def _has_name(self, inode: tuple[int, int], place: str) -> bool:
        """Whether the file is still there, as `place` or as what that was renamed to."""
        directory, name = os.path.split(place)
        for other in (name, *rotated_siblings(name, self._names_in(directory))):
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(directory, other))
                if (status.st_dev, status.st_ino) == inode:
                    return True
        return False

    def forget(self, key: FileKey) -> None:
        """Drops the position of a file that is gone."""
        self._positions.forget(key)

"""Where reading of a log file begins: at a stored position, at its head, or at its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import NamedTuple

from collector.delivery.chunk import INHERITED, FileKey, Position
from collector.delivery.positions import FOREIGN_DEVICE, Positions
from collector.inputs.follow import FollowedFile, begins_as, head_of, is_file_of
from collector.inputs.tail_open import OpenFile, Refused, open_pinned, path_of, pin
from collector.inputs.tail_paths import COMPRESSED, Selection, is_rotated, log_of, rotated_siblings

# Files read to their end and closed though they still have a name: as many as 800 pods keep of rotations.
MAX_FINISHED = 4096

# For a log that is new, a listing is good for so many times as long as it took: a container that makes file
# after file in one directory takes a twentieth of the time at most.
LISTING_GOOD_FOR = 20

# Generations of a log that are looked at, the youngest. Who can write to the directory could make a million
# such names, each of which would be opened.
MAX_SIBLINGS = 1000

# The copy that was made before a truncation is the youngest, unless there was another since.
COPIES_LOOKED_AT = 3

# Times of files are those of the kernel's last tick, up to 10 ms old.
CLOCK_TICK_NS = 10_000_000


class Sibling(NamedTuple):
    """A renamed file of a log, maybe compressed. `is_done`: what is open at its end was completed in a later
    one."""

    file: OpenFile
    is_done: bool


class _Listing(NamedTuple):
    names: list[str]
    good_until_s: float  # CLOCK_MONOTONIC


class _Look(NamedTuple):
    name: str
    file: OpenFile
    stored: Position | None
    size: int
    written_ns: int


def _generations(name: str, names: Sequence[str]) -> list[str]:
    """What the log was renamed to, as far as it is looked at, oldest first, and the log."""
    return [*rotated_siblings(name, names)[-MAX_SIBLINGS:], name]


def _before(file: OpenFile, names: list[str]) -> list[str] | None:
    """The generations older than a file, which may have been renamed, or compressed and removed, since it was
    opened; None where it is none of them."""
    present = os.path.basename(path_of(file.fd))
    if not os.fstat(file.fd).st_nlink:
        present += COMPRESSED
    return names[: names.index(present)] if present in names else None


def _is_done(look: _Look, later: list[_Look]) -> bool:
    """Whether what is open at the end of a file was completed in a later one, and delivered."""
    if look.stored is not None and look.stored.offset == look.size:
        is_open = [partial != -1 for partial in look.stored.partials]
    else:
        is_open = [True, True]
    for one in later:
        if one.stored is None or not one.stored.offset:
            if one.size:
                return False
            continue
        # See FollowedFile.take_partials.
        pairs = zip(is_open, one.stored.partials, strict=True)
        is_open = [was and partial == INHERITED for was, partial in pairs]
        if not any(is_open):
            return True
        if one.stored.offset < one.size:
            return False
    return False


def _at(key: FileKey, file: OpenFile) -> FileKey:
    """The key of the same content in another file."""
    return replace(key, device=file.device, inode=file.inode)


class Beginnings:
    """Decides for each file that is opened.

    A position whose fingerprint fits goes before everything. Without one, a file
    begins at its head, except that files which are there at the very first start
    begin at their end unless Read_from_Head is set. From the second start on a
    file without a position was made while nobody looked: it is read from its head.
    """

    def __init__(
        self, positions: Positions, source: str = "", *, is_first_start: bool, read_from_head: bool
    ) -> None:
        self._positions = positions
        self._source = source
        self._skips_history = is_first_start and not read_from_head
        self._began_ns = time.time_ns() - CLOCK_TICK_NS
        self._finished: OrderedDict[tuple[int, int], Position] = OrderedDict()
        self._left: OrderedDict[FileKey, Position] = OrderedDict()
        self._listings: dict[str, _Listing] = {}
        self._is_first_look = True
        # As of the start: the inode that a file had before it was compressed is soon another file's.
        self._kept = positions.all()
        self._kept_by_place: dict[str, list[Position]] | None = None

    def begin(self, file: FollowedFile, path: str, *, at_start: bool) -> None:
        """Puts the file's offset where reading begins. Raises OSError."""
        stored = self._stored(file.file, path)
        self._finished.pop(file.inode, None)
        if stored is not None:
            file.resume(stored)
        elif at_start and self._skips_history:
            file.start_at_end()
            if file.offset:
                # Recorded now: after a restart the file would else count as new.
                self._positions.record(Position(file.key, path, file.offset))
        if not file.head:
            # It may be copied and cut off before its first turn: then the copy is known by these bytes.
            file.look_at_head()
        if self._positions.stretches is not None and not file.file.is_compressed:
            file.claim(self._positions.stretches, self._source)

    def _stored(self, file: OpenFile, path: str) -> Position | None:
        """How far this very file was read before, as the log `path`.

        Files may begin alike, and one may have got the other's inode: they are the
        same only if what was read then had this name.
        """
        found = self._finished.get((file.device, file.inode))
        found = found or self._positions.load(FileKey(file.device, file.inode))
        if found is None or not is_file_of(file, found.file):
            return None
        if found.path != path and not _may_have_been(os.path.realpath(found.path), file.real_path):
            return None
        # What a damaged compressed file says of its size is nothing to go by.
        return found if file.is_compressed or file.size >= found.offset else None

    def _stored_before_compression(self, file: OpenFile, place: str, path: str) -> Position | None:
        """How far the file was read when it was not compressed: it had another inode, but began the same."""
        found = [row for row in self._positions_of(place, path) if begins_as(file, row.file)]
        if found:
            # Kept under its new inode at once, before the old one's row is dropped.
            self._keep_in(file, max(found, key=lambda row: row.offset))
        # Read is more than delivered, which is what the next start has to go by.
        left = (row for row in self._left.values() if row.path in (path, place))
        found += [row for row in left if begins_as(file, row.file)]
        if not found:
            return None
        furthest = max(found, key=lambda row: row.offset)
        return replace(furthest, file=_at(furthest.file, file))

    def _keep_in(self, file: OpenFile, delivered: Position) -> Position:
        """Of another file that has the same content now."""
        kept = replace(delivered, file=_at(delivered.file, file))
        self._positions.record(kept)
        self._positions.follow_content(delivered.file, head_of(file), kept.file)
        return kept

    def copies_of(
        self, file: FollowedFile, key: FileKey, path: str, roots: tuple[str, ...]
    ) -> list[OpenFile]:
        """The copy that was made of a file before it was truncated, and those of truncations since.

        Open, oldest first; [] where there is none of what it had, as `key` tells.
        """
        directory, name = os.path.split(file.place)
        present = head_of(file.file)
        found: list[OpenFile] = []
        for other in rotated_siblings(name, self._names_now(directory))[-COPIES_LOOKED_AT:]:
            opened = self._open(os.path.join(directory, other), roots)
            if opened is None:
                continue
            head = head_of(opened)
            is_wanted = key.fits(head) or bool(found)
            is_wanted &= not (present and head.startswith(present)) and self._stored(opened, path) is None
            if is_wanted and (opened.is_compressed or opened.size >= file.offset or found):
                found.append(opened)
            else:
                opened.close()
        return found

    def copied(self, key: FileKey, head: bytes, copy: FollowedFile, path: str) -> None:
        """What was delivered of a file, or will be, is delivered of the copy that was made of it."""
        delivered = self._positions.load(key)
        if delivered is not None and delivered.file.fits(head):
            self._positions.record(replace(delivered, file=copy.key, path=path))
        self._positions.follow_content(key, head, copy.key)

    def _stored_before_copying(
        self, file: OpenFile, place: str, path: str, roots: tuple[str, ...]
    ) -> Position | None:
        """How far the log was read before it was copied into this file and truncated: its first bytes are
        those that the log had then, and has no more."""
        log = self._open(place, roots)
        if log is None:
            return None
        with contextlib.closing(log):
            row = self._positions.load(FileKey(log.device, log.inode))
            is_same = (log.device, log.inode) == (file.device, file.inode)
            if row is None or is_same or row.path not in (path, place):
                return None
            is_copied = row.file.fits(head_of(file)) and file.size >= row.offset
            return self._keep_in(file, row) if is_copied and not row.file.fits(head_of(log)) else None

    def _take_over_stretches(self, file: OpenFile, place: str, roots: tuple[str, ...]) -> None:
        """What was under way of the log before it was copied into this file, and truncated.

        It may have no position: nothing of it was delivered.
        """
        stretches, log = self._positions.stretches, _inode_of(place)
        if stretches is None or log == (file.device, file.inode) or not stretches.has_unclaimed(*log):
            return
        opened, head = self._open(place, roots), head_of(file)
        if opened is None:
            return
        with contextlib.closing(opened):
            present = head_of(opened)
        if head and not (present and head.startswith(present)):
            stretches.follow_content(FileKey(*log), head, FileKey(file.device, file.inode))

    def _positions_of(self, place: str, path: str) -> list[Position]:
        """Of the log's files, as of the start and as they are now."""
        if self._kept_by_place is None:
            self._kept_by_place = {}
            for row in self._kept:
                self._kept_by_place.setdefault(os.path.realpath(row.path), []).append(row)
        now = (row for row in self._positions.all() if row.path in (path, place))
        return [row for row in (*self._kept_by_place.get(place, ()), *now) if row.file.fingerprint_bytes]

    def is_read(self, file: OpenFile) -> bool:
        """Whether the file was read to its end before, and closed."""
        stored = self._stored(file, "") if (file.device, file.inode) in self._finished else None
        return stored is not None and file.size == stored.offset

    def finish(self, file: FollowedFile, path: str, partials: tuple[int, int] = (-1, -1)) -> None:
        """The file is read and will be closed; it may be met again, under its name or compressed.

        `partials`: what is open in it and goes on nowhere else, where it could not be read to its end.
        """
        if not file.head:
            file.look_at_head()
        if not file.head:
            return  # an empty file can't be told from another one that gets its inode
        position = Position(file.key, path, file.offset, partials)
        self._left[file.key] = position
        if not file.is_gone:
            self._finished[file.inode] = position
        for known in (self._finished, self._left):
            if len(known) > MAX_FINISHED:
                known.popitem(last=False)

    def siblings(
        self,
        file: OpenFile,
        place: str,
        path: str,
        roots: tuple[str, ...],
        since_ns: int,
        held: Sequence[FollowedFile] = (),
    ) -> list[Sibling]:
        """What `place`, the file of the log `path`, was renamed to before `file` and is not read yet.

        Open, oldest first. A file that has been renamed itself since it was found
        has only the older ones before it.

        These are files with a stored position, and those without one that were
        written since `since_ns` (0: this name is new; where history is skipped, that
        is what was written before the start). A compressed one was made of a file
        that a stored position or `held` may be of, as its first bytes tell.
        """
        directory, name = os.path.split(place)
        is_new = not since_ns and not held
        names = _generations(name, self._names_in(directory, may_be_old=is_new))
        before = _before(file, names)
        if before is None:
            # Renamed since the listing was made: what it was found as is another file's name by now.
            names = _generations(name, self._names_now(directory))
            before = _before(file, names)
        if before is None or names == [name]:
            return []  # most logs were never renamed: that one is not opened once more
        return self._unread(place, path, roots, names, before, since_ns, held)

    def siblings_of_missing(self, place: str, path: str, roots: tuple[str, ...]) -> list[Sibling]:
        """The same for a log that was renamed and is not there again."""
        directory, name = os.path.split(place)
        names = rotated_siblings(name, self._names_in(directory))[-MAX_SIBLINGS:]
        return self._unread(place, path, roots, names, names, 0, ())

    def missing(self, selection: Selection) -> list[tuple[str, str]]:
        """Name and place of logs that were read before the start and that only renamed files are left of."""
        found = []
        for path in dict.fromkeys(row.path for row in self._kept if row.file.device != FOREIGN_DEVICE):
            place = os.path.realpath(path)
            directory, name = os.path.split(place)
            is_renamed = selection.wants(path) and not os.path.exists(place)
            if is_renamed and rotated_siblings(name, self._names_in(directory)):
                found.append((path, place))
        return found

    def _unread(
        self,
        place: str,
        path: str,
        roots: tuple[str, ...],
        names: Sequence[str],
        before: Sequence[str],
        since_ns: int,
        held: Sequence[FollowedFile],
    ) -> list[Sibling]:
        went_on = any(one.is_heir for one in held)
        looks = (self._look(place, one, path, roots, held) for one in names)
        looked_at = [look for look in looks if look is not None]
        found = []
        for index, look in enumerate(looked_at):
            later = looked_at[index + 1 :]
            is_done = _is_done(look, later)
            # What went on in a file that is held, which may have lost its name since, is not open any more.
            if look.name in before and self._is_unread(look, is_done or went_on, since_ns, later):
                found.append(Sibling(look.file, is_done))
            else:
                os.close(look.file.fd)
        return found

    def _look(
        self, place: str, name: str, path: str, roots: tuple[str, ...], held: Sequence[FollowedFile]
    ) -> _Look | None:
        """None where the file is no log, was renamed meanwhile, or is one that is held, compressed."""
        file = self._open(os.path.join(os.path.dirname(place), name), roots)
        if file is None:
            return None
        stored = self._stored(file, path)
        if not file.is_compressed:
            self._take_over_stretches(file, place, roots)
        if file.is_compressed and stored is None:
            if any(begins_as(file, one.key) for one in held):
                os.close(file.fd)
                return None
            stored = self._stored_before_compression(file, place, path)
        if stored is None:
            stored = self._stored_before_copying(file, place, path, roots)
        return _Look(name, file, stored, file.size, os.fstat(file.fd).st_mtime_ns)

    def _open(self, path: str, roots: tuple[str, ...]) -> OpenFile | None:
        # Between the listing and now it may have been compressed.
        for name in (path, path.removesuffix(COMPRESSED) + COMPRESSED):
            with contextlib.suppress(OSError, Refused):
                return open_pinned(pin(name), roots)
        return None

    def _is_unread(self, look: _Look, is_done: bool, since_ns: int, later: list[_Look]) -> bool:
        if look.stored is None:
            # Files are read in their order: what is older than one that was read was read before. It had no
            # position when nothing of it was whole; then the one after it says that its record is open.
            read_later = next((one.stored for one in later if one.stored and one.stored.offset), None)
            if look.file.is_compressed and read_later and INHERITED not in read_later.partials:
                return False
            return look.written_ns >= (since_ns or (self._began_ns if self._skips_history else 0))
        return look.size != look.stored.offset or (look.stored.partials != (-1, -1) and not is_done)

    def _names_in(self, directory: str, *, may_be_old: bool = False) -> list[str]:
        """Sorted. During the first look a directory is listed once, as many files may lie in it."""
        known = self._listings.get(directory)
        is_good = known is not None and (self._is_first_look or time.monotonic() < known.good_until_s)
        if known is None or not is_good or not (may_be_old or self._is_first_look):
            start_s = time.monotonic()
            names = self._names_now(directory)
            took_s = time.monotonic() - start_s
            known = self._listings[directory] = _Listing(names, start_s + LISTING_GOOD_FOR * took_s)
        return known.names

    def _names_now(self, directory: str) -> list[str]:
        try:
            return sorted(os.listdir(directory))
        except OSError:
            return []

    def forget_listings(self) -> None:
        """The first look is over: directories change from here on."""
        if self._is_first_look:
            self._listings.clear()
        self._is_first_look = False
        now_s = time.monotonic()
        for directory in [one for one, listing in self._listings.items() if listing.good_until_s <= now_s]:
            del self._listings[directory]

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

    def first_look_is_over(self) -> None:
        """Inodes that are given away from here on are those of files that were met."""
        self._kept, self._kept_by_place = (), None


def _inode_of(path: str) -> tuple[int, int]:
    """Device and inode; (0, 0): there is no such file."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return 0, 0


def _may_have_been(place: str, path: str) -> bool:
    """Whether a file of this name may have had the name `place` before it was rotated."""
    directory, name = os.path.split(place)
    plain = path.removesuffix(COMPRESSED)
    is_timed = os.path.dirname(plain) == directory and is_rotated(name, os.path.basename(plain))
    # Path may mean the renamed ones too: then each is known by the name that it had, as of one log.
    return is_timed or path.startswith(place) or log_of(place) == log_of(path)

"""Stretches of files that outputs were given and positions have not passed keep their ids over a restart.

A file beside the position database, of slots of one size, each with a checksum of its own. A slot is
written before its stretch is sent, by a write to the page cache: a kill takes none, a power cut may. At the
next start the tail reads a file in the same stretches first, so the same bytes come again in the same
chunks. A slot is free when a commit has moved the position of its file past it; nothing is erased then,
because what lies before a position counts for nothing. A damaged slot is a free one: its bytes are read in
other stretches.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from collector.delivery.chunk import FileKey, Stretch, chunk_id

SUFFIX = "-stretches"

# More than is under way, unless one of several outputs does not take thousands of small chunks.
SLOTS = 8192

# As much of the end of a stretch as tells it from what else may stand there: a line's time is in it.
LAST_BYTES = 256

# Checksum, sequence, source, device, inode, fingerprint and its bytes, start, end, id, checksum of the last
# bytes, time of reading, whether it was ended, where records began that nothing but a clock ended.
_SLOT = struct.Struct("<IQ8sQQ16sIQQ16sIqB3xqq8x")
SLOT_BYTES = _SLOT.size
_VERSION = 1  # begins the checksum, so that slots of another layout are damaged ones
_NONE = -1

_Place = tuple[int, int]


class _Kept(NamedTuple):
    stretch: Stretch
    slot: int
    sequence: int


class Stretches:
    """The stretches of one position database. Files are few that have any: those with chunks under way."""

    def __init__(self, path: Path, *, log: logging.Logger, slots: int = SLOTS) -> None:
        self.path = path
        self._log = log
        self._is_failing = False
        self._kept: dict[bytes, _Kept] = {}  # by id
        self._of_file: dict[_Place, deque[bytes]] = {}
        self._passed: list[int] = []
        # Of the run before, until their file is found.
        self._unclaimed: dict[_Place, list[tuple[bytes, _Kept]]] = {}
        self._fd = -1  # made when there is something to keep: inputs of other kinds have databases, too
        found = _read(path, slots)
        for source, kept in found:
            self._unclaimed.setdefault(_place(kept.stretch.file), []).append((source, kept))
        taken = {kept.slot for _, kept in found}
        self._free = [slot for slot in reversed(range(slots)) if slot not in taken]
        self._sequence = max((kept.sequence for _, kept in found), default=0)

    def keep(self, stretch: Stretch) -> None:
        """Writes it, if it is not there; without room or where that fails its id is not kept."""
        known = self._kept.get(stretch.id)
        if known is not None and known.stretch.file == stretch.file:
            return
        slot = self._slot() if known is None else known.slot
        if slot is None:
            return
        self._sequence += 1
        if not self._write(_packed(stretch, _hashed(stretch.source), self._sequence), slot):
            if known is None:
                self._free.append(slot)
            return
        if known is not None:
            self._of_file[_place(known.stretch.file)].remove(stretch.id)
        self._kept[stretch.id] = _Kept(stretch, slot, self._sequence)
        self._of_file.setdefault(_place(stretch.file), deque()).append(stretch.id)

    def claim(
        self, source: str, file: FileKey, head: bytes, offset: int, last_of: Callable[[int], int | None]
    ) -> list[Stretch]:
        """What an input had under way of a file that it reads from `offset` on, in the order of the file.

        `last_of` says what the checksum of the bytes before an offset is now, None: there are not so many.
        """
        mine, others = _told_apart(self._unclaimed.pop(_place(file), []), _hashed(source))
        if others:
            self._unclaimed[_place(file)] = others
        good = [
            kept
            for kept in mine
            if kept.stretch.start >= offset
            and kept.stretch.file.fits(head)
            and last_of(kept.stretch.end) == kept.stretch.last
        ]
        chosen = _without_overlaps(good)
        slots = {kept.slot for kept in chosen}
        self._discard(kept.slot for kept in mine if kept.slot not in slots)
        for kept in chosen:
            stretch = replace(kept.stretch, source=source, was_sent=True, keeping=self.keep)
            self._kept[stretch.id] = kept._replace(stretch=stretch)
            self._of_file.setdefault(_place(file), deque()).append(stretch.id)
        return [self._kept[kept.stretch.id].stretch for kept in chosen]

    def give_back(self, stretches: Iterable[Stretch]) -> None:
        """They were claimed and are not read again yet: whoever finds the file next may claim them."""
        for stretch in stretches:
            kept = self._kept.pop(stretch.id, None)
            if kept is not None:
                place = _place(kept.stretch.file)
                self._of_file[place].remove(stretch.id)
                self._unclaimed.setdefault(place, []).append((_hashed(stretch.source), kept))

    def drop(self, stretches: Iterable[Stretch]) -> None:
        """They were claimed, and the file does not make what it made of them."""
        for stretch in stretches:
            kept = self._kept.pop(stretch.id, None)
            if kept is not None:
                self._of_file[_place(kept.stretch.file)].remove(stretch.id)
                self._discard((kept.slot,))

    def follow_content(self, file: FileKey, head: bytes, to: FileKey) -> None:
        """What a file had is in the file `to` now, which begins with `head` and has not been claimed."""
        found = self._unclaimed.pop(_place(file), [])
        moved = [
            (source, kept._replace(stretch=replace(kept.stretch, file=_at(kept.stretch.file, to))))
            for source, kept in found
            if kept.stretch.file.fits(head)
        ]
        if others := [one for one in found if not one[1].stretch.file.fits(head)]:
            self._unclaimed[_place(file)] = others
        for source, kept in moved:
            self._write(_packed(kept.stretch, source, kept.sequence), kept.slot)
            self._unclaimed.setdefault(_place(to), []).append((source, kept))

    def has_unclaimed(self, device: int, inode: int) -> bool:
        """Whether something was under way of a file that has not been found since the start."""
        return (device, inode) in self._unclaimed

    def pass_by(self, file: FileKey, offset: int) -> None:
        """The position of a file has moved, and will be committed."""
        place = _place(file)
        ids = self._of_file.get(place)
        if ids is None:
            return
        while ids and self._kept[ids[0]].stretch.end <= offset:
            self._passed.append(self._kept.pop(ids.popleft()).slot)
        if not ids:
            del self._of_file[place]

    def forget(self, file: FileKey) -> None:
        """The file is gone."""
        for stretch_id in self._of_file.pop(_place(file), ()):
            self._passed.append(self._kept.pop(stretch_id).slot)

    def take_passed(self) -> list[int]:
        """What the next commit will have passed; then to be given to `free`, or back."""
        passed, self._passed = self._passed, []
        return passed

    def free(self, passed: list[int], *, is_committed: bool) -> None:
        if is_committed:
            self._free += passed
        else:
            self._passed += passed

    def close(self) -> None:
        """What is kept stays."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def __len__(self) -> int:
        return len(self._kept)

    def _slot(self) -> int | None:
        """A free one; where there is none, of a file that nobody has found since the start."""
        if not self._free and self._unclaimed:
            self._discard(kept.slot for _, kept in self._unclaimed.pop(next(iter(self._unclaimed))))
        return self._free.pop() if self._free else None

    def _discard(self, slots: Iterable[int]) -> None:
        """They are of other content than what stands there now."""
        for slot in slots:
            self._write(bytes(SLOT_BYTES), slot)
            self._free.append(slot)

    def _write(self, content: bytes, slot: int) -> bool:
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            is_whole = os.pwrite(self._fd, content, slot * SLOT_BYTES) == SLOT_BYTES
        except OSError as reason:
            if not self._is_failing:
                self._log.warning(
                    "%s can't be written (%s): chunks that are under way when podwitness ends come again "
                    "under other ids",
                    self.path,
                    reason,
                )
            self._is_failing = True
            return False
        self._is_failing = False
        return is_whole


def last_bytes_of(fd: int, end: int) -> int | None:
    """The checksum of a file's last bytes before an offset; None: it has not so many, or can't be read."""
    wanted = min(LAST_BYTES, end)
    with contextlib.suppress(OSError):
        found = os.pread(fd, wanted, end - wanted)
        return zlib.crc32(found) if len(found) == wanted else None
    return None


def _read(path: Path, slots: int) -> list[tuple[bytes, _Kept]]:
    """Hash of the source, and the stretch; of what can't be read, none."""
    try:
        with path.open("rb") as file:
            content = file.read(slots * SLOT_BYTES)
    except OSError:
        return []
    whole = len(content) // SLOT_BYTES
    found = (_unpacked(content[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES], slot) for slot in range(whole))
    return [one for one in found if one is not None]


def _packed(stretch: Stretch, source: bytes, sequence: int) -> bytes:
    file = stretch.file
    first, second = (*stretch.began, _NONE, _NONE)[:2]
    fields = (
        sequence,
        source,
        file.device,
        file.inode,
        file.fingerprint,
        file.fingerprint_bytes,
        stretch.start,
        stretch.end,
        stretch.id,
        stretch.last,
        stretch.now_ns,
        stretch.ended,
        first,
        second,
    )
    content = _SLOT.pack(0, *fields)
    return _checksum(content).to_bytes(4, "little") + content[4:]


def _unpacked(content: bytes, slot: int) -> tuple[bytes, _Kept] | None:
    """None: it is empty, or damaged."""
    checksum, sequence, source, device, inode, fingerprint, fingerprint_bytes, *rest = _SLOT.unpack(content)
    if not sequence or checksum != _checksum(content):
        return None
    start, end, stretch_id, last, now_ns, ended, *began = rest
    file = FileKey(device, inode, fingerprint, fingerprint_bytes)
    offsets = tuple(one for one in began if one != _NONE)
    stretch = Stretch("", file, start, end, last, stretch_id, now_ns, bool(ended), offsets)
    return source, _Kept(stretch, slot, sequence)


def _checksum(content: bytes) -> int:
    return zlib.crc32(content[4:], _VERSION)


def _without_overlaps(found: list[_Kept]) -> list[_Kept]:
    """In the order of the file; of two that can't both be, the one that was written later."""
    chosen: list[_Kept] = []
    for kept in sorted(found, key=lambda one: (one.stretch.start, one.stretch.end, one.sequence)):
        while chosen and chosen[-1].stretch.end > kept.stretch.start and chosen[-1].sequence < kept.sequence:
            chosen.pop()
        if not chosen or chosen[-1].stretch.end <= kept.stretch.start:
            chosen.append(kept)
    return chosen


def _told_apart(
    found: list[tuple[bytes, _Kept]], source: bytes
) -> tuple[list[_Kept], list[tuple[bytes, _Kept]]]:
    """Those of one source, and the others."""
    return [kept for of, kept in found if of == source], [one for one in found if one[0] != source]


@functools.lru_cache
def _hashed(source: str) -> bytes:
    return chunk_id(source)[:8]


def _at(key: FileKey, to: FileKey) -> FileKey:
    return replace(key, device=to.device, inode=to.inode)


def _place(file: FileKey) -> _Place:
    return file.device, file.inode

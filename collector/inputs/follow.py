"""One log file that is followed: what it is, how far it is read, whether it has come to its end."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import NamedTuple

from collector.delivery.chunk import FileKey, Position
from collector.inputs.tail_open import OpenFile, path_of
from collector.native.files import has_writer, read
from collector.native.logs import LogBatch, LogStream

FINGERPRINT_BYTES = 1024
# Where reading begins at the end, it begins behind a newline; a line longer than this is cut instead.
LAST_LINE_BYTES = 64 << 10


def fingerprint(head: bytes) -> bytes:
    """BLAKE2b-128 of the first bytes of a file."""
    return hashlib.blake2b(head, digest_size=16).digest()


def is_file_of(file: OpenFile, key: FileKey) -> bool:
    """Whether the key was made of this file, and not of another that had its inode before."""
    if (key.device, key.inode) != (file.device, file.inode):
        return False
    return not key.fingerprint_bytes or key.fingerprint == fingerprint(
        os.pread(file.fd, key.fingerprint_bytes, 0)
    )


class Portion(NamedTuple):
    """What was read in one go: entries, from where to where, and what was odd about it."""

    entries: bytes
    records: int
    from_offset: int
    to_offset: int
    unparsed: int
    cut: int
    cut_bytes: int
    at_end: bool  # all that the file had


def _portion(batch: LogBatch, start: int, end: int, *, at_end: bool) -> Portion:
    return Portion(
        batch.entries, batch.records, start, end, batch.unparsed, batch.cut, batch.cut_bytes, at_end
    )


@dataclass(slots=True, eq=False)
class FollowedFile:
    """`place` is the name it was found under, links resolved; `offset` is what was read and encoded."""

    file: OpenFile
    place: str
    log: LogStream
    offset: int = 0
    head: bytes = b""
    wd: int = -1
    truncations: int = 0
    resumed: Position | None = None
    has_begun: bool = False  # something of it was read in this run
    is_done: bool = False  # what is open at its end is known to be complete
    inherited: tuple[int, int] = (
        -1,
        -1,
    )  # partials that the file before this one left open, as offsets there
    inherited_lines: bytes = b""
    is_only_heir: bool = False  # where the inherited began can't be read again
    found_s: float = 0.0  # CLOCK_MONOTONIC, as all that follow
    is_ready: bool = False  # waits for its turn
    is_read: bool = False  # nothing more was there at the last look
    is_rotated: bool = False  # has, or had when it was unlinked, another name than `place`
    is_gone: bool = False  # has no name any more
    replaced: bool = False  # it was renamed over the file before it
    was_closed: bool = False  # by a writer, since the last look
    final_s: float = 0.0  # when it was found final, 0: not yet
    grown_s: float = 0.0  # when it last was found grown

    @property
    def fd(self) -> int:
        return self.file.fd

    @property
    def inode(self) -> tuple[int, int]:
        return self.file.device, self.file.inode

    @property
    def key(self) -> FileKey:
        return FileKey(self.file.device, self.file.inode, fingerprint(self.head), len(self.head))

    def resume(self, position: Position) -> None:
        self.look_at_head()
        self.resumed = position
        self.offset = self.log.resume(position)

    def start_at_end(self) -> None:
        """Behind the last whole line."""
        self.look_at_head()
        size = os.fstat(self.fd).st_size
        last = os.pread(self.fd, LAST_LINE_BYTES, max(0, size - LAST_LINE_BYTES))
        newline = last.rfind(b"\n")
        self.offset = size if newline < 0 and len(last) == LAST_LINE_BYTES else size - len(last) + newline + 1
        self.log.resume(Position(self.key, self.place, self.offset))

    def look_at_head(self) -> bool:
        """Whether the file still begins as it did; more of it is remembered while it is short."""
        head = os.pread(self.fd, FINGERPRINT_BYTES, 0)
        same = head.startswith(self.head)
        if len(head) > len(self.head) or not same:
            self.head = head
        return same

    def is_truncated(self) -> bool:
        """Whether it was cut off or written anew in place, so that reading has to begin at 0.

        A file that was truncated and has grown beyond the offset with the same
        first 1024 bytes can't be told from one that only grew.
        """
        if os.fstat(self.fd).st_size < self.offset:
            return True
        return not self.look_at_head()

    def read_portion(self, now_ns: int, *, end: bool = False) -> Portion:
        """Reads a portion (collector.native.logs), moves the offset. Raises OSError, MemoryError."""
        start = self.offset
        batch, at_end = read(self.log, self.fd, start, now_ns, end=end)
        self.offset += batch.consumed
        self.has_begun |= batch.consumed > 0
        return _portion(batch, start, self.offset, at_end=at_end)

    def close_open_records(self, now_ns: int) -> Portion:
        """Nothing follows what is open: parts that were read become records."""
        batch = self.log.encode(b"", self.offset, now_ns, end=True)
        return _portion(batch, self.offset, self.offset, at_end=True)

    def begin_anew(self) -> None:
        """After a truncation: from the start, with nothing open."""
        self.offset = 0
        self.head = b""
        self.look_at_head()
        self.truncations += 1
        self.inherited = (-1, -1)
        self.log.resume(Position(self.key, self.place, 0))

    def inherit(self, earlier: FollowedFile) -> None:
        """Goes on with the records that the file before this one left open.

        Read in part before a restart, it only takes those that it had not completed.
        """
        taken = (True, True)
        if self.resumed is not None and self.resumed.offset:
            taken = (self.resumed.partials[0] == 0, self.resumed.partials[1] == 0)
        self.inherited_lines = earlier.open_lines(taken)
        self.log.encode(self.inherited_lines, 0, 0)
        self.inherited = self.log.partials
        is_lost = earlier.is_gone or (earlier.is_only_heir and max(earlier.inherited) >= 0)
        self.is_only_heir = is_lost and bool(self.inherited_lines)

    def open_lines(self, wanted: tuple[bool, bool]) -> bytes:
        """The CRI lines of the records that are open, on stdout and on stderr if wanted."""
        kept = []
        for stream, is_wanted, now, then in zip(
            (b"stdout", b"stderr"), wanted, self.log.partials, self.inherited, strict=True
        ):
            if now < 0 or not is_wanted:
                continue
            start = 0 if now == then else now
            lines = os.pread(self.fd, self.offset - start, start)
            before = self.inherited_lines if now == then else b""
            kept += [
                line for line in (before + lines).splitlines(True) if line.split(b" ", 2)[1:2] == [stream]
            ]
        return b"".join(kept)

    def take_partials(self) -> tuple[int, int]:
        """Where open records began, as of the last portion; of an inherited one, 0."""
        stdout, stderr = (
            0 if -1 < now == then else now
            for now, then in zip(self.log.partials, self.inherited, strict=True)
        )
        still = (self.inherited[0] if stdout == 0 else -1, self.inherited[1] if stderr == 0 else -1)
        if still != self.inherited:
            self.inherited = still
            self.inherited_lines = self.inherited_lines if max(still) >= 0 else b""
        return stdout, stderr

    def look_at_names(self) -> None:
        """Whether it was renamed or unlinked."""
        self.is_gone = os.fstat(self.fd).st_nlink == 0
        self.is_rotated = path_of(self.fd) != self.place

    def goes_on_in(self, later: FollowedFile) -> bool:
        """Whether one writer went from this file to that one. After a plain deletion it is another writer."""
        return self.is_rotated or later.replaced

    def is_final(self, now_s: float, rotate_wait_s: float) -> bool:
        """Whether nobody can write to it any more: renamed or unlinked, and no writer has it open.

        Where writers can't be seen, a file that did not grow for Rotate_Wait is final.
        """
        if not (self.is_gone or self.is_rotated):
            return False
        written = has_writer(self.fd)
        return now_s - self.grown_s >= rotate_wait_s if written is None else not written

    @property
    def has_rest(self) -> bool:
        """Whether an unterminated line stands at the end."""
        return os.fstat(self.fd).st_size > self.offset

    @property
    def has_open_records(self) -> bool:
        return max(self.log.partials) >= 0

    def close(self) -> None:
        os.close(self.fd)
        self.log.close()

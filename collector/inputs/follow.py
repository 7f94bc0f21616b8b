"""One log file that is followed: what it is, how far it is read, whether it has come to its end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from collector.delivery.chunk import INHERITED, FileKey, Position, Stretch, chunk_id, fingerprint
from collector.delivery.stretches import Stretches, last_bytes_of
from collector.inputs import tail_gzip
from collector.inputs.portion import Portion
from collector.inputs.read_again import read_again
from collector.inputs.tail_groups import LineGroups, Regrouped
from collector.inputs.tail_open import OpenFile, path_of
from collector.inputs.vanishing import Vanishing
from collector.native.files import has_writer, read
from collector.native.logs import LogBatch, LogStream
from collector.plan import Framing

FINGERPRINT_BYTES = 1024
# Where reading begins at the end, it begins behind a newline; a line longer than this is cut instead.
LAST_LINE_BYTES = 64 << 10
# Lines that a record inherits are encoded as if they stood here, where no line of the file can be.
INHERITED_AT = 1 << 62
# Of the lines of an open record that a rotation hands on; the record itself is bounded far below.
MAX_INHERITED_BYTES = 16 << 20
PIECE_BYTES = 256 << 10


def is_file_of(file: OpenFile, key: FileKey) -> bool:
    """Whether the key was made of this file, and not of another that had its inode before."""
    if (key.device, key.inode) != (file.device, file.inode):
        return False
    return not key.fingerprint_bytes or begins_as(file, key)


def begins_as(file: OpenFile, key: FileKey) -> bool:
    """Whether the file's first bytes, uncompressed, are those that the key was made of."""
    return key.fingerprint == fingerprint(head_of(file, key.fingerprint_bytes))


def head_of(file: OpenFile, count: int = FINGERPRINT_BYTES) -> bytes:
    """The file's first bytes, uncompressed."""
    return tail_gzip.head(file.fd, count) if file.is_compressed else os.pread(file.fd, count, 0)


@dataclass(slots=True, eq=False)
class FollowedFile:
    """`place` is the name it was found under, links resolved; `offset` is what was read and encoded."""

    file: OpenFile
    place: str
    log: LogStream
    framing: Framing = Framing.CRI_JOINED
    groups: LineGroups | None = None
    offset: int = 0
    head: bytes = b""
    wd: int = -1
    truncations: int = 0
    resumed: Position | None = None
    handed_over: Position | None = None  # behind the last portion that was
    has_begun: bool = False  # something of it was read in this run
    is_heir: bool = False  # what was open before it goes on, or went on, in this one
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
    is_given_up: bool = False  # what is read of it is lost
    replaced: bool = False  # it was renamed over the file before it
    was_closed: bool = False  # by a writer, since the last look
    final_s: float = 0.0  # when it was found final, 0: not yet
    vanishing: Vanishing = field(init=False)
    grown_s: float = 0.0  # when it last was found grown
    damage: str = ""  # why it can't be read to its end
    looked_s: float = 0.0  # when the present read began
    turned_s: float = 0.0  # when it last had its turn, whether or not it was read
    carried: bytes = b""  # entries of inherited lines that are whole
    carried_records: int = 0
    stretches: Stretches | None = None
    again: list[Stretch] = field(default_factory=list)  # to be read before all else
    _key: FileKey | None = field(default=None, init=False)  # as of `_key_head`, asked for with each portion
    _key_head: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self.vanishing = Vanishing(self.file.fd, self.place)

    @property
    def fd(self) -> int:
        return self.file.fd

    @property
    def inode(self) -> tuple[int, int]:
        return self.file.device, self.file.inode

    @property
    def key(self) -> FileKey:
        if self._key is None or self._key_head is not self.head:
            self._key_head = self.head
            self._key = FileKey(self.file.device, self.file.inode, fingerprint(self.head), len(self.head))
        return self._key

    @property
    def partials(self) -> tuple[int, int]:
        """File offset of the first line of what is open on stdout and on stderr, -1: nothing.

        A record of several lines begins before any part of its last line.
        """
        if self.groups is None:
            return self.log.partials
        (first, second), (stdout, stderr) = self.groups.starts, self.log.partials
        return first if first >= 0 else stdout, second if second >= 0 else stderr

    @property
    def joins(self) -> bool:
        """Whether a record may go on in the next file."""
        return self.framing.joins or self.groups is not None

    @property
    def unread_bytes(self) -> int:
        """How much there is to read, about."""
        return os.fstat(self.fd).st_size - self.offset

    def resume(self, position: Position) -> None:
        self.look_at_head()
        self.resumed, self.is_heir = position, position.offset > 0
        # What was inherited goes on at the first line here.
        stdout, stderr = (0 if one == INHERITED else one for one in position.partials)
        self.offset = self.log.resume(replace(position, partials=(stdout, stderr)))

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
        if self.again and (portion := read_again(self, now_ns)) is not None:
            return portion
        start = self.offset
        batch, at_end = self._read_batch(now_ns, end=end)
        self.move_behind(batch)
        return self.portion(batch, start, now_ns, at_end=at_end, is_last=at_end and end)

    def move_behind(self, batch: LogBatch) -> None:
        """What was encoded was read."""
        self.offset += batch.consumed
        self.has_begun |= batch.consumed > 0
        if batch.consumed and not self.head:
            self.look_at_head()  # written to since it was found empty: its position needs a fingerprint

    def _read_batch(self, now_ns: int, *, end: bool) -> tuple[LogBatch, bool]:
        """What can be read at the offset in one go, and whether that was all."""
        return read(self.log, self.fd, self.offset, now_ns, end=end)

    def close_open_records(self, now_ns: int) -> Portion:
        """Nothing follows what is open: parts that were read become records."""
        batch = self.log.encode(b"", self.offset, now_ns, end=True)
        return self.portion(batch, self.offset, now_ns, at_end=True, is_last=True)

    def close_overdue_records(self, now_s: float) -> Portion:
        """Records of several lines that have waited for their next line as long as they may."""
        if self.groups is None or self.again:
            return self._ended_by_time(Regrouped())
        return self._ended_by_time(self.groups.flush_overdue(now_s))

    def close_records_begun(self, began: tuple[int, ...]) -> Portion:
        """Those of several lines that began there, which had waited long enough in the run before."""
        return self._ended_by_time(Regrouped() if self.groups is None else self.groups.flush_begun(began))

    def _ended_by_time(self, ended: Regrouped) -> Portion:
        at = self.offset
        portion = Portion(ended.entries, ended.records, at, at, 0, ended.cut, ended.cut_bytes, True)
        return portion._replace(began=ended.began)

    def stretch_of(
        self, portion: Portion, source: str, key: FileKey, behind: int, *, is_divided: bool
    ) -> Stretch | None:
        """What a portion was read of, for a restart; None where that is not kept.

        Its id says where the records come from, so that it is the same for the same bytes.
        """
        if self.stretches is None:
            return None
        if portion.again is not None:
            was = portion.again.file
            is_same = (was.device, was.inode) == self.inode
            return portion.again if is_same else replace(portion.again, file=key)
        # After a restart reading begins at an open record, before what was delivered.
        start, end = max(behind, portion.from_offset), portion.to_offset
        last = last_bytes_of(self.fd, end)
        if last is None:
            return None
        place = chunk_id(
            source, *self.inode, key.fingerprint, self.truncations, start, end, last, *portion.began
        )
        return Stretch(
            source,
            key,
            start,
            end,
            last,
            place,
            portion.now_ns,
            portion.ended,
            portion.began,
            behind,
            self.truncations,
            is_divided,
            keeping=self.stretches.keep,
        )

    def claim(self, stretches: Stretches, source: str) -> None:
        """From now on its stretches are kept there; what was under way of it is read first."""
        self.stretches = stretches
        offset = self.resumed.offset if self.resumed else self.offset
        look = partial(last_bytes_of, self.fd)
        self.again.extend(stretches.claim(source, self.key, self.head, offset, look))

    def drop_stretches(self) -> None:
        """What is left of them is not what was under way."""
        if self.stretches is not None:
            self.stretches.drop(self.again)
        self.again.clear()

    def portion(
        self, batch: LogBatch, start: int, now_ns: int, *, at_end: bool, is_last: bool = False
    ) -> Portion:
        """What was encoded from an offset on; `is_last`: nothing follows it."""
        portion = Portion(
            batch.entries,
            batch.records,
            start,
            self.offset,
            batch.unparsed,
            batch.cut,
            batch.cut_bytes,
            at_end,
            batch.skipped,
            batch.skipped_bytes,
            now_ns=now_ns,
            ended=is_last,
        )
        return portion if self.groups is None else self._regrouped(portion, self.groups, is_last=is_last)

    def _regrouped(self, portion: Portion, groups: LineGroups, *, is_last: bool) -> Portion:
        taken = groups.take(bytes(portion.entries), self.looked_s)
        rest = groups.flush() if is_last else Regrouped()
        entries, records = self.carried, self.carried_records
        self.carried, self.carried_records = b"", 0
        return portion._replace(
            entries=entries + taken.entries + rest.entries,
            records=records + taken.records + rest.records,
            cut=portion.cut + taken.cut + rest.cut,
            cut_bytes=portion.cut_bytes + taken.cut_bytes + rest.cut_bytes,
        )

    def begin_anew(self) -> None:
        """After a truncation: from the start, with nothing open."""
        self.drop_stretches()
        self.offset = 0
        self.head = b""
        self.look_at_head()
        self.truncations += 1
        self.inherited, self.inherited_lines, self.is_only_heir = (-1, -1), b"", False
        self.resumed = self.handed_over = None
        self.has_begun = False
        self.log.resume(Position(self.key, self.place, 0))

    def cut_off(self) -> None:
        """What was read of it before a truncation is nowhere else: chunks under way can't be read again."""
        self.vanishing.is_cut_off = True
        self.vanishing = Vanishing(self.fd, self.place)

    def continue_in(self, copy: FollowedFile, head: bytes) -> None:
        """What this file had, `head` first, is in `copy` now: that goes on here, open records and all.

        To be called before `begin_anew`.
        """
        copy.head, copy.offset, copy.has_begun = head, self.offset, self.has_begun
        copy.log, self.log = self.log, copy.log
        copy.groups, self.groups = self.groups, copy.groups
        copy.again, self.again = self.again, copy.again
        copy.inherited, copy.inherited_lines = self.inherited, self.inherited_lines
        copy.is_heir, copy.is_only_heir = self.is_heir, self.is_only_heir
        copy.carried, self.carried = self.carried, b""
        copy.carried_records, self.carried_records = self.carried_records, 0
        for name in ("resumed", "handed_over"):
            position: Position | None = getattr(self, name)
            setattr(copy, name, position and replace(position, file=copy.key))

    def inherit(self, earlier: FollowedFile) -> None:
        """Goes on with the records that the file before this one left open.

        Read in part before a restart, it only takes those that it had not completed.
        """
        taken = (True, True)
        if self.resumed is not None and self.resumed.offset:
            taken = (self.resumed.partials[0] == INHERITED, self.resumed.partials[1] == INHERITED)
        self.is_heir = True
        self.inherited_lines = earlier.open_lines(taken)
        batch = self.log.encode(self.inherited_lines, INHERITED_AT, 0)
        if self.groups is not None:
            # Whole lines of a record that is not: they go out with what is read next.
            grouped = self.groups.take(bytes(batch.entries), earlier.looked_s)
            self.carried, self.carried_records = grouped.entries, grouped.records
        self.inherited = self.partials
        is_lost = earlier.is_gone or (earlier.is_only_heir and max(earlier.inherited) >= 0)
        self.is_only_heir = is_lost and bool(self.inherited_lines)

    def open_lines(self, wanted: tuple[bool, bool]) -> bytes:
        """The lines of the records that are open, on stdout and on stderr if wanted."""
        kept: list[bytes] = []
        for stream, (is_wanted, now, then) in enumerate(
            zip(wanted, self.partials, self.inherited, strict=True)
        ):
            if now < 0 or not is_wanted:
                continue
            before = self.inherited_lines if now == then else b""
            lines = chain(_lines((before,)), _lines(self._pieces(0 if now == then else now)))
            kept += self._of_stream(lines, stream)
        return b"".join(kept)

    def _of_stream(self, lines: Iterable[bytes], stream: int) -> Iterator[bytes]:
        taken = 0
        for line in lines:
            if stream_of(line, self.framing) == stream and taken < MAX_INHERITED_BYTES:
                taken += len(line)
                yield line

    def _pieces(self, start: int) -> Iterator[bytes]:
        """What was read from there on."""
        while start < self.offset and (
            piece := os.pread(self.fd, min(PIECE_BYTES, self.offset - start), start)
        ):
            start += len(piece)
            yield piece

    def take_partials(self) -> tuple[int, int]:
        """Where open records began, as of the last portion; INHERITED where it was in an earlier file."""
        stdout, stderr = (
            INHERITED if -1 < now == then else now
            for now, then in zip(self.partials, self.inherited, strict=True)
        )
        still = (
            self.inherited[0] if stdout == INHERITED else -1,
            self.inherited[1] if stderr == INHERITED else -1,
        )
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
        return max(self.partials) >= 0

    def close(self) -> None:
        if self.stretches is not None:
            self.stretches.give_back(self.again)
        self.vanishing.closing()
        os.close(self.fd)
        self.log.close()
        if self.groups is not None:
            self.groups.close()


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines with their newlines; other line ends are content."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in lines)


def stream_of(line: bytes, framing: Framing) -> int:
    """Which stream a whole line is of: 0 stdout, 1 stderr, -1 none; where there are no streams, 0."""
    if not framing.joins:
        return 0
    name: object = line.split(b" ", 2)[1:2]
    if line.startswith(b"{") and framing is not Framing.CRI_JOINED:
        try:
            parsed = json.loads(line)
            name = [str(parsed.get("stream")).encode()]
        except (ValueError, AttributeError, RecursionError):
            return -1
    return 0 if name == [b"stdout"] else 1 if name == [b"stderr"] else -1

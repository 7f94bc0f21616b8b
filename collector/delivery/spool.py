"""What waits on disk for outputs that can't take it: one SQLite database in WAL mode below `storage.path`.

A chunk is stored once; a row for each output that still waits for it. A chunk, its
rows and the file positions that it covers are one transaction, so that after a
crash at any point either the spool has the chunk and the position says so, or
neither. Rows are numbered in the order of writing; an output gets its own in that
order.

Nothing here waits or knows the event loop: one thread at a time calls these
methods, which raise sqlite3.Error (disk full, input/output error). A damaged
database is kept aside and begun anew (`SpoolDamaged` tells that it has happened).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from collector.delivery.chunk import Chunk, Position, Worth
from collector.delivery.database import position_of, position_row, set_aside
from collector.delivery.losses import Loss, Losses, Untold, row_loss, unpacked
from collector.delivery.reserve import Reserve
from collector.delivery.spool_rows import (
    ROW_BYTES,
    ROWS_AT_ONCE,
    SUBJECT,
    Addition,
    Content,
    Dropped,
    Found,
    Kept,
    Place,
    Stored,
    Written,
    chunk_of,
    dropped_of,
    packed_tag,
    refused,
    tag_of,
    wall_clock_ns,
)
from collector.delivery.spool_schema import SpoolUnusable, create, not_opened, read_through

FILE_NAME = "podwitness-spool.db"
_ADD = (
    "INSERT INTO chunks (id, tag, source, records, worth, created_ns, raw_bytes, path, to_offset, checksum, "
    "entries) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CONTENTS = (
    "SELECT w.output, c.tag, c.source, count(*), sum(c.records), sum(w.size_bytes) "
    "FROM waiting w JOIN chunks c ON c.seq = w.seq GROUP BY 1, 2, 3"
)

# Chunks are large: with pages of 32 KiB instead of 4 writing takes half of the CPU (bench spool_write).
PAGE_BYTES = 32 << 10
# The write-ahead log is merged into the database, which is when the disk is waited for, at this size.
LOG_PAGES = 256

# Removing changes a page or two for each row, and what was removed before may have to be merged.
RESERVE_NAME = "podwitness-spool.reserve"
RESERVE_BYTES = 8 << 20

# A spool that is emptied gives pages back to the file system in steps of 4 MiB, not all in one pause.
VACUUM_PAGES = 128

# The process before this one may just be ending.
BUSY_S = 5.0


class SpoolDamaged(Exception):
    """The database was damaged: it is kept at `aside`, and a new one is begun. What it had is lost."""

    def __init__(self, aside: Path, reason: Exception) -> None:
        super().__init__(f"the spool is damaged ({reason}); it was kept as {aside}, a new one is begun")
        self.aside = aside


class Spool:
    """Raises SpoolUnusable when made. `used_bytes` by output, `last_seq` the last row ever."""

    def __init__(
        self, folder: Path, *, log: logging.Logger, full_sync: bool = False, checksum: bool = False
    ) -> None:
        self.path = folder / FILE_NAME
        self.used_bytes: Counter[str] = Counter()
        self._reserve = Reserve(folder / RESERVE_NAME, RESERVE_BYTES)
        self._log = log
        self._full_sync = full_sync
        self._checksum = checksum
        self.last_seq = 0
        self.damaged: Path | None = None  # what was found at the start, and could not be read
        self._damage: sqlite3.DatabaseError | None = None  # until a new one is begun
        self._aside: Path | None = None  # where that one is
        self._losses: dict[str, bytes] = {}  # as the table has them
        self._database = self._open()
        self._losses = dict(self._database.execute("SELECT listener, untold FROM losses").fetchall())
        for content in self.contents():
            self.used_bytes[content.output] += content.size_bytes

    # What is kept

    def write(
        self,
        additions: Sequence[Addition],
        *,
        done: Sequence[tuple[str, int]] = (),
        places: Mapping[str, Place],
        untold: Mapping[str, Untold] | None = None,
    ) -> Written:
        """Adds chunks, removes rows that are delivered and what is beyond the bounds, all or nothing.

        With the removal of what is beyond goes that it is to be told, beside what is `untold`.
        Beyond a bound is at most what that output is just sending; everything else goes before.
        Nothing is added without a reserve, so that a disk which the spool has filled can be
        emptied again.
        """
        if additions:
            self._take_reserve()
        used = Counter(self.used_bytes)
        dropped: list[Dropped] = []
        kept_losses: dict[str, bytes] = {}

        def work() -> tuple[Kept, ...]:
            self._remove(done, used)
            bounds = dict(places)
            added = tuple(self._add(one, bounds, used, dropped) for one in additions)
            for output, place in bounds.items():
                self._trim(output, place, used, dropped)
            if untold is not None:
                lost = Losses(row_loss(row, "storage_limit") for row in dropped)
                kept_losses.update(self._keep_losses(untold, lost))
            return added

        try:
            kept = self._transaction(work)
        except sqlite3.OperationalError:
            if additions or not self._reserve.give_up():
                raise
            used = Counter(self.used_bytes)
            dropped.clear()
            kept = self._transaction(work)
        self.used_bytes = used
        if untold is not None:
            self._losses = kept_losses
        return Written(kept, tuple(dropped))

    def _keep_losses(self, untold: Mapping[str, Untold], lost: Losses) -> dict[str, bytes]:
        """By listener, what is to be told after all memory was lost."""
        losses = {name: one.plus(lost.rows()).packed() for name, one in untold.items()}
        for name in set(self._losses) - set(losses):
            self._database.execute("DELETE FROM losses WHERE listener = ?", (name,))
        for name, rows in losses.items():
            if self._losses.get(name) != rows:
                self._database.execute("INSERT OR REPLACE INTO losses VALUES (?, ?)", (name, rows))
        return losses

    def losses(self) -> dict[str, Untold]:
        """What was not told, by the output that would have been. One that has an entry was there before."""
        return {name: unpacked(rows) for name, rows in self._losses.items()}

    def has_losses(self, untold: Mapping[str, Untold]) -> bool:
        """Whether just these are kept."""
        return {name: one.packed() for name, one in untold.items()} == self._losses

    def _take_reserve(self) -> None:
        """Raises sqlite3.OperationalError where the disk has no room for it."""
        has_more = True
        while True:
            try:
                self._reserve.take()
                return
            except OSError as reason:
                if not has_more:
                    problem = f"disk is full ({reason.strerror}), there is no reserve for removing"
                    raise sqlite3.OperationalError(problem) from reason
            # Free pages within the file are of no use to it.
            has_more = self.shrink()

    def _add(
        self, added: Addition, places: dict[str, Place], used: Counter[str], dropped: list[Dropped]
    ) -> Kept:
        size_bytes = len(added.chunk.entries) + ROW_BYTES
        keeping = []
        for output in added.outputs:
            if added.must or self._make_room(
                output, places[output], size_bytes, added.chunk.worth, used, dropped
            ):
                keeping.append(output)
            else:
                dropped.append(refused(added.chunk, output, size_bytes))
        seq = self._insert(added.chunk) if keeping else 0
        for output in keeping:
            row = (output, seq, added.chunk.worth, size_bytes)
            self._database.execute("INSERT INTO waiting VALUES (?, ?, ?, ?)", row)
            used[output] += size_bytes
            if added.must:
                places[output] = places[output].keeping(seq)
        self._database.executemany(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(source, self.last_seq, *position_row(position)) for source, position in added.positions],
        )
        return Kept(seq, tuple(keeping))

    def _insert(self, chunk: Chunk) -> int:
        path, to_offset = (chunk.position.path, chunk.position.offset) if chunk.position else ("", -1)
        inserted = self._database.execute(
            _ADD,
            (
                chunk.id,
                packed_tag(chunk.tag),
                chunk.source,
                chunk.records,
                chunk.worth,
                wall_clock_ns(chunk),
                chunk.raw_bytes,
                os.fsencode(path),
                to_offset,
                zlib.crc32(chunk.entries) if self._checksum else None,
                chunk.entries,
            ),
        )
        assert inserted.lastrowid is not None
        self.last_seq = inserted.lastrowid
        return inserted.lastrowid

    def _make_room(
        self,
        output: str,
        place: Place,
        size_bytes: int,
        worth: Worth,
        used: Counter[str],
        dropped: list[Dropped],
    ) -> bool:
        """Drops rows of no more worth, least and oldest first, until there is room. False: there is none."""
        excess = used[output] + size_bytes - place.limit_bytes
        victims = self._victims(output, place, worth, excess, sys.maxsize)
        if sum(victim.size_bytes for victim in victims) < excess:
            return False
        self._drop(output, victims, used, dropped)
        return True

    def _trim(self, output: str, place: Place, used: Counter[str], dropped: list[Dropped]) -> None:
        """Drops some of what is beyond the bound: that was larger, or was passed by what must be."""
        excess = used[output] - place.limit_bytes
        victims = self._victims(output, place, Worth.WITNESS, excess, ROWS_AT_ONCE)
        self._drop(output, victims, used, dropped)

    def _victims(self, output: str, place: Place, worth: Worth, excess: int, most: int) -> list[Dropped]:
        """Rows of so many bytes, or all that there are."""
        victims: list[Dropped] = []
        able = (row for row in self._least(output, worth) if row.seq not in place.kept)
        while excess > 0 and len(victims) < most and (victim := next(able, None)) is not None:
            victims.append(victim)
            excess -= victim.size_bytes
        return victims

    def _drop(
        self, output: str, victims: Sequence[Dropped], used: Counter[str], dropped: list[Dropped]
    ) -> None:
        self._remove([(output, victim.seq) for victim in victims], used)
        dropped += victims

    def _least(self, output: str, worth: Worth) -> Iterable[Dropped]:
        asked = (
            f"SELECT {SUBJECT} FROM waiting w JOIN chunks c ON c.seq = w.seq "
            "WHERE w.output = ? AND w.worth <= ? ORDER BY w.worth, w.seq"
        )
        return map(dropped_of, self._database.execute(asked, (output, worth)))

    def _remove(self, rows: Iterable[tuple[str, int]], used: Counter[str]) -> None:
        for output, seq in rows:
            found = self._database.execute(
                "DELETE FROM waiting WHERE output = ? AND seq = ? RETURNING size_bytes", (output, seq)
            ).fetchone()
            if found is not None:
                used[output] -= found[0]
            self._database.execute(
                "DELETE FROM chunks WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM waiting WHERE seq = ?1)",
                (seq,),
            )

    # What is read back

    def read(
        self, output: str, *, after: int, skip: Collection[int] = (), max_bytes: int, max_chunks: int
    ) -> Found:
        """The next rows of an output, one at least, and those whose checksum is wrong."""
        asked = (
            f"SELECT {SUBJECT}, c.id, c.worth, c.checksum, c.entries FROM waiting w "
            "JOIN chunks c ON c.seq = w.seq WHERE w.output = ? AND w.seq > ? ORDER BY w.seq"
        )
        found: list[Stored] = []
        damaged: list[Dropped] = []
        last = after

        def work() -> None:
            nonlocal last
            total = 0
            for row in self._database.execute(asked, (output, after)):
                subject, (ident, worth, checksum, entries) = dropped_of(row[:10]), row[10:]
                if subject.seq in skip:
                    continue
                if found and total + len(entries) > max_bytes:
                    break
                last = subject.seq
                if checksum is not None and zlib.crc32(entries) != checksum:
                    damaged.append(subject)
                    continue
                total += len(entries)
                found.append(
                    Stored(subject.seq, chunk_of(subject, ident, worth, entries), subject.size_bytes)
                )
                if len(found) >= max_chunks:
                    break

        self._checked(work)
        return Found(found, damaged, last)

    def contents(self) -> list[Content]:
        """What waits, by output, tag and input."""
        rows = self._checked(lambda: self._database.execute(_CONTENTS).fetchall())
        return [Content(output, tag_of(tag), *amounts) for output, tag, *amounts in rows]

    def oldest_ns(self, output: str) -> int:
        """Wall clock at which the first chunk that waits for an output was read; 0: none waits."""
        asked = "SELECT created_ns FROM chunks WHERE seq = (SELECT min(seq) FROM waiting WHERE output = ?)"
        found = self._checked(lambda: self._database.execute(asked, (output,)).fetchone())
        return int(found[0]) if found else 0

    def positions(self) -> list[tuple[str, Position]]:
        """How far files are safe with what was written, by source: their own databases may not know yet."""
        rows = self._database.execute("SELECT * FROM positions")
        return [(source, position_of(row)) for source, _, *row in rows]

    def forget_positions(self, mark: int) -> None:
        """Their own databases have all positions that were written with chunks up to `mark`."""
        self._transaction(lambda: self._database.execute("DELETE FROM positions WHERE mark <= ?", (mark,)))

    def adopt(
        self, outputs: Mapping[str, Callable[[str], bool]], untold: Mapping[str, Untold] | None = None
    ) -> tuple[Loss, ...]:
        """Notes the outputs of this run, by name with their Match.

        What waits for one that is not there any more goes to those that are new
        and match: one that was given another name keeps its chunks. What nobody
        takes over is dropped.
        """
        # One that a reload brought has rows and is not noted.
        found = self._checked(lambda: self._database.execute("SELECT name FROM outputs").fetchall())
        noted = {name for (name,) in found}
        known = noted | set(self.used_bytes)
        new = {name: matches for name, matches in outputs.items() if name not in known}
        lost, used = Losses(), Counter[str]()
        losses: dict[str, bytes] = {}

        def work() -> None:
            lost.take()
            used.clear()
            used.update(self.used_bytes)
            for output in known - set(outputs):
                self._hand_over(output, new, used, lost)
            if noted != set(outputs):  # else nothing is written, for which a full disk had no room
                self._database.execute("DELETE FROM outputs")
                self._database.executemany("INSERT INTO outputs VALUES (?)", [(name,) for name in outputs])
            losses.update(self._keep_losses(untold or {}, lost))

        try:
            self._reserve.behind(lambda: self._transaction(work))
        except sqlite3.OperationalError as reason:
            raise not_opened(self.path, reason) from reason
        self.used_bytes, self._losses = used, losses
        return lost.rows()

    def _hand_over(
        self, output: str, new: Mapping[str, Callable[[str], bool]], used: Counter[str], lost: Losses
    ) -> None:
        while rows := list(islice(self._least(output, Worth.WITNESS), ROWS_AT_ONCE)):
            for row in rows:
                heirs = [name for name, matches in new.items() if matches(row.tag)]
                for heir in heirs:
                    self._database.execute(
                        "INSERT OR IGNORE INTO waiting SELECT ?, seq, worth, size_bytes FROM waiting "
                        "WHERE output = ? AND seq = ?",
                        (heir, row.output, row.seq),
                    )
                    used[heir] += row.size_bytes
                if not heirs:
                    lost.add(row_loss(row, "output_removed"))
                self._remove([(row.output, row.seq)], used)
        del used[output]

    # The database

    @property
    def file_bytes(self) -> int:
        """What it takes on disk, as far as that can be seen."""
        total = 0
        for path in (self.path, f"{self.path}-wal", self.path.with_name(RESERVE_NAME)):
            with contextlib.suppress(OSError):
                total += os.stat(path).st_size
        return total

    def shrink(self) -> bool:
        """Gives free pages back to the file system, VACUUM_PAGES of them; whether there are more."""

        def work() -> bool:
            # As a script: `execute` takes a single step of it, which is a page.
            self._database.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            left = self._database.execute("PRAGMA freelist_count").fetchone()[0]
            # It is now that the file gets shorter.
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return bool(left)

        return bool(self._checked(work))

    def close(self) -> None:
        self._database.close()

    def _transaction(self, work: Callable[[], Any]) -> Any:
        def whole() -> Any:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                return work()

        return self._checked(whole)

    def _checked(self, work: Callable[[], Any]) -> Any:
        """`work` on the database. Raises sqlite3.OperationalError, SpoolDamaged."""
        try:
            return work()
        except sqlite3.OperationalError:  # disk full, input/output error: not its content
            raise
        except sqlite3.DatabaseError as reason:
            self._database.close()
            self._damage = self._damage or reason  # the next calls meet a closed database
            raise self._begun_anew(self._damage) from reason

    def _begun_anew(self, damage: sqlite3.DatabaseError) -> SpoolDamaged:
        """Raises sqlite3.OperationalError where the disk lets nothing be begun: each call tries it again."""
        try:
            self._aside = self._aside or set_aside(self.path)
            self._database = self._open()
        except (OSError, SpoolUnusable) as reason:
            raise sqlite3.OperationalError(f"{damage}; {reason.__cause__ or reason}") from reason
        told = SpoolDamaged(self._aside, damage)
        self._aside = self._damage = None
        self.used_bytes.clear()
        self._losses.clear()
        return told

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._connect_or_begin_anew()
        except (sqlite3.OperationalError, OSError) as reason:
            raise not_opened(self.path, reason) from reason

    def _connect_or_begin_anew(self) -> sqlite3.Connection:
        try:
            return self._reserve.behind(self._connect)  # it writes as well
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as reason:
            self.damaged = set_aside(self.path)
            told = SpoolDamaged(self.damaged, reason)
            self._log.error("%s: chunks that waited there are not sent", told)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        # Used by one thread at a time, see above. Transactions are begun and ended by `_transaction`.
        database = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        try:
            # Nobody else may deliver the same chunks; and without others WAL needs no shared memory.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            if not database.execute("PRAGMA auto_vacuum").fetchone()[0]:  # it writes, needed or not
                database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {'FULL' if self._full_sync else 'NORMAL'}")
            database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            database.execute(f"PRAGMA journal_size_limit = {LOG_PAGES * PAGE_BYTES}")
            create(database, self.path, self.last_seq)
            self.last_seq = database.execute("SELECT seq FROM sqlite_sequence").fetchone()[0]
            database.execute(_CONTENTS).fetchall()
            read_through(database)
        except BaseException:
            database.close()
            raise
        return database

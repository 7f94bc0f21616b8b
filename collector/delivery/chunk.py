"""What travels from an input to the outputs: entries of one tag and where they came from."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise


class Worth(enum.IntEnum):
    """What is dropped first where something has to be: the least, and of equals the oldest."""

    FLOW = 0  # connections, DNS: many, each says little
    LOG = 1
    WITNESS = 2  # execs, privileges, sessions: what an investigation stands on


PORTION_BYTES = 2 << 20
"""Of a file, or of the entries made of it, that are read in one call. A portion makes a chunk: large enough
that what a chunk costs (some 150 us) vanishes, small enough to be fair and for Fluentd's usual limit of 8 MB.
"""

Packed = bytes | memoryview
"""msgpack; a view, which is read-only, is of memory that is used again when nobody has the view any more."""


@dataclass(frozen=True, slots=True)
class FileKey:
    """A file's identity, stable across renames; the fingerprint tells a reused inode.

    `fingerprint` is the BLAKE2b-128 of the first `fingerprint_bytes` bytes.
    """

    device: int
    inode: int
    fingerprint: bytes = b""
    fingerprint_bytes: int = 0

    def fits(self, head: bytes) -> bool:
        """Whether it was made of these first bytes, or of fewer of them; not of none."""
        count = self.fingerprint_bytes
        return 0 < count <= len(head) and self.fingerprint == fingerprint(head[:count])


def fingerprint(head: bytes) -> bytes:
    """BLAKE2b-128 of the first bytes of a file."""
    return hashlib.blake2b(head, digest_size=16).digest()


INHERITED = -2


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file is read. `offset` is that of the first byte not covered.

    `partials` are the offsets of the first line of a record still open on stdout
    and stderr (-1: none, INHERITED: it began in the file that was rotated before
    this one): reading resumes at the least of them, and up to `offset` only lines
    that belong to an open record count. A source whose place
    is not an offset (a journal) writes its own mark into `cursor`.
    """

    file: FileKey
    path: str
    offset: int
    partials: tuple[int, int] = (-1, -1)
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a file that make the same records whenever they are read in one go behind the same bytes.

    `last` is the checksum of its last bytes, `ended` whether what was open at its end was completed there.
    `behind` is the end of what became the chunk before, `generation` counts truncations. `is_divided`: it
    became chunks of several tags. `was_sent`: before a restart, so it is not joined to others.
    """

    source: str
    file: FileKey
    start: int
    end: int
    last: int
    id: bytes
    now_ns: int
    ended: bool = False
    began: tuple[int, ...] = ()
    behind: int = -1
    generation: int = 0
    is_divided: bool = False
    was_sent: bool = False
    keeping: Callable[[Stretch], None] | None = field(default=None, compare=False, repr=False)

    def keep(self) -> None:
        """To be called before it is sent."""
        if self.keeping is not None:
            self.keeping(self)

    def is_of_same_file(self, other: Stretch) -> bool:
        """Of one file, for one input, with no truncation between."""
        one, two = self.file, other.file
        whose = (self.source, one.device, one.inode, self.generation)
        return whose == (other.source, two.device, two.inode, other.generation)

    def goes_on_in(self, other: Stretch) -> bool:
        """Whether both, and what is between, read in one go make the records of both."""
        is_plain = not any(one.ended or one.began or one.is_divided for one in (self, other))
        return is_plain and self.is_of_same_file(other) and self.end == other.behind

    def up_to(self, last: Stretch) -> Stretch:
        """From the start of this one to the end of another."""
        joint = chunk_id(self.id, last.end, last.last)
        return replace(self, end=last.end, last=last.last, id=joint)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries of one tag, ready for the wire.

    `entries` is msgpack: `[EventTime, record]` one after the other, `records` of
    them (forward protocol, PackedForward). `position` is where the source stands
    once this chunk is safe; None where the source keeps no position. `id` is
    derived from the source and the position, so that the same bytes sent again
    have the same id. `vanishing` says whether what the position stands for could
    not be read again after a restart, as of now or soon; without it, it always could.
    `gone`, where that differs, is to be asked at the end: whether nobody can read it
    again. `stretch` is what it was read of, where that is kept over a restart.
    """

    id: bytes  # 16 bytes
    tag: str
    entries: Packed
    records: int
    source: str  # the input's name, e.g. tail.0
    created_ns: int  # CLOCK_MONOTONIC
    position: Position | None = None
    raw_bytes: int = field(default=0)  # what was read for it
    worth: Worth = Worth.LOG
    vanishing: Callable[[], bool] | None = field(default=None, compare=False, repr=False)
    stretch: Stretch | None = field(default=None, compare=False, repr=False)
    gone: Callable[[], bool] | None = field(default=None, compare=False, repr=False)

    @property
    def is_gone(self) -> bool:
        """Whether it is lost with this process."""
        return self.gone() if self.gone is not None else not self.is_durable

    @property
    def is_durable(self) -> bool:
        """Whether its source could be read again now: it need not be kept elsewhere."""
        return self.position is not None and not (self.vanishing is not None and self.vanishing())


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks of one tag as one, entries in their order; the id follows from theirs.

    Those that are read of a file one behind the other are one stretch together, and have its id.
    """
    if len(chunks) == 1:
        return chunks[0]
    stretch = _joint([chunk.stretch for chunk in chunks])
    return Chunk(
        id=chunk_id(stretch.id) if stretch else chunk_id(*(chunk.id for chunk in chunks)),
        tag=chunks[0].tag,
        entries=b"".join(chunk.entries for chunk in chunks),
        records=sum(chunk.records for chunk in chunks),
        source=chunks[0].source,
        created_ns=min(chunk.created_ns for chunk in chunks),
        raw_bytes=sum(chunk.raw_bytes for chunk in chunks),
        worth=max(chunk.worth for chunk in chunks),
        stretch=stretch,
    )


def _joint(stretches: Sequence[Stretch | None]) -> Stretch | None:
    """What can be read again in one go instead of them."""
    first, last = stretches[0], stretches[-1]
    if first is None or last is None:
        return None
    is_one = all(one and two and one.goes_on_in(two) for one, two in pairwise(stretches))
    return first.up_to(last) if is_one else None


def chunk_id(*parts: bytes | str | int) -> bytes:
    """16 bytes that are the same for the same parts: source, from, to."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part if isinstance(part, bytes) else str(part).encode(errors="surrogateescape")
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return digest.digest()

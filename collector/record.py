"""One record on the general path: its time and its pairs, with the bytes of what nobody touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collector.delivery.chunk import Packed
from collector.entries import Entry, Pairs, map_header, memory_bytes, pack_time, time_ns, walk
from collector.packing import pack


class Record:
    """`pairs` may be replaced or changed in place; a pair that stays the very object keeps its bytes."""

    __slots__ = ("_entry", "_given", "_time_ns", "pairs")

    def __init__(self, pairs: Pairs, time_ns: int, entry: Entry | None = None) -> None:
        self.pairs = pairs
        self._time_ns = time_ns
        self._entry = entry
        # Keeps the pairs alive, so that an id stays theirs.
        self._given = tuple(pairs) if entry is not None else ()

    @property
    def time_ns(self) -> int:
        """Since the epoch."""
        if self._time_ns < 0 and self._entry is not None:
            self._time_ns = time_ns(self._entry.time)
        return self._time_ns

    def like(self, pairs: Pairs, time_ns: int | None = None) -> Record:
        """Another record of the same time, or of `time_ns`. Pairs of this one keep their bytes."""
        made = Record(pairs, self._time_ns if time_ns is None else time_ns)
        made._given = self._given
        if time_ns is None:
            made._entry = self._entry
        elif self._entry is not None:
            made._entry = self._entry._replace(prefix=b"\x92" + pack_time(time_ns))
        return made

    @property
    def memory_bytes(self) -> int:
        """What it takes: its pairs, those it was given, and the bytes that they came in."""
        pairs = {id(pair): pair for pair in (*self._given, *self.pairs)}
        entry = () if self._entry is None else self._entry._replace(pairs=[])
        return memory_bytes((*pairs.values(), entry))

    def packed(self) -> bytes:
        """The entry. Raises ValueError, OverflowError or TypeError for what msgpack can't hold."""
        entry = self._entry
        if entry is None:
            head = b"\x92" + pack_time(self._time_ns) + map_header(len(self.pairs))
            return head + b"".join(pack(key) + pack(value) for key, value in self.pairs)
        raw = {id(pair): span for pair, span in zip(self._given, entry.spans, strict=True)}
        header = entry.header if len(self.pairs) == len(self._given) else map_header(len(self.pairs))
        spans = [raw.get(id(pair)) or pack(pair[0]) + pack(pair[1]) for pair in self.pairs]
        return entry.prefix + header + b"".join(spans)


def records_of(entries: Packed) -> Iterator[Record]:
    """Raises ValueError when `entries` is cut or no entries."""
    for entry in walk(entries):
        yield Record(entry.pairs, -1, entry)


def packed(records: Iterable[Record]) -> bytes:
    return b"".join(record.packed() for record in records)

"""Entries of a chunk as Python objects, and back: the general path's only codec.

An entry is msgpack `[time, record]`; time is an EventTime (ext type 0, seconds
and nanoseconds as big-endian 32-bit numbers) or a number of seconds, or, as
Fluent Bit 5 writes it, `[time, metadata]`. Text that is not UTF-8 is decoded with
surrogateescape and so comes out as it went in. Nested maps are dicts.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgpack

from collector.delivery.chunk import Packed
from collector.packing import pack

Pairs = list[tuple[Any, Any]]
"""A record on the general path: pairs in order, because Fluent Bit's records may repeat a key."""

EVENT_TIME = 0  # the ext type
_EVENT_TIME_BYTES = struct.Struct(">II")
_NS_PER_S = 1_000_000_000
KEY_CHARACTERS = 256  # of a key that is no text


def unpack_entries(entries: Packed) -> Iterator[tuple[int, Pairs]]:
    """Time in nanoseconds and pairs of each entry. Raises ValueError when `entries` is cut or no entries."""
    for found in walk(entries):
        yield time_ns(found.time), found.pairs


def pack_entry(time_ns: int, pairs: Pairs, packed: bytes = b"", packed_pairs: int = 0) -> bytes:
    """One entry; `packed` are pairs that follow and are msgpack already.

    Raises ValueError, OverflowError or TypeError for what msgpack can't hold.
    """
    head = b"\x92" + pack_time(time_ns) + map_header(len(pairs) + packed_pairs)
    return head + b"".join(pack(key) + pack(value) for key, value in pairs) + packed


def rewrite(entries: Packed, change: Callable[[Pairs], Pairs | None]) -> tuple[bytes, int]:
    """Entries with each record changed (None: dropped), and how many are left.

    What `change` passes on is not encoded anew: a pair that it hands back as the
    very object it was given keeps its bytes, duplicates and number formats included.
    """
    pieces: list[bytes] = []
    records = 0
    for found in walk(entries):
        given = tuple(found.pairs)  # keeps the pairs alive, so that an id in `raw` stays theirs
        raw = {id(pair): span for pair, span in zip(given, found.spans, strict=True)}
        changed = change(found.pairs)
        if changed is None:
            continue
        records += 1
        if found.undecoded and len(changed) == 1 and changed[0] is given[0]:
            pieces += (found.prefix, found.undecoded)
            continue
        header = found.header if len(changed) == len(given) else map_header(len(changed))
        pieces += (found.prefix, header)
        pieces += [raw.get(id(pair)) or pack(pair[0]) + pack(pair[1]) for pair in changed]
    return b"".join(pieces), records


class Entry(NamedTuple):
    """An entry taken apart: joined again, prefix, header and spans (or `undecoded`) are its bytes."""

    time: Any
    pairs: Pairs
    prefix: bytes  # up to the record
    header: bytes  # of the record's map
    spans: list[bytes]  # of each pair
    undecoded: bytes = b""  # the record, where it can't be decoded; `pairs` has it as `log`


class _Undecodable(Exception):
    """A record has what can't be decoded: a timestamp that is none, for example."""

    def __init__(self, time: Any, map_start: int) -> None:
        self.time = time
        self.map_start = map_start


def walk(entries: Packed) -> Iterator[Entry]:
    """Each entry with its bytes. Raises ValueError as `unpack_entries` does."""
    entries = bytes(entries)  # slices of a view would not be bytes
    unpacker, end = _unpacker(entries), 0
    while end < len(entries):
        try:
            found = _read_entry(unpacker, entries, end)
        except msgpack.OutOfData:
            raise ValueError(f"entries are cut after {end} bytes") from None
        except _Undecodable:
            yield from _walk_one_by_one(entries[end:])
            return
        end = unpacker.tell()
        yield found


def _read_entry(unpacker: Any, entries: bytes, start: int) -> Entry:
    if unpacker.read_array_header() != 2:
        raise ValueError("an entry is an array of time and record")
    time = unpacker.unpack()
    map_start = unpacker.tell()
    size = unpacker.read_map_header()
    body = end = unpacker.tell()
    pairs: Pairs = []
    spans: list[bytes] = []
    try:
        for _ in range(size):
            pairs.append((unpacker.unpack(), unpacker.unpack()))
            pair_end = unpacker.tell()
            spans.append(entries[end:pair_end])
            end = pair_end
    except ValueError:
        raise _Undecodable(time, map_start) from None
    return Entry(time, pairs, entries[start:map_start], entries[map_start:body], spans)


def _walk_one_by_one(entries: bytes) -> Iterator[Entry]:
    """The same, each entry on its own: a record that can't be decoded is kept raw among the others."""
    for raw in spans(entries):
        try:
            yield _read_entry(_unpacker(raw), raw, 0)
        except _Undecodable as found:
            record = raw[found.map_start :]
            packed = pack("log") + pack(record)
            prefix = raw[: found.map_start]
            yield Entry(found.time, [("log", record)], prefix, map_header(1), [packed], record)


def _unpacker(entries: bytes) -> Any:
    unpacker = msgpack.Unpacker(
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        object_pairs_hook=_mapping,
        ext_hook=_extension,
        max_buffer_size=max(len(entries), 1),
    )
    unpacker.feed(entries)
    return unpacker


def _extension(code: int, data: bytes) -> Any:
    # Codes below 0 are reserved by msgpack, and no ExtType can be made of them.
    return msgpack.ExtType(code, data) if code >= 0 else data


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    try:
        return dict(pairs)
    except TypeError:  # a key that is itself a map or an array
        return {_key_text(key): value for key, value in pairs}


def _key_text(key: Any) -> str:
    """Bounded: of keys in keys in keys each would be written out, and escaped, in the next."""
    text = repr(key)
    if len(text) <= KEY_CHARACTERS:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
    return f"{text[:KEY_CHARACTERS]}...{digest}"


def memory_bytes(value: Any) -> int:
    """What a value takes, with all that is in it; what is in it twice counts twice."""
    taken_bytes, left = 0, [value]
    while left:
        one = left.pop()
        taken_bytes += sys.getsizeof(one)
        if isinstance(one, list | tuple):
            left += one
        elif isinstance(one, dict):
            left += one.keys()
            left += one.values()
    return taken_bytes


def time_ns(time: Any) -> int:
    """Nanoseconds since the epoch of an entry's time. Raises ValueError for what is no time."""
    if isinstance(time, list) and time:
        time = time[0]
    if isinstance(time, msgpack.ExtType) and time.code == EVENT_TIME and len(time.data) == 8:
        seconds, fraction_ns = _EVENT_TIME_BYTES.unpack(time.data)
        return int(seconds * _NS_PER_S + fraction_ns)
    if isinstance(time, int) and not isinstance(time, bool):
        return time * _NS_PER_S
    if isinstance(time, float) and time == time and abs(time) < 2**63:
        return round(time * _NS_PER_S)
    raise ValueError(f"{time!r} is not the time of an entry")


def pack_time(time_ns: int) -> bytes:
    """An EventTime; times outside 1970 to 2106 are put at the nearer end of what it can say."""
    seconds, fraction_ns = divmod(time_ns, _NS_PER_S)
    if seconds < 0:
        seconds, fraction_ns = 0, 0
    elif seconds > 0xFFFFFFFF:
        seconds, fraction_ns = 0xFFFFFFFF, _NS_PER_S - 1
    return b"\xd7\x00" + _EVENT_TIME_BYTES.pack(seconds, fraction_ns)


def map_header(size: int) -> bytes:
    """msgpack of a map before its pairs."""
    if size < 16:
        return bytes((0x80 | size,))
    return b"\xde" + struct.pack(">H", size) if size < 1 << 16 else b"\xdf" + struct.pack(">I", size)


def has_key(entry: bytes, key: str) -> bool:
    """Whether the record of one entry has a key, itself and not deeper; values are passed over unread."""
    unpacker = _unpacker(entry)
    unpacker.read_array_header()
    unpacker.skip()
    for _ in range(unpacker.read_map_header()):
        if unpacker.unpack() == key:
            return True
        unpacker.skip()
    return False


def spans(entries: Packed) -> Iterator[bytes]:
    """The bytes of each entry. Raises ValueError as `unpack_entries` does."""
    entries = bytes(entries)
    begin = 0
    for end in _ends(entries):
        yield entries[begin:end]
        begin = end


def _ends(entries: bytes) -> Iterator[int]:
    """Where each entry ends."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(entries), 1))
    unpacker.feed(entries)
    end = 0
    try:
        while end < len(entries):
            unpacker.skip()
            end = unpacker.tell()
            yield end
    except msgpack.OutOfData:
        raise ValueError(f"entries are cut after {end} bytes") from None


def count(entries: Packed) -> int:
    """How many entries there are. Raises ValueError as `unpack_entries` does."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(entries), 1))
    unpacker.feed(entries)
    records = 0
    try:
        while unpacker.tell() < len(entries):
            unpacker.skip()
            records += 1
    except msgpack.OutOfData:
        raise ValueError(f"entries are cut after {records} records") from None
    return records

"""The forward protocol as a server reads it, without a socket: bytes in, messages out.

Source: Forward Protocol Specification v1, Fluentd's in_forward and Fluent Bit's
fw_prot.c. Entries are passed on as they came: only their outline is looked at.
What is msgpack but no entry is kept raw in a record of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgpack

from collector import compression
from collector.entries import pack_entry, pack_time

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_NIL = b"\xc0"
_JSON = (b"[", b"{")  # small numbers to msgpack
_ENTRY, _NIL_TIME, _ZERO_TIME = 0x92, 0xC0, 0x00


class NotForward(Exception):
    """What the client sent is not to be read any further. `cause` is that of the counter."""

    def __init__(self, reason: str, cause: str = "malformed") -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Message:
    """`entries` as in a chunk, `malformed` of them raw; `ack` is the client's chunk id in msgpack."""

    tag: str
    entries: bytes
    records: int
    ack: bytes = b""
    malformed: int = 0


def acknowledgement(ack: bytes) -> bytes:
    """The answer to a message that has an `ack`."""
    return b"\x81\xa3ack" + ack


class LongPayload(NamedTuple):
    """Where a message has its entries as one string or binary of some KiB: header, begin and end."""

    head: int
    begin: int
    end: int


# Bytes of the length in the header of a str or bin.
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_STEP_BYTES = 4096


def long_payload(message: bytes | bytearray) -> LongPayload | None:
    """Of the beginning of a message; None where it has no such payload, or its head is not there yet."""
    try:
        if message[0] not in (0x92, 0x93):
            return None
        _, head = _raw_span(message, 1)
        begin, end = _raw_span(message, head)
    except (IndexError, KeyError):
        return None
    return LongPayload(head, begin, end) if end - begin >= _STEP_BYTES else None


def _raw_span(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Begin and end of the bytes of a str or bin, whose header has to be there."""
    kind = data[at]
    if 0xA0 <= kind <= 0xBF:
        return at + 1, at + 1 + (kind & 0x1F)
    begin = at + 1 + _LENGTHS[kind]
    data[begin - 1]  # the whole length is there
    return begin, begin + int.from_bytes(data[at + 1 : begin], "big")


class MessageStream:
    """Splits what a client sends into messages, of `limit_bytes` at most.

    No byte is looked at twice: the scanner remembers where it is within a value,
    and of a long payload it sees an empty one.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._begin()

    def _begin(self) -> None:
        """With the next message."""
        self._scanner = msgpack.Unpacker(max_buffer_size=0)
        self._given = 0  # of the buffer, to the scanner
        self._left_out = 0  # and how much of that it did not see

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are completed by `data`. Raises NotForward."""
        self._buffer += data
        while size := self._scan():
            self._check(size)
            with memoryview(self._buffer) as view:
                message = bytes(view[:size])
            del self._buffer[:size]
            self._begin()
            yield message
        self._check(len(self._buffer))

    def _scan(self) -> int:
        """The size of the first message once it is there whole; 0 before."""
        if not self._given and (payload := long_payload(self._buffer)):
            self._check(payload.end)
            if len(self._buffer) < payload.end:
                return 0
            self._scanner.feed(bytes(self._buffer[: payload.head]) + b"\xc4\x00")
            self._given = payload.end
            self._left_out = payload.end - payload.head - 2
        while True:
            try:
                self._scanner.skip()
            except msgpack.OutOfData:
                piece = self._buffer[self._given : self._given + _STEP_BYTES]
                if not piece:
                    return 0
                self._scanner.feed(piece)
                self._given += len(piece)
            except ValueError:
                raise NotForward("sent what is not msgpack, or nested too deeply") from None
            else:
                return int(self._scanner.tell()) + self._left_out

    def _check(self, size: int) -> None:
        if size > self.limit_bytes:
            raise NotForward(f"sent a message of more than {self.limit_bytes} bytes", "too_large")

    def __len__(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._buffer)


def read_message(raw: bytes, now_ns: int, limit_bytes: int) -> Message | None:
    """A message in any mode; None for nil, which is a sign of life.

    `limit_bytes` is what entries may take once they are decompressed. Raises NotForward.
    """
    if raw == _NIL:
        return None
    try:
        payload = long_payload(raw)
        if payload is not None:
            tag = msgpack.unpackb(raw[1 : payload.head], raw=True)
            rest = _Reading(raw[payload.end :], now_ns, limit_bytes)
            return rest.packed(tag, raw[payload.begin : payload.end], (raw[0] & 0x0F) - 2)
        return _Reading(raw, now_ns, limit_bytes).message()
    except (ValueError, TypeError, IndexError, msgpack.OutOfData):
        if raw[:1] in _JSON:
            raise NotForward("sent JSON, which Fluentd reads here too: let it send msgpack") from None
        raise NotForward("sent what is not a message of the forward protocol") from None


class _Reading:
    """The reading of one message, or of what is behind its payload."""

    def __init__(self, raw: bytes, now_ns: int, limit_bytes: int) -> None:
        self._raw = raw
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=max(len(raw), 1))
        self._unpacker.feed(raw)
        self._now_ns = now_ns
        self._limit_bytes = limit_bytes

    def message(self) -> Message:
        size = self._unpacker.read_array_header()
        tag = self._unpacker.unpack() if size >= 2 else None
        if not isinstance(tag, bytes):
            raise ValueError("a message begins with its tag")
        begin = self._unpacker.tell()
        head = self._raw[begin]
        if _is_raw(head):
            return self.packed(tag, self._unpacker.unpack(), size - 2)
        if _is_array(head):
            count = self._unpacker.read_array_header()
            begin = self._unpacker.tell()
            for _ in range(count):
                self._unpacker.skip()
            entries = self._raw[begin : self._unpacker.tell()]
            ack, _ = self._options(size - 2)
        else:
            self._unpacker.skip()
            self._unpacker.skip()
            entries = b"\x92" + self._raw[begin : self._unpacker.tell()]
            ack, _ = self._options(size - 3)
        return self._made(tag, entries, ack)

    def packed(self, tag: bytes, payload: bytes, options: int) -> Message:
        """A message whose entries are one payload; what is read next are its options, if there are any."""
        ack, compressed = self._options(options)
        return self._made(tag, self._decompressed(payload, compressed), ack)

    def _made(self, tag: bytes, payload: bytes, ack: bytes) -> Message:
        entries, records, malformed = checked(payload, self._now_ns)
        return Message(tag.decode("utf-8", "surrogateescape"), entries, records, ack, malformed)

    def _options(self, present: int) -> tuple[bytes, bytes]:
        """The chunk's id as it stands there, and how entries are compressed."""
        ack = compressed = b""
        if present <= 0 or self._raw[self._unpacker.tell()] == _NIL[0]:
            return ack, compressed
        for _ in range(self._unpacker.read_map_header()):
            name = self._unpacker.unpack()
            begin = self._unpacker.tell()
            value = self._unpacker.unpack()
            if name == b"chunk" and isinstance(value, bytes):
                ack = self._raw[begin : self._unpacker.tell()]
            elif name == b"compressed" and isinstance(value, bytes):
                compressed = value
        return ack, compressed

    def _decompressed(self, payload: bytes, compressed: bytes) -> bytes:
        """By its first bytes, which no entry can have, rather than by what the options say."""
        if payload.startswith(_GZIP):
            kind = "gzip"
        elif payload.startswith(_ZSTD):
            kind = "zstd"
        elif compressed in (b"gzip", b"zstd"):
            raise NotForward("sent entries that are not compressed as it says")
        else:
            return payload
        if kind == "zstd" and not compression.has_zstd():
            raise NotForward("sent zstd, for which the Python library zstandard is not installed")
        try:
            return compression.decompress(payload, kind, self._limit_bytes)
        except compression.TooLarge as reason:
            raise NotForward(f"sent entries of {reason}", "too_large") from None
        except ValueError as reason:
            raise NotForward(f"sent entries that can't be decompressed: {reason}") from None


def _is_array(head: int) -> bool:
    return 0x90 <= head <= 0x9F or head in (0xDC, 0xDD)


def _is_raw(head: int) -> bool:
    return 0xA0 <= head <= 0xBF or head in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB)


def _is_map(head: int) -> bool:
    return 0x80 <= head <= 0x8F or head in (0xDE, 0xDF)


def _is_time(data: bytes, at: int) -> bool:
    """An EventTime, a number of seconds, or one of them with metadata beside it."""
    head = data[at]
    if head == 0xD7:
        return data[at + 1] == 0
    if head == 0xC7:
        return data[at + 1 : at + 3] == b"\x08\x00"
    if head == _ENTRY:
        return _is_time(data, at + 1) if data[at + 1] != _ENTRY else False
    return head <= 0x7F or 0xCA <= head <= 0xCF


def checked(payload: bytes, now_ns: int) -> tuple[bytes, int, int]:
    """Entries that all are `[time, record]`, how many, and how many of them had to be kept raw.

    A time of nil or 0 is replaced by now, as Fluentd does.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(payload), 1))
    unpacker.feed(payload)
    pieces: list[bytes] = []
    kept_to = records = malformed = begin = 0
    while begin < len(payload):
        replacement = b""
        try:
            if payload[begin] == _ENTRY:
                unpacker.read_array_header()
                unpacker.skip()
                record = unpacker.tell()
                unpacker.skip()
                end = unpacker.tell()
                if not _is_map(payload[record]):
                    replacement = _raw(payload[begin:end], now_ns)
                elif payload[begin + 1] in (_NIL_TIME, _ZERO_TIME):
                    replacement = b"\x92" + pack_time(now_ns) + payload[record:end]
                elif not _is_time(payload, begin + 1):
                    replacement = _raw(payload[begin:end], now_ns)
                malformed += bool(replacement) and payload[begin + 1] not in (_NIL_TIME, _ZERO_TIME)
            else:
                unpacker.skip()
                end = unpacker.tell()
                replacement = _raw(payload[begin:end], now_ns)
                malformed += 1
        except (ValueError, msgpack.OutOfData):
            end = len(payload)
            replacement = _raw(payload[begin:], now_ns)
            malformed += 1
        if replacement:
            pieces += (payload[kept_to:begin], replacement)
            kept_to = end
        records += 1
        begin = end
    if not pieces:
        return payload, records, 0
    pieces.append(payload[kept_to:])
    return b"".join(pieces), records, malformed


def _raw(value: bytes, now_ns: int) -> bytes:
    return pack_entry(now_ns, [("log", value)])

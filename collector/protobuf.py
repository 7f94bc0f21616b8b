"""The wire format of Protocol Buffers: as much as OTLP and the runtimes' CRI need.

The library takes 12 MiB and generated classes; a message is its fields one after
the other, each a number, a type and a value (protobuf.dev, "Encoding").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK_64 = (1 << 64) - 1


def varint(value: int) -> bytes:
    """An integer, seven bits a byte; negative ones in two's complement of 64 bits."""
    value &= _MASK_64
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _head(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def integer(number: int, value: int) -> bytes:
    """A field of int32, int64, uint64, bool or an enum."""
    return _head(number, _VARINT) + varint(value)


def fixed64(number: int, value: int) -> bytes:
    return _head(number, _FIXED64) + struct.pack("<Q", value & _MASK_64)


def fixed32(number: int, value: int) -> bytes:
    return _head(number, _FIXED32) + struct.pack("<I", value & 0xFFFFFFFF)


def double(number: int, value: float) -> bytes:
    return _head(number, _FIXED64) + struct.pack("<d", value)


def chunk(number: int, value: bytes) -> bytes:
    """A field of bytes, or a message within a message."""
    return _head(number, _BYTES) + varint(len(value)) + value


def text(number: int, value: str) -> bytes:
    return chunk(number, value.encode())


class Cut(ValueError):
    """The bytes end within a field."""


def fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a message, of repeated ones the last. Raises ValueError for what is none."""
    return dict(elements(message))


def elements(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field, in order. Raises ValueError for what is no message."""
    at = 0
    while at < len(message):
        number, size, value, at = _read_head(message, at)
        if size:
            if at + size > len(message):
                raise Cut("the message is cut")
            value, at = bytes(message[at : at + size]), at + size
        yield number, value


class Elements:
    """The fields of one message that comes in pieces, each as soon as it is there.

    Of a field of more than `limit_bytes` nothing is kept, and `skipped` counts it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.skipped = 0
        self._limit_bytes = limit_bytes
        self._rest = bytearray()
        self._skip_bytes = 0

    @property
    def is_within(self) -> bool:
        """Whether a field has begun and not ended."""
        return bool(self._rest or self._skip_bytes)

    def feed(self, data: bytes) -> Iterator[tuple[int, int | bytes]]:
        """Raises ValueError for what is no message."""
        self._rest += data
        at = self._skip(0)
        while at < len(self._rest):
            try:
                number, size, value, after = _read_head(self._rest, at)
            except Cut:
                break
            if size > self._limit_bytes:
                self.skipped += 1
                self._skip_bytes = size
                at = self._skip(after)
                continue
            if after + size > len(self._rest):
                break
            yield number, bytes(self._rest[after : after + size]) if size else value
            at = after + size
        del self._rest[:at]

    def _skip(self, at: int) -> int:
        skipped = min(self._skip_bytes, len(self._rest) - at)
        self._skip_bytes -= skipped
        return at + skipped


def _read_head(message: bytes | bytearray, at: int) -> tuple[int, int, int | bytes, int]:
    """Number, bytes of the value that follow, the value if none do, and where what follows is."""
    head, at = _read_varint(message, at)
    number, kind = head >> 3, head & 7
    if kind == _VARINT:
        value, at = _read_varint(message, at)
        return number, 0, value, at
    if kind == _BYTES:
        size, at = _read_varint(message, at)
        return number, size, b"", at
    if kind in (_FIXED64, _FIXED32):
        return number, 8 if kind == _FIXED64 else 4, b"", at
    raise ValueError(f"a field of type {kind}")


def _read_varint(message: bytes | bytearray, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise Cut("the message is cut")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")

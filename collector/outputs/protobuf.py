"""The wire format of Protocol Buffers, written: as much as OTLP needs.

The library takes 12 MiB and generated classes; a message is its fields one after
the other, each a number, a type and a value (protobuf.dev, "Encoding").
"""

from __future__ import annotations

import struct

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


def fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a message, of repeated ones the last. Raises ValueError for what is none."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        head, at = _read_varint(message, at)
        number, kind = head >> 3, head & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _read_varint(message, at)
        elif kind in (_FIXED64, _FIXED32, _BYTES):
            size = 8 if kind == _FIXED64 else 4
            if kind == _BYTES:
                size, at = _read_varint(message, at)
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise ValueError("the message is cut")
        else:
            raise ValueError(f"a field of type {kind}")
        found[number] = value
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("the message is cut")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")

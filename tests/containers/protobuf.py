"""Just enough of protobuf's wire format to speak CRI without generated code.

A message to send is bytes: fields joined. A message received is a dict from field number to its values, in
order, numbers as int and everything else as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Message = dict[int, list[int | bytes]]


def number(field: int, value: int) -> bytes:
    """Nothing for 0, which is what an absent number means."""
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def text(field: int, value: str) -> bytes:
    return message(field, value.encode()) if value else b""


def message(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value


def texts(field: int, values: list[str]) -> bytes:
    """A repeated string; empty ones count."""
    return b"".join(message(field, value.encode()) for value in values)


def mapping(field: int, values: Mapping[str, str]) -> bytes:
    return b"".join(message(field, text(1, key) + text(2, value)) for key, value in values.items())


def read(data: bytes) -> Message:
    """Raises ValueError or IndexError for what is no message."""
    found: Message = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            found.setdefault(key >> 3, []).append(value)
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        found.setdefault(key >> 3, []).append(data[at : at + size])
        at += size
    return found


def get_number(found: Message, field: int) -> int:
    value = found.get(field, [0])[-1]
    assert isinstance(value, int)
    return value


def get_bytes(found: Message, field: int) -> bytes:
    value = found.get(field, [b""])[-1]
    assert isinstance(value, bytes)
    return value


def get_text(found: Message, field: int) -> str:
    return get_bytes(found, field).decode()


def get_message(found: Message, field: int) -> Message:
    return read(get_bytes(found, field))


def get_messages(found: Message, field: int) -> list[Message]:
    return [read(value) for value in found.get(field, []) if isinstance(value, bytes)]


def get_mapping(found: Message, field: int) -> dict[str, str]:
    return {get_text(entry, 1): get_text(entry, 2) for entry in get_messages(found, field)}


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7

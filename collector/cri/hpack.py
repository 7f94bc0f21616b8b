"""Header lists of HTTP/2 (HPACK, RFC 7541), as much as a client of one server needs.

The table of remembered headers has no room: SETTINGS says so before the first request, so neither end
keeps any, and a block is read without what came before it. Text may be Huffman coded all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from collector.cri import huffman

MAX_HEADERS = 64

# The table of appendix A: name and value of 1 to 61.
_STATIC: tuple[tuple[str, str], ...] = (
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    *((":status", status) for status in ("200", "204", "206", "304", "400", "404", "500")),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    *((name, "") for name in (
        "accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow",
        "authorization", "cache-control", "content-disposition", "content-encoding", "content-language",
        "content-length", "content-location", "content-range", "content-type", "cookie", "date", "etag",
        "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
        "if-unmodified-since", "last-modified", "link", "location", "max-forwards", "proxy-authenticate",
        "proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie",
        "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate",
    )),
)  # fmt: skip

_INDEXED, _REMEMBERED, _TABLE_SIZE = 0x80, 0x40, 0x20
_HUFFMAN = 0x80


def encode(headers: Iterable[tuple[str, str]]) -> bytes:
    """Each written out, to be remembered by nobody."""
    parts: list[bytes] = []
    for name, value in headers:
        parts.append(b"\0")
        for text in (name.encode(), value.encode()):
            parts += (_integer(len(text), 7), text)
    return b"".join(parts)


def _integer(value: int, bits: int) -> bytes:
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((value,))
    found = bytearray((limit,))
    value -= limit
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def decode(block: bytes) -> list[tuple[str, str]]:
    """The headers in order. Raises ValueError for what is no such block, or needs a table."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(block):
        first = block[at]
        if first & _INDEXED:
            index, at = _read_integer(block, at, 7)
            found.append(_static(index))
        elif first & 0xE0 == _TABLE_SIZE:
            size, at = _read_integer(block, at, 5)
            if size or found:
                raise ValueError("another size of the table than was agreed on")
        else:
            index, at = _read_integer(block, at, 6 if first & _REMEMBERED else 4)
            name, at = (_static(index)[0], at) if index else _read_text(block, at)
            value, at = _read_text(block, at)
            found.append((name, value))
        if len(found) > MAX_HEADERS:
            raise ValueError(f"more than {MAX_HEADERS} headers")
    return found


def _static(index: int) -> tuple[str, str]:
    if not 1 <= index <= len(_STATIC):
        raise ValueError(f"header {index} of a table that has no room")
    return _STATIC[index - 1]


def _read_integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    limit = (1 << bits) - 1
    value = block[at] & limit
    at += 1
    if value < limit:
        return value, at
    for shift in range(0, 28, 7):
        if at >= len(block):
            raise ValueError("the headers are cut")
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number that is too large")


def _read_text(block: bytes, at: int) -> tuple[str, int]:
    if at >= len(block):
        raise ValueError("the headers are cut")
    is_coded = block[at] & _HUFFMAN
    size, at = _read_integer(block, at, 7)
    text = block[at : at + size]
    if len(text) < size:
        raise ValueError("the headers are cut")
    return (huffman.decode(text) if is_coded else text).decode("utf-8", "replace"), at + size

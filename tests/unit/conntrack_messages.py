"""Messages of ctnetlink, as the kernel makes them."""

from __future__ import annotations

import socket
import struct

NEW = 0x100
Place = tuple[str, int]


def attribute(kind: int, content: bytes, *, is_nested: bool = False) -> bytes:
    head = struct.pack("=HH", 4 + len(content), kind | (0x8000 if is_nested else 0))
    return head + content.ljust(len(content) + 3 & ~3, b"\0")


def side(kind: int, protocol: int, source: Place, destination: Place) -> bytes:
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    first = 3 if family == socket.AF_INET6 else 1
    addresses = attribute(first, socket.inet_pton(family, source[0]))
    addresses += attribute(first + 1, socket.inet_pton(family, destination[0]))
    ports = attribute(1, bytes([protocol]))
    ports += attribute(2, struct.pack("!H", source[1])) + attribute(3, struct.pack("!H", destination[1]))
    parts = attribute(1, addresses, is_nested=True) + attribute(2, ports, is_nested=True)
    return attribute(kind, parts, is_nested=True)


def message(original: bytes, reply: bytes, kind: int = NEW) -> bytes:
    body = struct.pack("=BBH", socket.AF_INET, 0, 0) + original + reply
    body += attribute(3, struct.pack("!I", 0x30))
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


CLIENT, SERVICE, POD, NODE = ("10.1.0.2", 40000), ("10.96.0.1", 443), ("10.1.0.9", 8443), ("10.0.0.5", 50000)
SERVED = message(side(1, 6, CLIENT, SERVICE), side(2, 6, POD, CLIENT))

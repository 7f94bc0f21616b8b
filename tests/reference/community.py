"""Community ID v1 as its specification says, by hashlib: what ext/community_id.c is tested against."""

from __future__ import annotations

import base64
import hashlib
import struct

# Types of ICMP messages that answer each other.
ANSWERS = {
    1: {0: 8, 8: 0, 13: 14, 14: 13, 15: 16, 16: 15, 10: 9, 9: 10, 17: 18, 18: 17},
    58: {
        128: 129,
        129: 128,
        133: 134,
        134: 133,
        135: 136,
        136: 135,
        130: 131,
        131: 130,
        144: 145,
        145: 144,
        139: 140,
        140: 139,
    },
}


def community_id(
    protocol: int, source: bytes, destination: bytes, source_port: int, destination_port: int, seed: int = 0
) -> str:
    """Addresses packed; of ICMP the ports are type and code."""
    is_one_way = False
    if protocol in ANSWERS:
        answer = ANSWERS[protocol].get(source_port)
        is_one_way = answer is None
        destination_port = destination_port if answer is None else answer
    first, second = (source, source_port), (destination, destination_port)
    if not is_one_way and first > second:
        first, second = second, first
    text = (
        struct.pack("!H", seed)
        + first[0]
        + second[0]
        + struct.pack("!BBHH", protocol, 0, first[1], second[1])
    )
    return "1:" + base64.b64encode(hashlib.sha1(text).digest()).decode()

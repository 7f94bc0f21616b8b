"""Messages of DNS (RFC 1035) in the fields of ECS: what ext/dns.c and event_dns.c are tested against."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

from tests.reference.event_text import text

ANSWERS_MOST = 32
TYPES = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    35: "NAPTR",
    43: "DS",
    46: "RRSIG",
    48: "DNSKEY",
    64: "SVCB",
    65: "HTTPS",
    255: "ANY",
}
CLASSES = {1: "IN", 3: "CH", 4: "HS", 255: "ANY"}
OPERATIONS = {0: "QUERY", 1: "IQUERY", 2: "STATUS", 4: "NOTIFY", 5: "UPDATE"}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
FLAGS = {0x400: "AA", 0x200: "TC", 0x100: "RD", 0x80: "RA", 0x20: "AD", 0x10: "CD"}
NAMES_AT = {2: 0, 5: 0, 12: 0, 15: 2, 33: 6}
Map = dict[str, Any]


class Malformed(Exception):
    pass


def shown(letter: int) -> str:
    if letter in b".\\":
        return "\\" + chr(letter)
    return chr(letter) if 32 < letter < 127 else f"\\{letter:03}"


def name_at(message: bytes, at: int) -> tuple[str, int]:
    """(as text, the offset behind it)."""
    labels: list[str] = []
    behind, lowest, wire = 0, at, 1
    while True:
        if at >= len(message):
            raise Malformed
        size = message[at]
        if size >= 0xC0:
            if at + 2 > len(message):
                raise Malformed
            behind = behind or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            if at >= lowest:
                raise Malformed
            lowest = at
            continue
        if size >= 0x40 or at + 1 + size > len(message):
            raise Malformed
        if not size:
            return ".".join(labels) or ".", behind or at + 1
        wire += 1 + size
        if wire > 255:
            raise Malformed
        labels.append("".join(map(shown, message[at + 1 : at + 1 + size])))
        at += 1 + size


def question(message: bytes, at: int) -> tuple[Map, int]:
    name, at = name_at(message, at)
    if at + 4 > len(message):
        raise Malformed
    kind, group = struct.unpack_from("!HH", message, at)
    made = {
        "name": name,
        "type": TYPES.get(kind, f"TYPE{kind}"),
        "class": CLASSES.get(group, f"CLASS{group}"),
    }
    return made, at + 4


def answer(message: bytes, at: int) -> tuple[Map, str | None, int]:
    """(the answer, its address if it has one, the offset behind it)."""
    name, at = name_at(message, at)
    if at + 10 > len(message):
        raise Malformed
    kind, group, ttl, length = struct.unpack_from("!HHIH", message, at)
    at += 10
    if at + length > len(message):
        raise Malformed
    made: Map = {"name": name, "type": TYPES.get(kind, f"TYPE{kind}")}
    made |= {"class": CLASSES.get(group, f"CLASS{group}"), "ttl": ttl}
    address = None
    if (kind, length) in ((1, 4), (28, 16)):
        address = shown_address(message[at : at + length])
    data = address if address is not None else data_of(message, at, kind, length)
    if data is not None:
        made["data"] = data
    return made, address, at + length


def shown_address(packed: bytes) -> str:
    one = ipaddress.ip_address(packed)
    mapped = getattr(one, "ipv4_mapped", None)
    return str(mapped or one)


def data_of(message: bytes, at: int, kind: int, length: int) -> str | None:
    offset = NAMES_AT.get(kind)
    if offset is not None and length > offset:
        try:
            name, _ = name_at(message, at + offset)
        except Malformed:
            return None
        numbers = struct.unpack_from(f"!{offset // 2}H", message, at)
        return " ".join([*map(str, numbers), name])
    if kind == 16 and length > message[at] if length else False:
        return text(message[at + 1 : at + 1 + message[at]])
    return None


def parse(message: bytes, *, is_cut: bool = False) -> Map | None:
    """The map `dns`; None for what is malformed."""
    if len(message) < 12:
        return None
    number, flags, questions, answers = struct.unpack_from("!HHHH", message)
    is_answer = bool(flags >> 15)
    operation, code = flags >> 11 & 15, flags & 15
    made: Map = {"id": str(number), "type": "answer" if is_answer else "query"}
    made["op_code"] = OPERATIONS.get(operation, f"OPCODE{operation}")
    made["header_flags"] = [name for bit, name in FLAGS.items() if flags & bit]
    found: list[Map] = []
    addresses: list[str] = []
    at = 12
    try:
        for asked in range(questions):
            one, at = question(message, at)
            if not asked:
                made["question"] = one
        while len(found) < min(answers, ANSWERS_MOST):
            one, address, at = answer(message, at)
            found.append(one)
            addresses += [address] if address is not None else []
    except Malformed:
        if not is_cut:
            return None
    if is_answer:
        made["response_code"] = CODES.get(code, f"RCODE{code}")
        made |= {"answers_count": answers, "answers": found, "resolved_ip": addresses}
    return made

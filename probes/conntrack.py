"""What connections are translated to on their way: the kernel's connection tracking, by ctnetlink.

The loader makes the socket, since it takes NET_ADMIN, in the node's network namespace, where Services are
translated. The collector only reads it. Layouts: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from probes import netns
from probes.netlink import Instruction, NetlinkSocket, messages

_NETLINK_NETFILTER = 12
_GROUP_NEW = 1  # NFNLGRP_CONNTRACK_NEW
_MESSAGE_NEW, _MESSAGE_GET = 0x100, 0x101  # of NFNL_SUBSYS_CTNETLINK
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_GENERAL_HEAD = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type and flags
_TYPE_MASK = 0x3FFF
_ORIGINAL, _REPLY, _STATUS = 1, 2, 3  # CTA_*
_IP, _PROTOCOL = 1, 2  # CTA_TUPLE_*
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_*, CTA_IP_V6_*
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_*
_TRANSLATED = 0x30  # IPS_SRC_NAT | IPS_DST_NAT
RECEIVE_BYTES = 1 << 20
# Without it nothing is tracked here, and asking would load the kernel's module.
TRACKING = Path("/proc/sys/net/netfilter/nf_conntrack_count")


class Place(NamedTuple):
    address: bytes  # packed
    port: int


class Translation(NamedTuple):
    """A connection as its client made it, and as it goes on."""

    protocol: int
    source: Place
    destination: Place
    translated_source: Place
    translated_destination: Place


def _as_loaded(value: int) -> int:
    """What a filter loads as big-endian of a 16-bit number that is in the machine's order."""
    return int.from_bytes(struct.pack("=H", value), "big")


# Dumps, which are several messages each, and new connections that are translated. No other wakes anybody.
_FILTER = (
    Instruction(0x28, value=6),  # the message's flags
    Instruction(0x45, if_true=7, value=_as_loaded(2)),  # NLM_F_MULTI
    Instruction(0x00, value=20),  # where attributes begin
    Instruction(0x01, value=_STATUS),
    Instruction(0x20, value=0xFFFFF000 + 12),  # SKF_AD_NLATTR: the attribute's offset, 0 for none
    Instruction(0x15, if_true=4, value=0),
    Instruction(0x07),
    Instruction(0x40, value=4),
    Instruction(0x45, if_false=1, value=_TRANSLATED),
    Instruction(0x06, value=0xFFFFFFFF),
    Instruction(0x06, value=0),
)


def open_conntrack(tracking: Path = TRACKING) -> NetlinkSocket:
    """Tells of new translated connections, and first of those that there are. Raises OSError."""
    if not tracking.exists():
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(tracking))
    made = NetlinkSocket(_NETLINK_NETFILTER, receive_bytes=RECEIVE_BYTES)
    try:
        made.filter(_FILTER)
        made.join(_GROUP_NEW)
        made.send(_MESSAGE_GET, _REQUEST_DUMP, 1, _GENERAL_HEAD.pack(socket.AF_UNSPEC, 0, 0))
    except BaseException:
        made.close()
        raise
    return made


def open_of_the_node() -> NetlinkSocket:
    """The same of the node's network namespace. Raises OSError."""
    with netns.inside_nodes():
        return open_conntrack()


def translations(datagram: bytes) -> Iterator[Translation]:
    """Those of one datagram. What makes no sense is left out."""
    for message in messages(datagram):
        if message.kind != _MESSAGE_NEW or len(message.body) < _GENERAL_HEAD.size:
            continue
        try:
            found = _translation(_attributes(message.body[_GENERAL_HEAD.size :]))
        except (KeyError, struct.error):
            continue
        if found is not None:
            yield found


def _translation(fields: dict[int, bytes]) -> Translation | None:
    protocol, source, destination = _tuple(fields[_ORIGINAL])
    _, replier, receiver = _tuple(fields[_REPLY])
    if (source, destination) == (receiver, replier):
        return None
    return Translation(protocol, source, destination, receiver, replier)


def _tuple(raw: bytes) -> tuple[int, Place, Place]:
    """Raises KeyError: it has no ports, or no addresses."""
    parts = _attributes(raw)
    addresses, protocol = _attributes(parts[_IP]), _attributes(parts[_PROTOCOL])
    source = next(addresses[kind] for kind in (*_SOURCES, 0) if kind in addresses or not kind)
    destination = next(addresses[kind] for kind in (*_DESTINATIONS, 0) if kind in addresses or not kind)
    (source_port,) = struct.unpack("!H", protocol[_SOURCE_PORT])
    (destination_port,) = struct.unpack("!H", protocol[_DESTINATION_PORT])
    return protocol[_NUMBER][0], Place(source, source_port), Place(destination, destination_port)


def _attributes(raw: bytes) -> dict[int, bytes]:
    """By type; ends early where a length makes no sense."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(raw):
        length, kind = _ATTRIBUTE.unpack_from(raw, at)
        if not _ATTRIBUTE.size <= length <= len(raw) - at:
            break
        found[kind & _TYPE_MASK] = raw[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found

"""TCP sockets without eBPF: the kernel's sock_diag (sock_diag(7)).

Two things: a dump of the sockets that there are, and a message for each that is
destroyed, with its counters. Both are of one network namespace.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from probes.netlink import (
    NETLINK_SOCK_DIAG,
    NLMSG_DONE,
    NLMSG_ERROR,
    NetlinkSocket,
    error_of,
    messages,
    was_overrun,
)

_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_GROUPS = (1, 3)  # SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY

# include/uapi/linux/inet_diag.h
_REQUEST = struct.Struct(
    "=BBBBI48s"
)  # struct inet_diag_req_v2: family, protocol, extensions, pad, states, id
_SOCKET = struct.Struct("=BBBB2s2s16s16sIQIIIII")  # struct inet_diag_msg
_INFO, _CGROUP_ID = 2, 21
# struct tcp_info of include/uapi/linux/tcp.h: fields and where they are
_INFO_U32 = {"rtt_us": 68, "retransmits": 100, "segments_out": 136, "segments_in": 140}
_INFO_U64 = {"bytes_acked": 120, "bytes_received": 128, "bytes_sent": 200, "bytes_retransmitted": 208}
_INFO_BYTES = 216


class State(IntEnum):
    """TCP states, as the kernel numbers them."""

    ESTABLISHED = 1
    SYN_SENT = 2
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


# Sockets of processes. One in TIME_WAIT is a memory of a socket that was destroyed before.
_DUMPED = (
    State.ESTABLISHED,
    State.SYN_SENT,
    State.FIN_WAIT1,
    State.FIN_WAIT2,
    State.CLOSE_WAIT,
    State.LAST_ACK,
    State.LISTEN,
    State.CLOSING,
)
_STATES = sum(1 << state for state in _DUMPED)


class Counters(NamedTuple):
    """struct tcp_info. `retransmits` are segments; bytes_acked counts SYN and FIN as a byte each."""

    rtt_us: int
    retransmits: int
    segments_out: int
    segments_in: int
    bytes_acked: int
    bytes_received: int
    bytes_sent: int
    bytes_retransmitted: int


class TcpSocket(NamedTuple):
    """Addresses are packed, 4 or 16 bytes. `cookie` is the socket's own: no other ever has the same."""

    cookie: int
    state: int
    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    inode: int  # 0: no process has it open
    uid: int
    backlog: int  # of a listener
    cgroup_id: int  # of the process that made it; 0 when not told
    counters: Counters | None  # of a destroyed one


def sockets(datagram: bytes) -> list[TcpSocket]:
    """What a datagram of a dump or of the destroyed says; nothing for what is not understood."""
    return [
        _socket(message.body)
        for message in messages(datagram)
        if message.kind == _SOCK_DIAG_BY_FAMILY and len(message.body) >= _SOCKET.size
    ]


def _socket(body: bytes) -> TcpSocket:
    family, state, _, _, sport, dport, source, destination, _, cookie, _, _, backlog, uid, inode = (
        _SOCKET.unpack_from(body)
    )
    attributes = dict(_attributes(body[_SOCKET.size :]))
    address_bytes = 4 if family == socket.AF_INET else 16
    return TcpSocket(
        cookie,
        state,
        (source[:address_bytes], int.from_bytes(sport, "big")),
        (destination[:address_bytes], int.from_bytes(dport, "big")),
        inode,
        uid,
        backlog if state == State.LISTEN else 0,
        int.from_bytes(attributes.get(_CGROUP_ID, b"")[:8], "little"),
        _counters(attributes.get(_INFO)),
    )


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if not 4 <= length <= len(body) - at:
            return
        yield kind, body[at + 4 : at + length]
        at += length + 3 & ~3


def _counters(info: bytes | None) -> Counters | None:
    """Kernels before 4.19 have less; what they lack is 0."""
    if info is None:
        return None
    info = info.ljust(_INFO_BYTES, b"\0")
    narrow = {name: struct.unpack_from("=I", info, at)[0] for name, at in _INFO_U32.items()}
    wide = {name: struct.unpack_from("=Q", info, at)[0] for name, at in _INFO_U64.items()}
    return Counters(**narrow, **wide)


class DestroyedSockets:
    """Subscribed to the ends of TCP sockets of the network namespace of the thread that makes it."""

    def __init__(self, *, receive_bytes: int) -> None:
        """Raises OSError."""
        self._socket = NetlinkSocket(NETLINK_SOCK_DIAG, receive_bytes=receive_bytes)
        try:
            for group in _GROUPS:
                self._socket.join(group)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[list[TcpSocket], bool] | None:
        """Sockets of one datagram, and whether some before them were lost. None: nothing to be read now."""
        try:
            datagram = self._socket.receive()
        except OSError as error:
            if was_overrun(error):
                return [], True
            raise
        return None if datagram is None else (sockets(datagram), False)

    def dropped(self) -> int:
        return self._socket.dropped()

    def close(self) -> None:
        self._socket.close()


class SocketDump:
    """Asks for the TCP sockets of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = NetlinkSocket(NETLINK_SOCK_DIAG)

    def read(self) -> list[TcpSocket]:
        """All that there are now, listeners too. Raises OSError."""
        return [*self._of(socket.AF_INET), *self._of(socket.AF_INET6)]

    def _of(self, family: int) -> Iterator[TcpSocket]:
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _STATES, b"")
        self._socket.send(_SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, body)
        # The kernel has the first part of the answer ready when send() returns, the next when one was read.
        while (datagram := self._socket.receive()) is not None:
            yield from sockets(datagram)
            for message in messages(datagram):
                if message.kind == NLMSG_DONE:
                    return
                if message.kind == NLMSG_ERROR and (error := error_of(message)):
                    raise error

    def close(self) -> None:
        self._socket.close()

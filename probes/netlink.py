"""Netlink sockets as a witness needs them: groups, a filter in the kernel, an exact count of what was lost.

pyroute2 has the message types that are read here, and the tests compare with them. The sockets are our own
because a witness must read at the kernel's pace and know what it missed: decoding by pyroute2 0.9 takes 15 us
for a process event and 80 us for a socket of a dump, where `struct` takes 1 and 2; it does not show how many
messages the kernel dropped; and importing it takes 14 MiB.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Self

# include/uapi/linux/netlink.h
NETLINK_SOCK_DIAG, NETLINK_CONNECTOR = 4, 11
NLMSG_ERROR, NLMSG_DONE = 2, 3
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
# include/uapi/asm-generic/socket.h, include/uapi/linux/sock_diag.h
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_MEMINFO = 26, 33, 55
_MEMINFO = struct.Struct("=9I")
_MEMINFO_DROPS = 8

HEAD = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
MESSAGE_BYTES = 1 << 16  # of one recv: a dump comes in pieces of up to 32 KiB


class Instruction(NamedTuple):
    """Of a socket filter (classic BPF)."""

    code: int
    if_true: int = 0  # instructions to skip
    if_false: int = 0
    value: int = 0


class Message(NamedTuple):
    kind: int
    flags: int
    body: bytes


class _Program(ctypes.Structure):  # struct sock_fprog
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class NetlinkSocket:
    """A socket in the network namespace of the thread that makes it.

    The kernel drops messages for which `receive_bytes` have no room, and all that
    follow until the socket was read empty; `dropped` counts each.
    """

    def __init__(self, protocol: int, *, receive_bytes: int = 0) -> None:
        """Raises OSError: the kernel has no such protocol."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.setblocking(False)
        # A socket without an address has that of the kernel, whose own messages it does not get.
        self._socket.bind((0, 0))
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            with suppress(PermissionError):  # beyond the limit net.core.rmem_max
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_bytes)

    def fileno(self) -> int:
        return self._socket.fileno()

    def join(self, group: int) -> None:
        """Raises OSError."""
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def filter(self, program: Sequence[Instruction]) -> None:
        """Messages that the program gives 0 for are not put into the socket, and not counted."""
        code = b"".join(_INSTRUCTION.pack(*one) for one in program)
        raw = bytes(_Program(len(program), code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, raw)

    def send(self, kind: int, flags: int, sequence: int, body: bytes) -> None:
        """Raises OSError."""
        self._socket.send(HEAD.pack(HEAD.size + len(body), kind, flags, sequence, 0) + body)

    def receive(self) -> bytes | None:
        """One datagram; None when there is none. Raises OSError, ENOBUFS after messages were dropped."""
        try:
            return self._socket.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return None

    def dropped(self) -> int:
        """Messages that found no room, since the socket was made."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(raw)[_MEMINFO_DROPS])

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def was_overrun(error: OSError) -> bool:
    """Messages were dropped; the socket goes on."""
    return error.errno == errno.ENOBUFS


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram; ends early where a length makes no sense."""
    at = 0
    while at + HEAD.size <= len(datagram):
        length, kind, flags, _, _ = HEAD.unpack_from(datagram, at)
        if not HEAD.size <= length <= len(datagram) - at:
            return
        yield Message(kind, flags, datagram[at + HEAD.size : at + length])
        at += length + 3 & ~3


def error_of(message: Message) -> OSError | None:
    """What a message of type NLMSG_ERROR says; None for an acknowledgement."""
    (code,) = struct.unpack_from("=i", message.body)
    return OSError(-code, errno.errorcode.get(-code, "netlink error")) if code else None

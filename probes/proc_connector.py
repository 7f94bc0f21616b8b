"""The kernel's process events without eBPF: the proc connector (Documentation/driver-api/connector.rst).

Events are of processes: a filter in the kernel drops those of single threads. Times are CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from enum import IntEnum
from typing import NamedTuple

from probes.netlink import (
    HEAD,
    NETLINK_CONNECTOR,
    NLMSG_DONE,
    Instruction,
    NetlinkSocket,
    messages,
    was_overrun,
)

_CN_IDX_PROC = _CN_VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2  # enum proc_cn_mcast_op
_ANSWER_S = 2.0

_CONNECTOR = struct.Struct("=IIIIHH")  # struct cn_msg: index, value, sequence, ack, length, flags
_EVENT = struct.Struct("=IIQ6I")  # struct proc_event: what, cpu, time, then a union
_WHAT_AT = HEAD.size + _CONNECTOR.size
_UNION_AT = _WHAT_AT + 16


class What(IntEnum):
    """enum proc_cn_event of include/uapi/linux/cn_proc.h, as far as it is used."""

    ANSWER = 0
    FORK = 0x1
    EXEC = 0x2
    UID = 0x4
    GID = 0x40
    EXIT = 0x80000000


class ProcessEvent(NamedTuple):
    what: What
    time_ns: int
    pid: int  # of the process; for FORK the child
    tid: int  # the thread that did it
    parent_pid: int = 0  # FORK, and EXIT since Linux 4.18
    real_id: int = 0  # UID, GID
    effective_id: int = 0
    status: int = 0  # EXIT: as wait(2) has it, of the first thread


class ConnectorUnusable(Exception):
    """Why there are no process events, and what to do; a sentence each."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy


class ProcConnector:
    """Subscribed to the process events of the node."""

    def __init__(self, *, receive_bytes: int) -> None:
        """To be made in the node's network namespace. Raises ConnectorUnusable."""
        try:
            self._socket = NetlinkSocket(NETLINK_CONNECTOR, receive_bytes=receive_bytes)
        except OSError as error:
            raise ConnectorUnusable(
                f"The kernel has no netlink connector ({error.strerror}).",
                "Use a kernel with CONFIG_PROC_EVENTS.",
            ) from error
        try:
            self._subscribe()
        except BaseException:
            self._socket.close()
            raise

    def _subscribe(self) -> None:
        token = int.from_bytes(os.urandom(3), "little")
        try:
            self._socket.filter(PROCESSES_ONLY)
            self._socket.join(_CN_IDX_PROC)
            self._control(_LISTEN, token)
        except OSError as error:
            raise ConnectorUnusable(
                f"The proc connector refuses: {error.strerror}.",
                # There is one, for the machine's first network namespace.
                "Run podwitness in the node's network namespace (hostNetwork), or with SYS_ADMIN and "
                "SYS_PTRACE to enter it."
                if error.errno == errno.ECONNREFUSED
                else "Grant NET_ADMIN, which it takes before Linux 6.6.",
            ) from error
        if not self._is_answered(token):
            raise ConnectorUnusable(
                "The proc connector does not answer.",
                "Run podwitness in the node's pid namespace (hostPID) and without a user namespace, "
                "on a kernel with CONFIG_PROC_EVENTS.",
            )

    def _control(self, operation: int, token: int) -> None:
        head = _CONNECTOR.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, token, 4, 0)
        self._socket.send(NLMSG_DONE, 0, 0, head + struct.pack("=I", operation))

    def _is_answered(self, token: int) -> bool:
        """Events that come before the answer are of no use yet."""
        deadline = time.monotonic() + _ANSWER_S
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            datagram = self._receive()
            if datagram is not None and _answers(datagram) == token:
                return True
        return False

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[list[ProcessEvent], bool] | None:
        """Events of one datagram, and whether some before them were lost. None: nothing to be read now."""
        try:
            datagram = self._socket.receive()
        except OSError as error:
            if was_overrun(error):
                return [], True
            raise
        return None if datagram is None else (events(datagram), False)

    def _receive(self) -> bytes | None:
        try:
            return self._socket.receive()
        except OSError as error:
            if was_overrun(error):
                return None
            raise

    def dropped(self) -> int:
        """Events that the kernel had no room for, since the start."""
        return self._socket.dropped()

    def close(self) -> None:
        """Before Linux 6.6 the kernel would go on making events if it were not told."""
        try:
            self._control(_IGNORE, 0)
        except OSError:
            pass
        finally:
            self._socket.close()


def _answers(datagram: bytes) -> int | None:
    """The token of the request that this answers: the kernel adds one to it, and puts its own sequence."""
    if len(datagram) < _WHAT_AT + 4 or struct.unpack_from("=I", datagram, _WHAT_AT)[0] != What.ANSWER:
        return None
    return int(_CONNECTOR.unpack_from(datagram, HEAD.size)[3]) - 1


def events(datagram: bytes) -> list[ProcessEvent]:
    """What a datagram of the connector says; nothing for what is not understood."""
    found = []
    for message in messages(datagram):
        # Before Linux 5.4 the union was shorter, by what is not read here.
        body = message.body[_CONNECTOR.size :].ljust(_EVENT.size, b"\0")
        event = _event(*_EVENT.unpack_from(body))
        if event is not None:
            found.append(event)
    return found


def _event(
    what: int, _cpu: int, time_ns: int, a: int, b: int, c: int, d: int, e: int, f: int
) -> ProcessEvent | None:
    """The members a to f are those of the union in their order."""
    if what == What.EXEC:
        return ProcessEvent(What.EXEC, time_ns, b, a)
    if what == What.FORK:
        return ProcessEvent(What.FORK, time_ns, d, c, parent_pid=b) if c == d else None
    if what == What.EXIT:
        return ProcessEvent(What.EXIT, time_ns, b, a, parent_pid=f, status=c) if a == b else None
    if what in (What.UID, What.GID):
        return ProcessEvent(What(what), time_ns, b, a, real_id=c, effective_id=d)
    return None


def _as_loaded(value: int) -> int:
    """A filter loads words in network order; the connector writes them in the machine's."""
    return int.from_bytes(struct.pack("=I", value), "big")


_LOAD, _JUMP_EQUAL, _JUMP_EQUAL_X, _COPY_TO_X, _RETURN = 0x20, 0x15, 0x1D, 0x07, 0x06
_FORK_AT, _EXIT_AT, _DROP_AT, _PASS_AT = 7, 11, 15, 16


def _jump(at: int, what: What, target: int, other: int = 0) -> Instruction:
    """`at`, `target` and `other` are places in the program; other 0: the next instruction."""
    return Instruction(_JUMP_EQUAL, target - at - 1, other and other - at - 1, _as_loaded(what))


PROCESSES_ONLY = (
    Instruction(_LOAD, value=_WHAT_AT),
    _jump(1, What.ANSWER, _PASS_AT),
    _jump(2, What.FORK, _FORK_AT),
    _jump(3, What.EXEC, _PASS_AT),
    _jump(4, What.UID, _PASS_AT),
    _jump(5, What.GID, _PASS_AT),
    _jump(6, What.EXIT, _EXIT_AT, _DROP_AT),
    # What was made is a process if it is the first thread of its group.
    Instruction(_LOAD, value=_UNION_AT + 8),
    Instruction(_COPY_TO_X),
    Instruction(_LOAD, value=_UNION_AT + 12),
    Instruction(_JUMP_EQUAL_X, _PASS_AT - 11, _DROP_AT - 11),
    # The same of what ends; whether its other threads go on is for the reader to find out.
    Instruction(_LOAD, value=_UNION_AT),
    Instruction(_COPY_TO_X),
    Instruction(_LOAD, value=_UNION_AT + 4),
    Instruction(_JUMP_EQUAL_X, _PASS_AT - 15, _DROP_AT - 15),
    Instruction(_RETURN, value=0),
    Instruction(_RETURN, value=0xFFFFFFFF),
)
"""Lets through what is of a process: a node's threads come and go far more often."""

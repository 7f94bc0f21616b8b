"""probes.netlink: sockets that filter, and that know what they lost."""

from __future__ import annotations

import errno
import struct

import pytest

from probes.netlink import (
    HEAD,
    NETLINK_CONNECTOR,
    NETLINK_SOCK_DIAG,
    NLMSG_ERROR,
    Instruction,
    Message,
    NetlinkSocket,
    error_of,
    messages,
    was_overrun,
)
from tests.kernel.sandbox import fork_one_by_one

pytestmark = pytest.mark.kernel

RETURN = 0x06
EVENTS = 2  # a fork and an exit


def pack(kind: int, body: bytes) -> bytes:
    return (HEAD.pack(HEAD.size + len(body), kind, 0, 0, 0) + body).ljust(HEAD.size + len(body) + 3 & ~3)


def listening(receive_bytes: int = 1 << 20) -> NetlinkSocket:
    """To all events of processes: probes.proc_connector without its filter."""
    made = NetlinkSocket(NETLINK_CONNECTOR, receive_bytes=receive_bytes)
    made.join(1)
    made.send(3, 0, 0, struct.pack("=IIIIHHI", 1, 1, 0, 0, 4, 0, 1))
    return made


def drain(one: NetlinkSocket) -> tuple[int, bool]:
    """(datagrams, whether it was overrun)."""
    count, overrun = 0, False
    while True:
        try:
            if one.receive() is None:
                return count, overrun
            count += 1
        except OSError as error:
            overrun = was_overrun(error)
            if not overrun:
                raise


def test_lost_and_read_are_all_there_were() -> None:
    with listening(receive_bytes=1) as small, listening(receive_bytes=8 << 20) as large:
        drain(small)
        drain(large)
        before = small.dropped()
        fork_one_by_one(211)
        read, overrun = drain(small)
        lost = small.dropped() - before
        all_there_were, _ = drain(large)
        # Others make processes meanwhile, between the two readings too.
        assert 211 * EVENTS <= read + lost <= all_there_were
        assert overrun
        assert large.dropped() == 0


def test_nothing_to_be_read_is_no_error() -> None:
    with NetlinkSocket(NETLINK_SOCK_DIAG) as one:
        assert one.receive() is None
        assert one.dropped() == 0


def test_a_filter_keeps_messages_out_without_counting_them() -> None:
    with listening() as one:
        drain(one)
        one.filter([Instruction(RETURN, value=0)])
        fork_one_by_one(3)
        assert drain(one) == (0, False)
        assert one.dropped() == 0


def test_a_protocol_that_there_is_not() -> None:
    with pytest.raises(OSError, match="not supported"):
        NetlinkSocket(31)


def test_messages_of_a_datagram() -> None:
    datagram = pack(7, b"abcde") + pack(8, b"")
    assert [(one.kind, one.body) for one in messages(datagram)] == [(7, b"abcde"), (8, b"")]


@pytest.mark.parametrize("cut", range(1, 21))
def test_a_cut_datagram_ends_early(cut: int) -> None:
    whole = pack(7, b"abcd") + pack(8, b"efgh")
    assert [one.kind for one in messages(whole[:-cut])] == [7]


@pytest.mark.parametrize("length", [0, 15, 1 << 31])
def test_a_length_that_makes_no_sense_ends_it(length: int) -> None:
    assert list(messages(struct.pack("=IHHII", length, 1, 0, 0, 0) + b"x" * 16)) == []


def test_errors_of_the_kernel() -> None:
    refused = error_of(Message(NLMSG_ERROR, 0, struct.pack("=i", -errno.EPERM)))
    assert isinstance(refused, PermissionError)
    assert error_of(Message(NLMSG_ERROR, 0, struct.pack("=i", 0))) is None

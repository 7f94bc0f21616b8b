"""probes.netlink_sockets: what began and ended between two looks, and whose it was."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection

import pytest

from probes import netlink_sockets
from probes.netlink_sockets import NamespaceSockets, Owner, Owners
from probes.process_files import ProcessFiles
from probes.sock_diag import Counters, State, TcpSocket

OWNER = Owner(7, 8, b"server", 9)
POD = (77, "/pod")
LOCAL, REMOTE = b"\x0a\0\0\1", b"\x0a\0\0\2"


def nobody(sockets: Collection[TcpSocket]) -> dict[int, Owner]:
    return {}


def table(find_owners: netlink_sockets.FindOwners = nobody) -> NamespaceSockets:
    return NamespaceSockets(5, find_owners, POD, range(32768, 61000), is_old=False)


def tcp(cookie: int, local_port: int, remote_port: int, state: State = State.ESTABLISHED) -> TcpSocket:
    return TcpSocket(cookie, state, (LOCAL, local_port), (REMOTE, remote_port), 100 + cookie, 0, 0, 42, None)


def listener(cookie: int, port: int) -> TcpSocket:
    return tcp(cookie, port, 0, State.LISTEN)._replace(backlog=9)


def ended(one: TcpSocket, **counted: int) -> TcpSocket:
    """As the kernel tells of it: without inode and cgroup."""
    counters = Counters(*[0] * 8)._replace(segments_in=3, rtt_us=20)._replace(**counted)
    return one._replace(state=State.CLOSE, inode=0, cgroup_id=0, counters=counters)


def test_what_was_there_before_is_told_as_such_and_its_end_is() -> None:
    sockets = NamespaceSockets(5, nobody, POD, range(0), is_old=True)
    assert sockets.dumped([listener(1, 80), tcp(2, 80, 5000)], 1, 1000) == ([], 0)
    told = list(sockets.present(3))
    assert [(one.action, one.role, one.time_ns, one.preexisting) for one in told] == [
        ("listening", "listener", 3, True),
        ("connected", "server", 3, True),
    ]
    seen = sockets.destroyed(ended(tcp(2, 80, 5000), bytes_sent=11), 9)
    assert seen is not None
    assert (seen.action, seen.role, seen.preexisting, seen.time_ns) == ("close", "server", True, 9)
    assert (seen.cgroup_id, seen.cgroup_path) == (42, "")
    assert seen.counters is not None
    assert seen.counters.bytes_sent == 11
    assert len(sockets) == 1


def test_what_ends_or_begins_before_it_is_asked_for_is_not_told_as_there() -> None:
    sockets = NamespaceSockets(5, nobody, POD, range(0), is_old=True)
    sockets.dumped([tcp(1, 80, 5000), tcp(2, 80, 5001), tcp(3, 80, 5002)], 1, 1000)
    present = sockets.present(3)
    assert next(present).socket.cookie == 1
    sockets.destroyed(ended(tcp(2, 80, 5001)), 9)
    sockets.dumped([tcp(1, 80, 5000), tcp(3, 80, 5002), tcp(4, 80, 5003)], 10, 1000)
    assert [one.socket.cookie for one in present] == [3]


def test_what_is_new_is_told_once_by_its_role() -> None:
    sockets = table(lambda found: {one.inode: OWNER for one in found})
    dump = [listener(1, 80), tcp(2, 80, 5000), tcp(3, 40000, 443), tcp(4, 40001, 443, State.SYN_SENT)]
    begun, _ = sockets.dumped(dump, 3, 1000)
    assert [(one.action, one.role, one.owner) for one in begun] == [
        ("listen", "listener", OWNER),
        ("accept", "server", OWNER),
        ("connect", "client", OWNER),
    ]
    assert sockets.dumped(dump, 4, 1000) == ([], 0)
    established = dump[3]._replace(state=State.ESTABLISHED)
    begun, _ = sockets.dumped([*dump[:3], established], 5, 1000)
    assert [one.socket.cookie for one in begun] == [4]


def test_the_end_of_a_listener() -> None:
    sockets = table()
    sockets.dumped([listener(1, 80)], 3, 1000)
    seen = sockets.destroyed(ended(listener(1, 80), segments_in=0), 4)
    assert seen is not None
    assert (seen.action, seen.counters) == ("unlisten", None)


@pytest.mark.parametrize(
    ("local_port", "counted", "role"),
    [
        (80, {}, "server"),  # somebody listens there
        (40000, {"bytes_sent": 5, "bytes_acked": 7}, "client"),  # its SYN and FIN
        (40000, {"bytes_sent": 5, "bytes_acked": 6}, "client"),
        (8080, {"bytes_sent": 5, "bytes_retransmitted": 2, "bytes_acked": 5}, "client"),
        (8080, {"bytes_sent": 5, "bytes_acked": 6}, "unknown"),
    ],
)
def test_the_role_of_what_no_dump_has_shown(local_port: int, counted: dict[str, int], role: str) -> None:
    sockets = table()
    sockets.dumped([listener(1, 80)], 3, 1000)
    seen = sockets.destroyed(ended(tcp(2, local_port, 443), **counted), 4)
    assert seen is not None
    assert (seen.action, seen.role, seen.owner, seen.preexisting) == ("close", role, None, False)
    assert (seen.cgroup_id, seen.cgroup_path) == POD


def test_sockets_that_never_were_connected() -> None:
    sockets = table()
    assert sockets.destroyed(ended(tcp(2, 40000, 0)), 4) is None
    failed = sockets.destroyed(ended(tcp(3, 40000, 443), rtt_us=0), 4)
    assert failed is not None
    assert failed.action == "connect-failed"


def test_counters_that_the_kernel_has_cleared_are_not_told() -> None:
    """A socket that was reset by its own end is as new when it is destroyed, without addresses too."""
    sockets = table()
    sockets.dumped([tcp(2, 40000, 443)], 3, 1000)
    cleared = ended(tcp(2, 40000, 0), segments_in=0, rtt_us=0)
    seen = sockets.destroyed(cleared, 4)
    assert seen is not None
    assert (seen.action, seen.counters, seen.socket.remote) == ("close", None, (REMOTE, 443))


def test_after_a_loss_what_the_dump_does_not_show_is_gone() -> None:
    sockets = table()
    sockets.dumped([tcp(2, 40000, 443), tcp(3, 40001, 443)], 3, 1000)
    sockets.dumped([tcp(2, 40000, 443)], 4, 1000)
    assert len(sockets) == 2  # a dump alone may miss one
    sockets.overrun()
    sockets.dumped([tcp(2, 40000, 443)], 5, 1000)
    assert len(sockets) == 1


def test_more_than_there_is_room_for_are_counted_and_asked_for_again() -> None:
    sockets = table()
    dump = [tcp(cookie, 40000 + cookie, 443) for cookie in range(11)]
    begun, excess = sockets.dumped(dump, 3, 4)
    assert (len(begun), excess) == (4, 7)
    begun, excess = sockets.dumped(dump, 4, 1000)
    assert (len(begun), excess) == (7, 0)


def test_owners_are_found_by_their_open_files() -> None:
    with socket.socket() as one, socket.socket() as other:
        inodes = [os.fstat(each.fileno()).st_ino for each in (one, other)]
        wanted = [tcp(1, 1, 1)._replace(inode=inode) for inode in (*inodes, 0, 1)]
        found = Owners(None).find(wanted)
    with ProcessFiles(os.getpid()) as files:
        stat = files.stat()
    assert found == dict.fromkeys(inodes, Owner(os.getpid(), stat.start_ns, stat.comm, os.geteuid()))


def test_the_search_for_owners_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink_sockets, "MAX_DESCRIPTORS", 0)
    monkeypatch.setattr(netlink_sockets, "processes", lambda: [GONE, os.getpid()])
    with socket.socket() as one:
        wanted = [tcp(1, 1, 1)._replace(inode=os.fstat(one.fileno()).st_ino)]
        assert Owners(None).find(wanted) == {}


GONE = 2**22 + 1

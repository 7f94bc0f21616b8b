"""probes.netlink_exchange: what crosses comes out as it went in."""

from __future__ import annotations

import msgspec
import pytest

from probes.netlink_exchange import Lost, Part, Report, Watch, decode_report, decode_watch, encode
from probes.netlink_processes import Ending, Image, Parent, Process, Seen
from probes.netlink_sockets import Owner, SocketSeen
from probes.process_files import Arguments, Binary, Credentials
from probes.sock_diag import Counters, TcpSocket

PROCESS = Process(
    10,
    20,
    b"\xff name",
    Parent(1, 2, b"parent"),
    Credentials(1, 2, 3, 4, 2**41 - 1, 6),
    1000,
    (("mnt", 1), ("net", 2)),
    "/a\\xff",
    2**60,
)
IMAGE = Image(Arguments(b"a\0\xff\0", 4, 2), Binary(b"/bin/a", 1, 2, 0o755, True, False), b"/")
SOCKET = TcpSocket(2**63, 1, (b"\x7f\0\0\1", 80), (b"\0" * 16, 65535), 2**31, 0, 128, 5, None)


def test_a_report() -> None:
    report = Report(
        processes=[
            Seen("exec", 2**60, PROCESS, 11, IMAGE),
            Seen("exit", 1, Process(5), 5, ending=Ending(None, None, None, 0), unread="gone"),
        ],
        sockets=[
            SocketSeen(
                "close", 1, 2, SOCKET, "client", Owner(1, 2, b"x", 3), 4, "/p", True, Counters(*range(8))
            )
        ],
        lost=[Lost("process", "exec", "queue_full", 3)],
        parts=[Part("network", False, "why")],
    )
    assert decode_report(encode(report)) == report


def test_a_wish() -> None:
    watch = Watch(("process",), "/sys/fs/cgroup", ("a", "b"), 1, 2, 0.02, 1.0)
    assert decode_watch(encode(watch)) == watch


def test_what_is_none_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_report(b"\xc1")

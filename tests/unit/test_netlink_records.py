"""collector.inputs.netlink_records beside the reference for eBPF: the same things look the same."""

from __future__ import annotations

import os
from typing import Any

import pytest
from collector._native import lib
from hypothesis import given
from hypothesis import strategies as st

from collector.inputs.netlink_records import Clock, date, network_record, process_record, text
from probes.netlink_processes import Ending, Image, Parent, Process, Seen
from probes.netlink_sockets import Owner, SocketSeen
from probes.process_files import Arguments, Binary, Credentials
from probes.sock_diag import Counters, TcpSocket
from tests.reference import event_records as records
from tests.reference import event_text, events, network_events

NODE_ID, OFFSET_NS = 0x1DB3, 1_700_000_000_123_456_789
CLOCK = Clock(NODE_ID, OFFSET_NS)
START_NS, PARENT_START_NS = 1230_000_000, 450_000_000


def task() -> dict[str, Any]:
    return {
        "task_pid": 10,
        "task_tid": 10,
        "task_start_ns": START_NS,
        "task_parent_pid": 9,
        "task_parent_start_ns": PARENT_START_NS,
        "task_namespace_pid": 3,
        "task_uid": 1,
        "task_euid": 2,
        "task_gid": 4,
        "task_loginuid": 1000,
        "task_cap_effective": 0xABC,
        "task_mnt_ns": 11,
        "task_pid_ns": 12,
        "task_net_ns": 13,
        "task_user_ns": 14,
        "task_comm": b"na\\xme\xff",
        "task_parent_comm": b"parent",
        "cgroup_id": 77,
    }


PROCESS = Process(
    10,
    START_NS,
    b"na\\xme\xff",
    Parent(9, PARENT_START_NS, b"parent"),
    Credentials(1, 2, 4, 5, 0xABC, 3),
    1000,
    (("mnt", 11), ("pid", 12), ("net", 13), ("user", 14)),
    "/a",
    77,
)


def assert_agrees(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """What netlink tells is what eBPF tells, in the same order, though it may be less."""
    assert found.pop("provider", "netlink") == "netlink"
    assert set(found) <= set(expected)
    for key, value in found.items():
        if isinstance(value, dict):
            assert_agrees(value, expected[key])
        else:
            assert value == expected[key], key
    assert list(found) == [key for key in expected if key in found]


def test_a_fork() -> None:
    raw = records.record(lib.PW_FORK, **task())
    expected = events.process_event(raw, 3, (NODE_ID, OFFSET_NS))
    assert_agrees(dict(process_record(Seen("fork", 1, PROCESS, 10), "container", CLOCK)), expected)


@given(st.lists(records.hostile_text.map(lambda one: one.replace(b"\0", b"")), max_size=9))
def test_an_exec(arguments: list[bytes]) -> None:
    args = b"".join(one + b"\0" for one in arguments) or b"\0"
    image = Image(
        Arguments(args[:4096], len(args), args.count(b"\0")),
        Binary(b"/usr/bin/\xff", 5, os_device(254, 3), 0o4755, False, False),
        b"/",
    )
    flags = lib.PW_ARGS_CUT if len(args) > 4096 else 0
    raw = records.exec_record(
        args[:4096],
        b"\xff\0bin\0usr\0",
        b"",
        flags=flags,
        inode=5,
        device=254 << 20 | 3,
        mode=0o4755,
        argc=args.count(b"\0"),
        args_total_bytes=len(args),
        **task(),
    )
    expected = events.process_event(raw, 3, (NODE_ID, OFFSET_NS))
    assert_agrees(dict(process_record(Seen("exec", 1, PROCESS, 10, image), "container", CLOCK)), expected)


def os_device(major: int, minor: int) -> int:
    return os.makedev(major, minor)


@pytest.mark.parametrize("status", [0, 7 << 8, 9, 0x80 | 11, 34])
def test_an_exit(status: int) -> None:
    raw = records.record(
        lib.PW_EXIT, duration_ns=99, user_ns_total=10, system_ns_total=20, status=status, **task()
    )
    expected = events.process_event(raw, 1, (NODE_ID, OFFSET_NS))
    ending = Ending(status, 10, 20, 99)
    assert_agrees(dict(process_record(Seen("exit", 1, PROCESS, 10, ending=ending), "host", CLOCK)), expected)


def test_a_process_that_was_there() -> None:
    image = Image(
        Arguments(b"a\0b\0", 4, 2), Binary(b"/usr/bin/a", 5, os_device(254, 3), 0o755, False, False), b"/"
    )
    raw = records.exec_record(
        b"a\0b\0", b"a\0bin\0usr\0", b"", inode=5, device=254 << 20 | 3, mode=0o755, argc=2,
        args_total_bytes=4, kind=lib.PW_STATE_PROCESS, **task(),
    )  # fmt: skip
    expected = events.process_event(raw, 3, (NODE_ID, OFFSET_NS))
    assert_agrees(dict(process_record(Seen("running", 1, PROCESS, 10, image), "container", CLOCK)), expected)


def test_an_exec_that_nobody_could_look_at() -> None:
    seen = Seen("exec", 1, Process(10, parent=Parent(9)), 10, unread="gone")
    assert dict(process_record(seen, "unresolved", CLOCK)) == {
        "event": {
            "kind": "event",
            "category": ["process"],
            "type": ["start"],
            "action": "exec",
            "provider": "netlink",
            "outcome": "success",
        },
        "process": {"pid": 10, "parent": {"pid": 9}},
        "podwitness": {"scope": "unresolved", "cgroup_id": 0, "unread": "gone"},
    }


def test_a_process_that_ends_with_an_unknown_status() -> None:
    seen = Seen("exit", 1, PROCESS, 10, ending=Ending(None, None, None, 0))
    record = dict(process_record(seen, "host", CLOCK))
    assert "exit_code" not in record["process"]
    assert record["event"]["outcome"] == "success"
    assert "exit" not in record["podwitness"]


ADDRESSES = {
    "4": (2, b"\x7f\0\0\1", b"\x0a\0\0\2"),
    "mapped": (10, bytes(10) + b"\xff\xff\x7f\0\0\1", bytes(10) + b"\xff\xff\x0a\0\0\2"),
    "6": (10, bytes(15) + b"\1", b"\x20\x01" + bytes(13) + b"\2"),
}
ACTIONS = {
    "connect": lib.PW_TCP_CONNECT,
    "accept": lib.PW_TCP_ACCEPT,
    "close": lib.PW_TCP_CLOSE,
    "listen": lib.PW_TCP_LISTEN,
    "unlisten": lib.PW_TCP_UNLISTEN,
    "connect-failed": lib.PW_TCP_CONNECT_FAILED,
    "listening": lib.PW_STATE_LISTENER,
    "connected": lib.PW_STATE_CONNECTION,
}
LISTENER = ("listen", "listening", "unlisten")
ROLES = {"accept": lib.PW_SERVER, **dict.fromkeys(LISTENER, lib.PW_LISTENER)}
ROLE_NAMES = {lib.PW_CLIENT: "client", lib.PW_SERVER: "server", lib.PW_LISTENER: "listener"}


COUNTED: dict[str, Any] = {
    "bytes_sent": 110,
    "bytes_retransmitted": 10,
    "bytes_received": 7,
    "bytes_acked": 102,
    "segments_out": 5,
    "segments_in": 4,
    "rtt_us": 99,
    "retransmits": 1,
}


@pytest.mark.parametrize("addresses", ADDRESSES)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_socket(action: str, addresses: str) -> None:
    family, local, remote = ADDRESSES[addresses]
    role = ROLES.get(action, lib.PW_CLIENT)
    close = action == "close"
    raw = records.record(
        ACTIONS[action],
        cgroup_id=77,
        socket_id=0xC0FFEE,
        owner_pid=10,
        owner_start_ns=START_NS,
        owner_uid=33,
        comm=b"curl",
        net_ns=13,
        family=family,
        local_port=40000,
        remote_port=443,
        role=role,
        flags=lib.PW_OWNER_UNKNOWN,
        backlog=37,
        local_address=local.ljust(16, b"\0"),
        remote_address=remote.ljust(16, b"\0"),
        **(COUNTED if close else {}),
    )
    expected = network_events.event(raw, 3, (NODE_ID, OFFSET_NS))
    expected["podwitness"]["socket"]["owner_source"] = "descriptor"
    counters = Counters(99, 1, 5, 4, 102, 7, 110, 10) if close else None
    one = TcpSocket(0xC0FFEE, 1, (local, 40000), (remote, 443), 1, 0, 37, 77, None)
    owner = Owner(10, START_NS, b"curl", 33)
    seen = SocketSeen(action, 1, 13, one, ROLE_NAMES[role], owner, 77, "", True, counters)
    made = dict(network_record(seen, "container", CLOCK))
    assert_agrees(made, expected)


@given(records.any_text)
def test_text_is_that_of_all_events(raw: bytes) -> None:
    assert text(raw) == event_text.text(raw)


@given(st.integers(0, 2**62))
def test_dates_are_those_of_all_events(time_ns: int) -> None:
    assert date(time_ns) == events.date(time_ns)

"""probes.outbox: bounded, in order, every loss and change told once."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.netlink_exchange import MESSAGE_BYTES, REPORT_BYTES, Lost, Part, Report, decode_report
from probes.netlink_processes import Image, Process, Seen
from probes.outbox import Outbox
from probes.process_files import Arguments


def fork(pid: int) -> Seen:
    return Seen("fork", 0, Process(pid), pid)


@pytest.fixture
def ends() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def received(end: socket.socket) -> list[Report]:
    reports = []
    end.setblocking(False)
    try:
        while content := end.recv(MESSAGE_BYTES):
            reports.append(decode_report(content))
    except BlockingIOError:
        pass
    return reports


def test_what_finds_no_room_is_counted_by_kind(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    outbox = Outbox("process", 10 * fork(0).size_bytes, theirs)
    outbox.put(fork(pid) for pid in range(17))
    outbox.put([Seen("exit", 0, Process(1), 1)])
    outbox.lost("any", "netlink_overrun", 5)
    outbox.lost("any", "netlink_overrun", 0)
    outbox.send()
    (report,) = received(ours)
    assert [seen.process.pid for seen in report.processes] == list(range(10))
    assert report.lost == [
        Lost("process", "fork", "queue_full", 7),
        Lost("process", "exit", "queue_full", 1),
        Lost("process", "any", "netlink_overrun", 5),
    ]
    assert not outbox


def test_changes_are_told_once(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    outbox = Outbox("network", 1 << 20, theirs)
    for reason in ("", "", "EPERM", "EPERM", ""):
        outbox.part(True, reason)
        outbox.send()
    told = [part for report in received(ours) for part in report.parts]
    assert told == [Part("network", True, reason) for reason in ("", "EPERM", "")]


@given(st.lists(st.integers(0, 4096), max_size=120))
def test_reports_fit_the_channel_and_keep_the_order(sizes: list[int]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        outbox = Outbox("process", 1 << 30, theirs)
        for number, size in enumerate(sizes):
            image = Image(Arguments(b"x" * size, size, 1), None, b"/" * size)
            outbox.put([Seen("exec", number, Process(1), 1, image)])
        found: list[Report] = []
        while outbox:
            report = outbox.take()
            assert sum(one.size_bytes for one in report.processes) <= REPORT_BYTES
            found.append(report)
    assert [seen.time_ns for report in found for seen in report.processes] == list(range(len(sizes)))


def test_a_full_channel_loses_and_doubles_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    outbox = Outbox("process", 64 << 20, theirs)
    outbox.put(fork(pid) for pid in range(5003))
    seen: list[int] = []
    while outbox:
        outbox.send()
        seen += [one.process.pid for report in received(ours) for one in report.processes]
    assert seen == list(range(5003))


def test_at_the_end_it_waits_a_little_for_room(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    outbox = Outbox("process", 64 << 20, theirs)
    outbox.put(fork(pid) for pid in range(5003))
    outbox.finish()  # nobody reads: it gives up
    assert outbox
    counts = Counter(one.process.pid for report in received(ours) for one in report.processes)
    assert set(counts.values()) == {1}


def test_a_collector_that_is_gone_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.close()
    outbox = Outbox("process", 1 << 20, theirs)
    outbox.put([fork(1)])
    with pytest.raises(ConnectionError):
        outbox.send()


def test_what_can_wait_is_asked_for_after_all_else_and_a_report_at_a_time(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    outbox = Outbox("process", 64 << 20, theirs)
    asked: list[int] = []

    def late() -> Iterator[Seen]:
        for pid in range(1000, 1100):
            asked.append(pid)
            yield fork(pid)

    outbox.put_late(late())
    outbox.put([fork(1)])
    outbox.send()
    assert [one.process.pid for report in received(ours) for one in report.processes] == [1]
    assert 0 < len(asked) <= REPORT_BYTES // fork(0).size_bytes
    while outbox:
        outbox.send()
    told = [one.process.pid for report in received(ours) for one in report.processes]
    assert told == [*range(1000, 1100)]


def test_what_can_wait_comes_though_something_happens_all_the_time(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    outbox = Outbox("process", 64 << 20, theirs)
    outbox.put_late([fork(1000)])
    for pid in (1, 2, 3):
        outbox.put([fork(pid)])
        outbox.send()
    assert 1000 in [one.process.pid for report in received(ours) for one in report.processes]


def test_at_the_end_what_can_wait_is_left_out(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    outbox = Outbox("process", 64 << 20, theirs)
    outbox.put_late([fork(2)])
    outbox.put([fork(1)])
    outbox.finish()
    assert [one.process.pid for report in received(ours) for one in report.processes] == [1]
    assert not outbox

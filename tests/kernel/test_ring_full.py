"""Rings that nobody reads: each record that does not fit is counted, by its kind, and fills no other ring."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from collector.native.limits import Limits
from probes.catalog import RecordKind
from tests.kernel.event_layout import LAYOUT
from tests.kernel.ring_reader import RingReader
from tests.kernel.sandbox import Cgroup, run
from tests.kernel.witness import Witness

ATTEMPTS = 5


@pytest.fixture
def small() -> Iterator[Witness]:
    made = Witness.attach(ring_bytes=4096)
    yield made
    made.close()


@pytest.fixture
def large() -> Iterator[Witness]:
    made = Witness.attach(ring_bytes=16 << 20)
    yield made
    made.close()


def lost_by_kind(witness: Witness) -> Counter[str]:
    counts = witness.probes.lost()
    return Counter({kind.name: counts[kind] for kind in RecordKind})


def fill(witness: Witness, cgroup: Cgroup) -> None:
    """Both, until not even the smallest record fits."""
    fill_security(witness, cgroup)
    fill_flows(witness, cgroup)


def fill_security(witness: Witness, cgroup: Cgroup) -> None:
    while lost_by_kind(witness)["CGROUP_RMDIR"] < 2:
        (cgroup.path / "x").mkdir()
        (cgroup.path / "x").rmdir()


def fill_flows(witness: Witness, cgroup: Cgroup) -> None:
    def listen() -> None:
        while lost_by_kind(witness)["TCP_UNLISTEN"] < 2:
            with socket.socket() as listener:
                listener.listen()

    run(cgroup, listen)


def workload(cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        workload_of_execs(programs, 17)
        for _ in range(13):
            with socket.socket() as client:
                client.connect_ex(("127.0.0.1", 1))

    for number in range(11):
        (cgroup.path / str(number)).mkdir()
    run(cgroup, work)
    for number in range(11):
        (cgroup.path / str(number)).rmdir()


def test_loss_is_counted_exactly_by_kind(
    small: Witness, large: Witness, cgroup: Cgroup, programs: Path
) -> None:
    """A second, large ring sees the same, and what others on the machine do meanwhile; they may do something
    between the two looks, so it may take another attempt."""
    fill(small, cgroup)
    for _ in range(ATTEMPTS):
        large.forget()
        before = lost_by_kind(small)
        workload(cgroup, programs)
        lost = lost_by_kind(small) - before
        seen = Counter(event.kind for event in large.events(None))
        if lost == seen:
            break
    assert lost == seen
    own = {
        "EXEC": 17,
        "FORK": 17,
        "EXIT": 18,
        "TCP_CONNECT_FAILED": 13,
        "CGROUP_MKDIR": 11,
        "CGROUP_RMDIR": 11,
    }
    assert all(lost[kind] >= count for kind, count in own.items())
    assert lost_by_kind(large).total() == 0


def test_ring_that_was_full_goes_on_after_a_drain(small: Witness, cgroup: Cgroup, programs: Path) -> None:
    fill(small, cgroup)
    small.forget()
    lost = small.probes.lost()
    (cgroup.path / "after").mkdir()
    assert small.probes.lost() == lost
    assert small.counts((cgroup.path / "after").stat().st_ino) == {"CGROUP_MKDIR": 1}


def test_full_ring_of_flows_hides_no_exec(cgroup: Cgroup, other_cgroup: Cgroup, programs: Path) -> None:
    witness = Witness.attach(ring_bytes=8 << 20, flow_ring_bytes=4096)
    fill_flows(witness, cgroup)
    witness.readers[0].drain()
    run(other_cgroup, lambda: workload_of_execs(programs, 23))
    seen = Counter(LAYOUT.decode(record).kind for record in of_cgroup(witness.readers[0], other_cgroup))
    assert [seen[kind] for kind in ("EXEC", "FORK", "EXIT")] == [23, 23, 24]
    assert not any(lost_by_kind(witness)[kind] for kind in ("EXEC", "FORK", "EXIT"))
    witness.close()


def test_full_ring_of_processes_hides_no_flow(cgroup: Cgroup, other_cgroup: Cgroup) -> None:
    witness = Witness.attach(ring_bytes=4096, flow_ring_bytes=1 << 20)
    fill_security(witness, cgroup)
    witness.readers[1].drain()

    def refused() -> None:
        for _ in range(13):
            with socket.socket() as client:
                client.connect_ex(("127.0.0.1", 1))

    run(other_cgroup, refused)
    kinds = Counter(LAYOUT.decode(record).kind for record in of_cgroup(witness.readers[1], other_cgroup))
    assert kinds == {"TCP_CONNECT_FAILED": 13}
    assert lost_by_kind(witness)["TCP_CONNECT_FAILED"] == 0
    witness.close()


def workload_of_execs(programs: Path, count: int) -> None:
    for _ in range(count):
        os.waitpid(os.posix_spawn(programs / "nothing", ["nothing"], {}), 0)


def of_cgroup(reader: RingReader, cgroup: Cgroup) -> list[bytes]:
    return [record for record in reader.drain() if LAYOUT.decode(record).cgroup_id == cgroup.id]


def make_and_remove(cgroup: Cgroup) -> None:
    (cgroup.path / "x").mkdir()
    (cgroup.path / "x").rmdir()


def listen_once(_: Cgroup) -> None:
    with socket.socket() as listener:
        listener.listen()


def notifications(ring_fd: int, deed: Callable[[], None], count: int) -> int:
    """How many of `count` deeds, done one by one, are told to a reader that drains nothing."""
    told = 0
    with select.epoll() as epoll:
        epoll.register(ring_fd, select.EPOLLIN | select.EPOLLET)
        epoll.poll(0)
        for _ in range(count):
            deed()
            told += len(epoll.poll(0.002))
    return told


@pytest.mark.parametrize(
    ("subject", "ring", "deed", "most_bytes"),
    [("cgroup", 0, make_and_remove, 1 << 16), ("network", 1, listen_once, 1 << 17)],
)
def test_reader_is_told_once_and_again_past_half_of_the_ring(
    cgroup: Cgroup, subject: str, ring: int, deed: Callable[[Cgroup], None], most_bytes: int
) -> None:
    """A reader that waits before it drains is not woken by each record, but before the ring is full. What
    others on the machine do may fill the ring past half beforehand, so it may take another attempt."""
    witness = Witness.attach([subject], ring_bytes=most_bytes)
    ring_fd = (witness.probes.ring_fd, witness.probes.flow_ring_fd)[ring]
    for _ in range(ATTEMPTS):
        witness.forget()
        first = notifications(ring_fd, partial(deed, cgroup), 5)
        quiet = notifications(ring_fd, partial(deed, cgroup), 50)
        used_bytes = witness.readers[ring].used_bytes
        if used_bytes < most_bytes // 2:
            break
    assert used_bytes < most_bytes // 2
    assert first <= 1
    assert quiet == 0
    past_half = notifications(ring_fd, partial(deed, cgroup), 400)
    assert past_half >= 1
    witness.close()


def test_reader_that_looks_by_the_clock_is_told_past_half_only_and_again_afterwards(cgroup: Cgroup) -> None:
    witness = Witness.attach(["cgroup"], ring_bytes=1 << 16)
    limits = Limits(witness.probes.rates_fd, witness.probes.limits_fd)
    deed = partial(make_and_remove, cgroup)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    limits.promise_look(now_ns + 3600 * 10**9)
    witness.forget()
    assert notifications(witness.probes.ring_fd, deed, 100) == 0
    assert notifications(witness.probes.ring_fd, deed, 400) >= 1
    limits.promise_look(now_ns)

    def is_told() -> bool:
        witness.forget()
        return notifications(witness.probes.ring_fd, deed, 1) == 1

    assert any(is_told() for _ in range(5))  # not where somebody else's cgroup came before the deed
    limits.close()
    witness.close()

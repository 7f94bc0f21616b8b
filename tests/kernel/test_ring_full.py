"""A ring that nobody reads: each record that does not fit is counted, by its kind."""

from __future__ import annotations

import os
import select
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.catalog import RecordKind
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
    """Until not even the smallest record fits."""
    while lost_by_kind(witness)["CGROUP_RMDIR"] < 2:
        (cgroup.path / "x").mkdir()
        (cgroup.path / "x").rmdir()


def workload(cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        for _ in range(17):
            pid = os.posix_spawn(programs / "nothing", ["nothing"], {})
            os.waitpid(pid, 0)
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


def notifications(witness: Witness, cgroup: Cgroup, count: int) -> int:
    """How many of `count` records, made one by one, are told to a reader that drains nothing."""
    told = 0
    with select.epoll() as epoll:
        epoll.register(witness.probes.ring_fd, select.EPOLLIN | select.EPOLLET)
        epoll.poll(0)
        for _ in range(count):
            (cgroup.path / "x").mkdir()
            (cgroup.path / "x").rmdir()
            told += len(epoll.poll(0.002))
    return told


def test_reader_is_told_once_and_again_past_half_of_the_ring(cgroup: Cgroup) -> None:
    """A reader that waits before it drains is not woken by each record, but before the ring is full."""
    witness = Witness.attach(["cgroup"], ring_bytes=1 << 16)
    witness.forget()
    first = notifications(witness, cgroup, 5)
    quiet = notifications(witness, cgroup, 100)
    assert witness.probes.lost() == (0,) * len(witness.probes.lost())
    assert first <= 1
    assert quiet == 0
    past_half = notifications(witness, cgroup, 400)
    assert past_half >= 1
    witness.close()

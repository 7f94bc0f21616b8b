"""What limits let through: exact counts, and one container's flood is no other's loss."""

from __future__ import annotations

import mmap
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from collector._native import ffi, lib

from collector.native.event_kinds import Kind
from collector.native.limits import OTHER_CGROUPS, SLOT_BYTES, SLOTS, Limits, Rate, Suppressed
from tests.kernel.sandbox import Cgroup, Process, execve, run
from tests.kernel.witness import Witness

RUNS = 300
PW_TOKEN_BYTES: int = lib.PW_TOKEN_BYTES


@pytest.fixture
def limits(attached: Witness) -> Iterator[Limits]:
    """No limit is left behind for other tests."""
    made = Limits(attached.probes.rates_fd, attached.probes.limits_fd)
    made.suppressed()
    yield made
    made.set({})
    made.close()


def execs(programs: Path, count: int) -> None:
    for _ in range(count):
        os.waitpid(os.posix_spawn(programs / "nothing", ["nothing"], {}), 0)


def refused_connections(count: int) -> None:
    for _ in range(count):
        with socket.socket() as client:
            client.connect_ex(("127.0.0.1", 1))


def by_name(suppressed: Suppressed, cgroup_id: int) -> Counter[str]:
    counts = suppressed.get(cgroup_id, Counter[Kind]())
    return Counter(
        {{"CONNECT_FAILED": "TCP_CONNECT_FAILED"}.get(kind.name, kind.name): n for kind, n in counts.items()}
    )


def test_fork_bomb_is_cut_and_counted_and_another_containers_execs_arrive(
    witness: Witness, limits: Limits, cgroup: Cgroup, other_cgroup: Cgroup, programs: Path
) -> None:
    limits.set({"process": Rate(50, 60)})
    run(cgroup, lambda: execs(programs, RUNS))
    run(other_cgroup, lambda: execs(programs, 10))
    suppressed = limits.suppressed()
    sent = witness.counts(cgroup.id)
    assert sent + by_name(suppressed, cgroup.id) == {"EXEC": RUNS, "FORK": RUNS, "EXIT": RUNS + 1}
    assert 60 <= sent.total() < RUNS
    assert witness.counts(other_cgroup.id) == {"EXEC": 10, "FORK": 10, "EXIT": 11}
    assert other_cgroup.id not in suppressed


def test_flood_of_flows_is_cut_and_its_containers_execs_are_not(
    witness: Witness, limits: Limits, cgroup: Cgroup, other_cgroup: Cgroup, programs: Path
) -> None:
    limits.set({"network": Rate(20, 25)})

    def work() -> None:
        refused_connections(RUNS)
        execs(programs, 30)

    run(cgroup, work)
    run(other_cgroup, lambda: refused_connections(10))
    suppressed = by_name(limits.suppressed(), cgroup.id)
    sent = witness.counts(cgroup.id)
    assert sent + suppressed == {"TCP_CONNECT_FAILED": RUNS, "EXEC": 30, "FORK": 30, "EXIT": 31}
    assert set(suppressed) == {"TCP_CONNECT_FAILED"}
    assert 25 <= sent["TCP_CONNECT_FAILED"] < RUNS
    assert witness.counts(other_cgroup.id)["TCP_CONNECT_FAILED"] == 10


def test_sessions_have_the_limit_of_privileges(
    witness: Witness, limits: Limits, cgroup: Cgroup, other_cgroup: Cgroup, programs: Path
) -> None:
    limits.set({"process": Rate(1, 1), "privilege": Rate(1, 4)})
    for _ in range(21):  # the first to come is the container's own
        run(cgroup, lambda: execs(programs, 1))
    for _ in range(2):
        run(other_cgroup, lambda: execs(programs, 1))
    suppressed = by_name(limits.suppressed(), cgroup.id)
    sent = witness.counts(cgroup.id)
    for kind in ("SESSION_START", "SESSION_END"):
        assert sent[kind] + suppressed[kind] == 20
    assert 4 <= sent["SESSION_START"] + sent["SESSION_END"] < 40
    assert witness.counts(other_cgroup.id)["SESSION_START"] == 1


def test_rate_goes_on_after_the_burst(
    witness: Witness, limits: Limits, cgroup: Cgroup, programs: Path
) -> None:
    """What was let through is the burst and what the time gave, to the event."""
    limits.set({"process": Rate(100, 10)})
    run(cgroup, lambda: execs(programs, RUNS))
    events = witness.events(cgroup.id)
    for number, event in enumerate(events):
        # Times of the first event of the bucket and of this one; a token each 10 ms.
        assert number < 10 + (event.time_ns - events[0].time_ns) / 10_000_000 + 1
    assert len(events) + by_name(limits.suppressed(), cgroup.id).total() == 3 * RUNS + 1


def test_what_is_lost_is_not_suppressed(cgroup: Cgroup, programs: Path) -> None:
    """A ring that is soon full and a limit: what was done is sent, suppressed or lost."""
    small = Witness.attach(["process"], ring_bytes=4096)
    own = Limits(small.probes.rates_fd, small.probes.limits_fd)
    own.set({"process": Rate(100, 150)})
    small.forget()
    before = small.probes.lost()
    run(cgroup, lambda: execs(programs, RUNS))
    lost = small.probes.lost()[Kind.EXEC] - before[Kind.EXEC]
    suppressed = own.suppressed()
    sent = small.counts(cgroup.id)["EXEC"]
    assert sent < 50  # what has room, and after it came what had a token and no room
    assert by_name(suppressed, cgroup.id)["EXEC"] > 0
    assert lost > 0
    # Others on the machine may have lost some too.
    assert RUNS - lost <= sent + by_name(suppressed, cgroup.id)["EXEC"] < RUNS
    own.close()
    small.close()


def limited(witness: Witness, cgroup: Cgroup) -> Counter[str]:
    """Sessions have a limit of another class: whoever forks without end shall not hide who comes in."""
    counts = witness.counts(cgroup.id)
    return Counter({kind: counts[kind] for kind in ("EXEC", "FORK", "EXIT")})


class Table:
    """The slots, to be filled as other cgroups would."""

    def __init__(self, limits_fd: int) -> None:
        self._memory = mmap.mmap(limits_fd, (SLOTS + 1) * SLOT_BYTES)
        self._view = ffi.from_buffer(self._memory)
        self.slots = ffi.cast("struct pw_limit_slot *", self._view)

    def occupy(self, used_ns: int) -> None:
        for place in range(SLOTS):
            self.slots[place].cgroup_id = (1 << 60) + place
            self.slots[place].used_ns = used_ns

    def close(self) -> None:
        self.slots = None
        ffi.release(self._view)
        self._memory.close()


@pytest.fixture
def table() -> Iterator[tuple[Witness, Limits, Table]]:
    witness = Witness.attach(["process"])
    limits = Limits(witness.probes.rates_fd, witness.probes.limits_fd)
    slots = Table(witness.probes.limits_fd)
    yield witness, limits, slots
    slots.close()
    limits.close()
    witness.close()


def test_cgroups_without_a_slot_share_one(
    table: tuple[Witness, Limits, Table], cgroup: Cgroup, other_cgroup: Cgroup, programs: Path
) -> None:
    witness, limits, slots = table
    slots.occupy(used_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**9)
    limits.set({"process": Rate(1, 20)})
    witness.forget()
    run(cgroup, lambda: execs(programs, 50))
    run(other_cgroup, lambda: execs(programs, 50))
    suppressed = limits.suppressed()
    assert set(suppressed) == {OTHER_CGROUPS}
    sent = limited(witness, cgroup) + limited(witness, other_cgroup)
    assert sent.total() + suppressed[OTHER_CGROUPS].total() >= 2 * 151  # and what others did
    assert sent.total() < 50


def test_slots_that_nobody_uses_are_given_to_others(
    table: tuple[Witness, Limits, Table], cgroup: Cgroup, programs: Path
) -> None:
    witness, limits, slots = table
    slots.occupy(used_ns=1)  # a minute ago, or more
    limits.set({"process": Rate(1, 20)})
    witness.forget()
    run(cgroup, lambda: execs(programs, 50))
    suppressed = limits.suppressed()
    assert limited(witness, cgroup).total() + suppressed[cgroup.id].total() == 151
    assert 0 < suppressed[cgroup.id].total() < 151


def test_a_long_record_takes_as_many_tokens_as_it_has_kilobytes(
    witness: Witness, limits: Limits, cgroup: Cgroup, programs: Path
) -> None:
    """By its arguments a container says how long its records are: a bound of events alone bounds no ring."""
    limits.set({"process": Rate(1, 100)})
    long = ["nothing", "x" * (4 * PW_TOKEN_BYTES)]

    def work() -> None:
        for _ in range(100):
            os.waitpid(os.posix_spawn(programs / "nothing", long, {}), 0)

    run(cgroup, work)
    suppressed = limits.suppressed()
    events = witness.events(cgroup.id)
    assert len(events) + by_name(suppressed, cgroup.id).total() == 301
    sent_bytes = sum(event.record_bytes for event in events)
    longest_bytes = max(event.record_bytes for event in events)
    assert longest_bytes > 4 * PW_TOKEN_BYTES
    # Some seconds give a token each.
    assert 12 <= len(events) < 60
    assert sent_bytes <= 105 * PW_TOKEN_BYTES + longest_bytes


@pytest.fixture
def set_uid_shell() -> Iterator[Path]:
    made = Path(f"/var/tmp/podwitness-setuid-shell-{os.getpid()}")
    shutil.copy("/bin/sh", made)
    made.chmod(0o4755)
    yield made
    made.unlink()


def test_credentials_of_a_suppressed_exec_are_not_told_of_the_next(
    witness: Witness, limits: Limits, cgroup: Cgroup, programs: Path, set_uid_shell: Path
) -> None:
    limits.set({"process": Rate(1, 1)})
    is_ready, ready = os.pipe()
    may_go_on, go_on = os.pipe()

    def work() -> None:
        execs(programs, 3)
        os.setresuid(4321, 4321, 4321)
        os.dup2(ready, 1)
        os.dup2(may_go_on, 0)
        script = b"echo; read line; exec %b/nothing" % bytes(programs)
        execve(str(set_uid_shell), [b"sh", b"-p", b"-c", script])

    process = Process(cgroup, work)
    os.read(is_ready, 1)
    assert by_name(limits.suppressed(), cgroup.id)["EXEC"] > 0
    limits.set({})
    os.write(go_on, b"\n")
    process.wait()
    for end in (is_ready, ready, may_go_on, go_on):
        os.close(end)
    (event,) = [one for one in witness.events(cgroup.id, "EXEC") if one.pid == process.pid]
    assert (event.uid, event.euid) == (4321, 0)
    assert event.flags == set()

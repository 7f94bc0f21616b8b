"""collector.inputs.event_flow: every record of a drain comes out, in order, with its container's pairs."""

from __future__ import annotations

from typing import Any

import pytest
from collector._native import lib

from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from collector.filters.chain import FilterChain
from collector.filters.modify import Modify, Settings
from collector.inputs.event_containers import EventContainers
from collector.inputs.event_flow import CHUNK_BYTES, EventFlow
from collector.inputs.event_pending import Pending
from collector.inputs.event_plans import Planner
from collector.native.events import Entries, EventEncoder
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.reference import event_records as records
from tests.reference.cgroups import CONTAINER_ID, CONTAINER_PATH, HOST_PATH, Cgroups, identity_table
from tests.reference.ring_memory import MemoryRing

SECOND = 10**9
TAGS = {"process": "kernel.process", "network": "kernel.network"}
CONTAINER, HOST, UNKNOWN = 5, 6, 7


class Rig:
    """A ring in memory and all behind it."""

    def __init__(self, *filters: Modify, pending_bytes: int = 1 << 20) -> None:
        self.cgroups = Cgroups({CONTAINER: CONTAINER_PATH, HOST: HOST_PATH})
        self.ring = MemoryRing(1 << 16)
        self.metrics = Metrics(TABLE)
        chain = FilterChain(filters)
        planners = (Planner(tag, chain, "node1") for tag in TAGS.values())
        self.containers = EventContainers(identity_table(self.cgroups), *planners)
        self.encoder = EventEncoder(1)
        pending = Pending(pending_bytes, SECOND)
        self.flow = EventFlow(self.encoder, self.containers, pending, chain, TAGS, self.metrics)

    def drain(self, now_ns: int = 0) -> None:
        while self.ring.fill_bytes:
            self.flow.take(self.encoder.drain(self.ring, self.containers.tables, 100), now_ns)

    def submit(self, *sent: bytes) -> None:
        for record in sent:
            assert self.ring.submit(record)

    def came_out(self, **options: Any) -> list[tuple[str, dict[str, Any]]]:
        """Tag and record of what has gathered."""
        chunks = list(self.flow.chunks(chunk, **options))
        for one in chunks:
            assert one.records == len(list(unpack_entries(one.entries)))
        return [(one.tag, dict(pairs)) for one in chunks for _, pairs in unpack_entries(one.entries)]


def chunk(tag: str, entries: Entries) -> Chunk:
    return Chunk(b"", tag, entries.entries, entries.records, "ebpf.0", 0)


def fork(pid: int, cgroup_id: int) -> bytes:
    return records.record(lib.PW_FORK, task_pid=pid, cgroup_id=cgroup_id)


def listen(port: int, cgroup_id: int) -> bytes:
    return records.record(lib.PW_TCP_LISTEN, local_port=port, cgroup_id=cgroup_id, family=2)


def scopes(out: list[tuple[str, dict[str, Any]]]) -> list[tuple[int, str]]:
    return [(record["process"]["pid"], record["podwitness"]["scope"]) for _, record in out]


def test_known_containers_and_the_host_are_told_apart_by_subject_and_tag() -> None:
    rig = Rig()
    rig.submit(fork(1, CONTAINER), listen(80, HOST), fork(2, HOST))
    rig.drain()
    out = rig.came_out()
    assert [tag for tag, _ in out] == ["kernel.process", "kernel.process", "kernel.network"]
    assert out[0][1]["container"]["id"] == CONTAINER_ID
    assert out[1][1]["podwitness"]["scope"] == out[2][1]["podwitness"]["scope"] == "host"
    assert rig.metrics.value("podwitness_kernel_events_total", "fork") == 2
    assert rig.came_out() == []


def test_after_its_first_records_a_container_is_encoded_in_one_pass() -> None:
    rig = Rig()
    for _ in range(3):
        rig.submit(fork(1, CONTAINER))
        rig.drain()
    assert rig.cgroups.asked == [CONTAINER]
    assert len(rig.came_out()) == 3


def test_records_wait_for_their_cgroup_and_keep_their_order() -> None:
    rig = Rig()
    rig.submit(fork(1, UNKNOWN), fork(2, UNKNOWN))
    rig.drain()
    assert rig.came_out() == []
    assert rig.metrics.value("podwitness_kernel_pending_bytes") > 0
    rig.cgroups.paths[UNKNOWN] = CONTAINER_PATH
    rig.submit(fork(3, UNKNOWN))
    rig.drain(SECOND // 2)
    assert scopes(rig.came_out()) == [(1, "container"), (2, "container"), (3, "container")]
    assert rig.metrics.value("podwitness_kernel_pending_bytes") == 0


def test_a_cgroup_made_while_records_wait_names_them() -> None:
    rig = Rig()
    rig.submit(fork(1, UNKNOWN))
    rig.drain()
    made = records.cgroup_record(lib.PW_CGROUP_MKDIR, CONTAINER_PATH.encode(), cgroup_id=UNKNOWN)
    rig.submit(made, fork(2, UNKNOWN))
    rig.drain()
    assert scopes(rig.came_out()) == [(1, "container"), (2, "container")]
    assert rig.cgroups.asked == [UNKNOWN]


def test_what_waited_too_long_is_sent_marked_and_counted() -> None:
    rig = Rig()
    rig.submit(fork(1, UNKNOWN), listen(80, UNKNOWN))
    rig.drain()
    rig.flow.settle(SECOND - 1)
    assert rig.came_out() == []
    rig.flow.settle(SECOND)
    out = rig.came_out()
    assert [record["podwitness"]["scope"] for _, record in out] == ["unresolved", "unresolved"]
    assert "container" not in out[0][1]
    assert rig.metrics.value("podwitness_kernel_events_unresolved_total") == 2
    rig.submit(fork(2, UNKNOWN))
    rig.drain(SECOND)
    assert scopes(rig.came_out()) == [(2, "unresolved")]


def test_a_flood_of_unknown_records_is_sent_rather_than_kept() -> None:
    rig = Rig(pending_bytes=1000)
    rig.submit(*(fork(pid, UNKNOWN) for pid in range(1, 101)))
    rig.drain()
    assert len(rig.came_out()) == 100
    assert rig.metrics.value("podwitness_kernel_pending_bytes") <= 1000


def test_at_the_end_nothing_waits() -> None:
    rig = Rig()
    rig.submit(fork(1, UNKNOWN))
    rig.drain()
    rig.flow.settle(0, all_now=True)
    assert scopes(rig.came_out()) == [(1, "unresolved")]


@pytest.mark.parametrize("cgroup", [CONTAINER, UNKNOWN])
def test_filters_that_see_records_get_them(cgroup: int) -> None:
    renames = Modify(
        Settings(rules=(("Rename", ("process", "proc")),)),
        lambda tag: tag == "kernel.process",
    )
    rig = Rig(renames)
    rig.submit(fork(1, cgroup), listen(80, cgroup), fork(2, cgroup))
    rig.drain()
    rig.flow.settle(0, all_now=True)
    out = rig.came_out()
    assert [record["proc"]["pid"] for tag, record in out if tag == "kernel.process"] == [1, 2]
    assert [record["destination"]["port"] for tag, record in out if tag == "kernel.network"] == [80]


def test_filters_may_drop_all_records_of_a_batch() -> None:
    class Dropping(Modify):
        def apply(self, tag: str, record: Any, identity: Any) -> None:
            return None

    rig = Rig(Dropping(Settings(rules=(("Rename", ("process", "proc")),)), lambda tag: True))
    rig.submit(fork(1, CONTAINER))
    rig.drain()
    assert rig.came_out() == []


def test_many_records_that_waited_go_out_in_chunks_of_bounded_size() -> None:
    rig = Rig(pending_bytes=8 << 20)
    record = records.exec_record(b"\xff" * 4000, cgroup_id=UNKNOWN)
    count = 0
    for _ in range(30):
        while rig.ring.submit(record):
            count += 1
        rig.drain()
    rig.flow.settle(0, all_now=True)
    chunks = list(rig.flow.chunks(chunk))
    assert sum(one.records for one in chunks) == count
    assert sum(len(one.entries) for one in chunks) > 4 * CHUNK_BYTES
    assert max(len(one.entries) for one in chunks) <= CHUNK_BYTES + (1 << 20)


def test_small_batches_wait_until_asked_for() -> None:
    rig = Rig()
    rig.submit(fork(1, CONTAINER))
    rig.drain()
    assert rig.came_out(least_bytes=10_000) == []
    assert len(rig.came_out()) == 1

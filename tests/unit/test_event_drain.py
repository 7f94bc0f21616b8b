"""collector.inputs.event_drain: which ring is read when, and the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from collector._native import lib

from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from collector.inputs import event_drain
from collector.inputs.event_drain import DRAIN_RECORDS, SECURITY_TURNS, EventDrain, WallClock
from collector.inputs.event_losses import KernelLoss
from collector.native.events import Entries
from collector.native.resolutions import UnreadDns
from probes.catalog import FLOWS
from tests.reference import event_records as records
from tests.reference.cgroups import CONTAINER_PATH
from tests.unit.ebpf_rig import CGROUP, Probes, Rig, fork, made_probes, settings

TAGS = {subject: f"kernel.{subject}" for subject in ("process", "network")}


def test_the_wall_clock_follows_steps_and_not_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WallClock()
    first = clock.offset_ns
    now = time.time_ns
    assert clock.refresh() == first
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3600 * 10**9)
    assert clock.refresh() - first == pytest.approx(3600 * 10**9, abs=10**9)


@pytest.fixture
def probes() -> Iterator[Probes]:
    with made_probes() as made:
        yield made


@pytest.fixture
def drain(probes: Probes) -> Iterator[EventDrain]:
    rig = Rig(probes, settings())
    made = EventDrain(settings(), rig.context, probes, TAGS)  # type: ignore[arg-type]
    yield made
    made.close()


def test_the_table_of_flows_is_read_only_where_packets_are_seen(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def table(descriptor: int, *_: object) -> None:
        opened.append(descriptor)
        raise OSError

    monkeypatch.setattr(event_drain, "FlowTable", table)
    monkeypatch.setattr(probes, "maps", {FLOWS: 9})
    for trace, has_table in (("flow.bind", False), ("flow.bound", False), ("flow.dns", True)):
        asked = settings(trace=((trace,),))
        with suppress(OSError):
            made = EventDrain(asked, Rig(probes, asked).context, probes, TAGS)  # type: ignore[arg-type]
            made.close()
        assert bool(opened) == has_table, trace


def listen(port: int, cgroup_id: int = CGROUP) -> bytes:
    return records.record(lib.PW_TCP_LISTEN, local_port=port, cgroup_id=cgroup_id, family=2)


def shipped(drain: EventDrain) -> list[tuple[str, dict[str, dict[str, object]]]]:
    """(tag, record) of each that has come out since the last look."""

    def chunk(tag: str, entries: Entries) -> Chunk:
        return Chunk(b"", tag, entries.entries, entries.records, "", 0)

    return [
        (made.tag, dict(pairs))
        for made in drain.flow.chunks(chunk)
        for _, pairs in unpack_entries(made.entries)
    ]


def test_both_rings_are_read(probes: Probes, drain: EventDrain) -> None:
    assert probes.ring.submit(fork(1))
    assert probes.flow_ring.submit(listen(80))
    assert all(drain.fill_bytes)
    assert drain.drain() or drain.drain()  # the first asks who that cgroup is
    assert drain.fill_bytes == (0, 0)
    assert {tag for tag, _ in shipped(drain)} == {"kernel.process", "kernel.network"}


def test_a_flow_of_a_container_that_is_made_in_the_other_ring_knows_it(
    probes: Probes, drain: EventDrain
) -> None:
    """Though it came first: the ring where cgroups are made is read before that of flows."""
    assert probes.flow_ring.submit(listen(80, cgroup_id=77))
    assert probes.ring.submit(
        records.cgroup_record(lib.PW_CGROUP_MKDIR, CONTAINER_PATH.encode(), cgroup_id=77)
    )
    drain.drain()
    ((_, record),) = shipped(drain)
    assert record["podwitness"]["scope"] == "container"
    assert not drain.is_waiting


def test_flows_have_their_turn_while_the_other_ring_is_never_empty(
    probes: Probes, drain: EventDrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.event_drain.DRAIN_RECORDS", 3)
    assert drain.drain()
    for pid in range(1, 4 * SECURITY_TURNS * 3):
        assert probes.ring.submit(fork(pid))
    assert probes.flow_ring.submit(listen(80))
    assert not drain.drain()
    seen = [tag for tag, _ in shipped(drain)]
    assert seen.count("kernel.process") == SECURITY_TURNS * 3
    assert seen.count("kernel.network") == 1
    assert drain.fill_bytes[0] > 0


def test_a_flood_of_flows_leaves_the_other_ring_alone(probes: Probes, drain: EventDrain) -> None:
    sent = 0
    while probes.flow_ring.submit(listen(80)):
        sent += 1
    assert probes.ring.submit(fork(1))
    assert sent < DRAIN_RECORDS
    while not drain.drain():
        pass
    seen = [tag for tag, _ in shipped(drain)]
    assert (seen.count("kernel.process"), seen.count("kernel.network")) == (1, sent)


def test_dns_that_could_not_be_read_is_counted_and_told(drain: EventDrain) -> None:
    drain._names = cast(Any, SimpleNamespace(unread=UnreadDns(malformed=3, streams=2)))
    assert drain.tick() == [KernelLoss("dns", "unreadable", 2, "network")]
    assert drain.tick() == []
    metrics = drain._context.metrics
    assert metrics.value("podwitness_kernel_dns_malformed_total") == 3
    assert metrics.value("podwitness_kernel_dns_streams_lost_total") == 2

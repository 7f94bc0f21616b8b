"""The eBPF input over a ring that the test writes to, and its surroundings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from collector._native import lib

from collector.context import InputContext
from collector.delivery.chunk import Chunk
from collector.delivery.losses import LOSS_TAG, Loss
from collector.entries import unpack_entries
from collector.filters.chain import FilterChain
from collector.inputs import ebpf
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from probes.catalog import RecordKind
from probes.exchange import COMPILED, Origin
from probes.launch import HookReport
from tests.polling import until_so
from tests.reference import event_records as records
from tests.reference.cgroups import CONTAINER_PATH, Cgroups, identity_table
from tests.reference.kernel_ring import KernelLimits, KernelRing

RING_BYTES = 1 << 16
FLOW_RING_BYTES = 1 << 15
CGROUP = 5


@dataclass
class Probes:
    """What probes.launch gives, over a ring that the test writes to."""

    maps: ClassVar[dict[str, int]] = {}  # none that the collector reads

    ring: KernelRing
    flow_ring: KernelRing
    table: KernelLimits
    hooks: tuple[HookReport, ...] = ()
    origin: Origin = COMPILED
    lost_counts: list[int] = field(default_factory=lambda: [0] * lib.PW_KINDS)
    walks: dict[str, int] = field(default_factory=dict)
    attached_ns: int = 0
    missed_counts: dict[str, int] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    off: frozenset[tuple[str, RecordKind]] = frozenset()
    gone_hooks: tuple[str, ...] = ()
    failures: list[Exception] = field(default_factory=list)  # of the next launches
    history: list[str] = field(default_factory=list)
    closed: bool = False

    @property
    def ring_fd(self) -> int:
        return self.ring.ring_fd

    @property
    def flow_ring_fd(self) -> int:
        return self.flow_ring.ring_fd

    @property
    def rates_fd(self) -> int:
        return self.table.rates_fd

    @property
    def limits_fd(self) -> int:
        return self.table.limits_fd

    def lost(self) -> tuple[int, ...]:
        return tuple(self.lost_counts)

    def missed(self) -> dict[str, int]:
        return self.missed_counts

    def gone(self) -> tuple[str, ...]:
        return self.gone_hooks

    def detach(self) -> None:
        self.history.append("detach")
        self.gone_hooks = ()

    def close(self) -> None:
        self.closed = True

    async def launch(
        self,
        subjects: tuple[str, ...],
        *,
        ring_bytes: int,
        flow_ring_bytes: int,
        constants: dict[str, int],
        off: frozenset[tuple[str, RecordKind]],
        starter: None,
    ) -> Probes:
        assert (ring_bytes, flow_ring_bytes) == (self.ring.ring_bytes, self.flow_ring.ring_bytes)
        self.history.append("launch")
        if self.failures:
            raise self.failures.pop()
        self.asked = subjects
        self.off = off
        return self


@contextmanager
def made_probes() -> Iterator[Probes]:
    with KernelRing(RING_BYTES) as ring, KernelRing(FLOW_RING_BYTES) as flow_ring, KernelLimits() as table:
        yield Probes(ring, flow_ring, table)


@dataclass
class Intake:
    """Takes chunks while `has_room`."""

    has_room: bool = True
    chunks: list[Chunk] = field(default_factory=list)
    refusals: int = 0
    losses: list[Loss] = field(default_factory=list)
    room_listeners: list[Callable[[], None]] = field(default_factory=list)

    async def submit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    def offer(self, chunk: Chunk) -> bool:
        if self.has_room:
            self.chunks.append(chunk)
        else:
            self.refusals += 1
        return self.has_room

    async def submit_safely(self, chunk: Chunk) -> bool:
        raise AssertionError("events can't be asked for again")

    def takes(self, source: str, tag: str, vanishing: Callable[[], bool]) -> bool:
        raise AssertionError("events are no files")

    def report_loss(self, loss: Loss) -> None:
        self.losses.append(loss)

    def pids(self) -> list[int]:
        """In the order in which they came."""
        shipped = [chunk for chunk in self.chunks if chunk.tag != LOSS_TAG]
        entries = [entry for chunk in shipped for entry in unpack_entries(chunk.entries)]
        return [
            dict(pairs)["process"]["pid"] for _, pairs in entries if dict(pairs)["event"]["kind"] == "event"
        ]


class Rig:
    """The input and its surroundings."""

    def __init__(self, probes: Probes, settings: ebpf.Settings) -> None:
        self.probes = probes
        self.intake = Intake()
        self.metrics = Metrics(TABLE)
        self.reports: dict[str, tuple[bool, str]] = {}
        self.cgroups = Cgroups({CGROUP: CONTAINER_PATH})
        self.context = InputContext(
            plugin=cast(Any, SimpleNamespace(name="ebpf.0", tag="kernel.*")),
            document=cast(Any, None),
            node="node1",
            node_id=b"\0" * 7 + b"\1",
            log=logging.getLogger("podwitness.ebpf.0"),
            metrics=self.metrics,
            identities=identity_table(self.cgroups),
            report=lambda name, ok, reason: self.reports.update({name: (ok, reason)}),
            send=cast(Any, None),
            intake=self.intake,
            chain=FilterChain(()),
            positions=cast(Any, None),
        )
        self.input = ebpf.make(settings, self.context)
        self.stop = asyncio.Event()

    async def until(self, condition: Callable[[], Any]) -> None:
        """The kernel and the loop offer nothing to wait on for most of it."""
        await until_so(condition, every_s=0.005)

    def has_started(self) -> bool:
        """It gave up, or has looked at its ring for the first time."""
        well, _ = self.reports.get("ebpf.0", (True, ""))
        return not well or "podwitness_kernel_ring_bytes" in {
            row.name for row, _, _ in self.metrics.samples()
        }

    def submit(self, *pids: int, flags: int = 0) -> None:
        for pid in pids:
            assert self.probes.ring.submit(fork(pid), flags)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.input.run(self.stop))
        try:
            await self.until(self.has_started)
            yield
        finally:
            self.stop.set()
            await asyncio.wait_for(task, 10)


def has_come(intake: Intake, pid: int) -> bool:
    return pid in intake.pids()


def fork(pid: int, cgroup_id: int = CGROUP) -> bytes:
    return records.record(lib.PW_FORK, task_pid=pid, cgroup_id=cgroup_id)


def settings(**changes: Any) -> ebpf.Settings:
    return ebpf.Settings(ring_bytes=RING_BYTES, flow_ring_bytes=FLOW_RING_BYTES, **changes)


def run(scenario: Callable[[], Any]) -> None:
    asyncio.run(scenario())

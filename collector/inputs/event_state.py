"""What was there before the probes: processes, listeners, connections and containers, told once.

The probes are attached first, then the kernel is asked what there is (probes/state.bpf.c). A process that
began after the probes were attached is in the rings and so is left out; one that began before is told here,
unless its fork was still to be seen. Of sockets the programs themselves know which they have seen.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from collector.catalog import STATES
from collector.entries import pack_entry
from collector.inputs.event_plans import identity_fields, scope_of
from collector.native.event_kinds import Kind
from collector.native.events import Entries
from collector.native.raw_records import RawRecord, split
from collector.native.state import born, with_arguments, without_arguments
from probes.process_files import Arguments, ProcessFiles, ProcessGone

if TYPE_CHECKING:
    from collector.identity.identity import Identity
    from collector.inputs.event_drain import EventDrain
    from collector.service.metrics import Metrics
    from probes.launch import Attached

# As much as the kernel gathers at most, so that no record is cut: 8 pages.
READ_BYTES = 64 << 10
# From the time that a process counts as born to the record of its fork it is a few us, unless the kernel was
# busy with something else in between.
SETTLED_NS = 100_000_000
# Not more is read while so much is not handed over.
GATHERED_BYTES = 1 << 20
_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


class Snapshot:
    """Read step by step, beside the rings. Times are CLOCK_BOOTTIME."""

    def __init__(
        self,
        attached: Attached,
        drain: EventDrain,
        subjects: Collection[str],
        containers: Callable[[], Iterator[tuple[int, Identity]]],
        metrics: Metrics,
        *,
        is_wanted: bool,
        untold: Collection[Kind] = (),
    ) -> None:
        """`untold`: of the subjects' kinds. Sockets are looked for all the same, as the probes learn of them
        by that; so are processes, where other records tell what they run."""
        self._drain = drain
        self._containers = containers
        self._metrics = metrics
        self._attached_ns = attached.attached_ns
        kinds = {kind for kind, subject in STATES.items() if subject in subjects}
        self._told = kinds.difference(untold)
        if drain.programs is None and Kind.RUNNING in untold:
            kinds.discard(Kind.RUNNING)
        self._walks = [
            attached.walks[hook.hook]
            for hook in attached.hooks
            if hook.hook in attached.walks and not kinds.isdisjoint(Kind(kind) for kind in hook.kinds)
        ]
        self.is_done = not is_wanted
        drain.expect_newborns(attached.attached_ns)

    async def step(self, now_ns: int, offset_ns: int) -> None:
        """One read: some hundred processes. Nothing while it is too early or much is not handed over."""
        if now_ns < self._attached_ns + SETTLED_NS or self._drain.flow.gathered_bytes > GATHERED_BYTES:
            return
        if not self._walks:
            self._tell_containers(now_ns + offset_ns)
            self.is_done = True
            return
        # The kernel may have to look at many descriptors to find a socket.
        content = await asyncio.to_thread(os.read, self._walks[0], READ_BYTES)
        if content:
            self._take(content, now_ns)
        else:
            del self._walks[0]

    def _take(self, content: bytes, now_ns: int) -> None:
        newborns = self._drain.newborns()
        for record in split(content):
            whole: RawRecord | None = record if record.kind in self._told else None
            if record.kind == Kind.RUNNING:
                whole = self._completed(record, newborns)
            if whole is not None:
                self._drain.flow.add(whole, now_ns)
                self._metrics.add("podwitness_kernel_events_total", Kind(record.kind).label)
        self._drain.flow.settle(now_ns)

    def _completed(self, record: RawRecord, newborns: Collection[tuple[int, int]]) -> RawRecord | None:
        """With the arguments; None for a process that is told of by its fork, or not at all."""
        start_ns, pid = born(record.bytes_padded)
        found, content = arguments_of(pid, start_ns), record.bytes_padded
        content = with_arguments(content, *found) if found else without_arguments(content)
        completed = record._replace(bytes_padded=content)
        if self._drain.programs is not None:
            self._drain.programs.note(completed)
        is_known = start_ns >= self._attached_ns or (start_ns, pid) in newborns
        return completed if Kind.RUNNING in self._told and not is_known else None

    def _tell_containers(self, wall_ns: int) -> None:
        made = [container_entry(cgroup_id, who, wall_ns) for cgroup_id, who in self._containers()]
        self._drain.flow.add_entries("process", Entries(b"".join(made), len(made)))


def arguments_of(pid: int, start_ns: int) -> Arguments | None:
    """What /proc has of the process that started then. None: it has ended, or may not be looked at."""
    try:
        with ProcessFiles(pid) as files:
            if files.stat().start_ns // _TICK_NS != start_ns // _TICK_NS:
                return None
            return files.arguments()
    except ProcessGone:
        return None


def container_entry(cgroup_id: int, identity: Identity, wall_ns: int) -> bytes:
    """A container that was there, as `[EventTime, record]`."""
    event = {
        "kind": "state",
        "category": ["process"],
        "type": ["info"],
        "action": "container-running",
        "provider": "ebpf",
        "outcome": "success",
    }
    own: dict[str, Any] = {"scope": scope_of(identity).name.lower(), "cgroup_id": cgroup_id}
    whose = [(field.key, field.value) for field in identity_fields(identity)]
    return pack_entry(wall_ns, [("event", event), ("podwitness", own), *whose])

"""From the netlink witness's reports to entries: records, whose they are, filters."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.entries import pack_entry
from collector.identity.cgroups import owner_of
from collector.inputs.event_plans import Planner, SubjectPlan
from collector.inputs.netlink_cgroups import pod_path
from collector.inputs.netlink_records import Clock, network_record, process_record

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.entries import Pairs
    from collector.identity.identity import Identity
    from probes.cgroup_paths import CgroupPaths
    from probes.netlink_exchange import Report

# As the eBPF input: a process has the same start in all its records, whatever little the clocks drift.
CLOCK_STEP_NS = 1_000_000


@dataclass(slots=True)
class Entries:
    """Of one tag."""

    tag: str
    packed: bytearray = field(default_factory=bytearray)
    records: int = 0


class ReportEncoder:
    def __init__(
        self,
        context: InputContext,
        tags: Mapping[str, str],
        cgroups: CgroupPaths | None,
        told: Collection[tuple[str, str]],
    ) -> None:
        """`told`: subjects and actions."""
        self._context = context
        self._told = frozenset(told)
        self._cgroups = cgroups
        self._planners = {subject: Planner(tag, context.chain, context.node) for subject, tag in tags.items()}
        self._clock = Clock(int.from_bytes(context.node_id, "big"), _wall_offset_ns())
        context.chain.changed.append(self._replan)

    def close(self) -> None:
        self._context.chain.changed.remove(self._replan)

    def _replan(self) -> None:
        for planner in self._planners.values():
            planner.forget()

    def encode(self, report: Report) -> list[Entries]:
        """Entries by tag, in their order; tags without any are left out."""
        if abs(_wall_offset_ns() - self._clock.wall_offset_ns) > CLOCK_STEP_NS:
            self._clock = self._clock._replace(wall_offset_ns=_wall_offset_ns())
        gathered: dict[str, Entries] = {}
        for seen in report.processes:
            if ("process", seen.action) not in self._told:
                continue
            plan = self._plan("process", seen.process.cgroup_id, seen.process.cgroup_path)
            pairs = process_record(seen, _scope(plan), self._clock)
            self._add(gathered, "process", seen.action, seen.time_ns, pairs, plan)
        for socket in report.sockets:
            if ("network", socket.action) not in self._told:
                continue
            cgroup_id, path = self._owner_of(socket.cgroup_id, socket.cgroup_path)
            socket.cgroup_id = cgroup_id
            plan = self._plan("network", cgroup_id, path)
            pairs = network_record(socket, _scope(plan), self._clock)
            self._add(gathered, "network", socket.action, socket.time_ns, pairs, plan)
        return [entries for entries in gathered.values() if entries.records]

    def _add(
        self,
        gathered: dict[str, Entries],
        subject: str,
        kind: str,
        time_ns: int,
        pairs: Pairs,
        plan: SubjectPlan,
    ) -> None:
        self._context.metrics.add("podwitness_kernel_events_total", kind)
        tag = self._planners[subject].tag
        wall_ns = time_ns + self._clock.wall_offset_ns
        packed = pack_entry(wall_ns, pairs, plan.fragment.pairs, plan.fragment.pair_count)
        for part in self._context.chain.apply(plan.rest, tag, packed, plan.identity):
            entries = gathered.setdefault(part.tag, Entries(part.tag))
            entries.packed += part.entries
            entries.records += part.records

    def _owner_of(self, cgroup_id: int, path: str) -> tuple[int, str]:
        """A socket that comes with a path is known by its network namespace only, which is the pod's."""
        pod = pod_path(path) if path else ""
        if pod == path or self._cgroups is None:
            return cgroup_id, path
        return self._cgroups.id_of(pod), pod

    def _plan(self, subject: str, cgroup_id: int, path: str) -> SubjectPlan:
        plan = self._planners[subject].plan(self._identity(cgroup_id, path))
        if plan.identity is None:
            self._context.metrics.add("podwitness_kernel_events_unresolved_total")
        return plan

    def _identity(self, cgroup_id: int, path: str) -> Identity | None:
        """Of a cgroup that is gone its path still tells whose it was."""
        identities = self._context.identities
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        found = identities.by_cgroup(cgroup_id, now_ns) if cgroup_id else None
        if found is not None or not path:
            return found
        if cgroup_id:
            return identities.cgroup_made(cgroup_id, path, now_ns)
        owner = owner_of(path)
        return identities.by_container(owner.container_id) if owner and owner.container_id else None


def _scope(plan: SubjectPlan) -> str:
    return plan.fragment.scope.name.lower()


def _wall_offset_ns() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

"""The encoder's tables of constant pairs, kept in step with the identities of cgroups."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from collector.inputs.event_plans import target_fragment
from collector.native.containers import ContainerTable
from collector.native.events import CgroupChange, Tables

if TYPE_CHECKING:
    from collector.identity.identity import Identity
    from collector.identity.table import IdentityTable
    from collector.inputs.event_plans import Planner, SubjectPlan

# As many cgroups as collector.identity.table keeps; with half a KiB of pairs each a table takes 8 MiB.
MAX_CGROUPS = 16384
TABLE_BYTES = 16 << 20
TARGET_BYTES = 8 << 20
# A cgroup is removed after its last process is gone, but a socket's last records come minutes later
# (TIME_WAIT takes one, FIN_WAIT2 another).
KEEP_GONE_NS = 150 * 10**9
# How long a cgroup that could not be resolved is left in peace.
ASK_AGAIN_NS = 10 * 10**9


class ContainerPlans(NamedTuple):
    process: SubjectPlan
    network: SubjectPlan


class EventContainers:
    """What is known of each cgroup. Times are CLOCK_BOOTTIME ns.

    A subject whose filters must see the records is not put into the encoder's
    table, so that its records are handed back raw. Of more than MAX_CGROUPS the one
    learnt first is forgotten; it is asked for again when it is seen again.
    """

    def __init__(self, identities: IdentityTable, process: Planner, network: Planner) -> None:
        self.tables = Tables(
            ContainerTable(MAX_CGROUPS, TABLE_BYTES), ContainerTable(MAX_CGROUPS, TABLE_BYTES)
        )
        self.targets = ContainerTable(MAX_CGROUPS, TARGET_BYTES)
        self._identities = identities
        self._planners = (process, network)
        self._plans: dict[int, ContainerPlans] = {}
        self._leaving: deque[tuple[int, int]] = deque()  # when, which cgroup; in the order of time
        self._unresolved: deque[tuple[int, int]] = deque()
        identities.changed.append(self._changed)

    def close(self) -> None:
        self._identities.changed.remove(self._changed)

    def plans(self, cgroup_id: int, now_ns: int) -> ContainerPlans | None:
        """None: the cgroup is not known (yet)."""
        known = self._plans.get(cgroup_id)
        if known is not None:
            return known
        identity = self._identities.by_cgroup(cgroup_id, now_ns) if cgroup_id else None
        return None if identity is None else self._learn(cgroup_id, identity)

    def give_up(self, cgroup_id: int, now_ns: int) -> ContainerPlans:
        """Plans that mark the cgroup's events as unresolved, until it is worth asking again."""
        self._forget_later(self._unresolved, now_ns + ASK_AGAIN_NS, cgroup_id)
        return self._learn(cgroup_id, None)

    def note(self, change: CgroupChange, now_ns: int) -> None:
        """A control record of the probes."""
        if change.made:
            self._learn(change.cgroup_id, self._identities.cgroup_made(change.cgroup_id, change.path, now_ns))
        else:
            self._identities.cgroup_gone(change.cgroup_id, now_ns)
            self._forget_later(self._leaving, now_ns + KEEP_GONE_NS, change.cgroup_id)

    def expire(self, now_ns: int) -> None:
        """Forgets what was gone long enough, and failures to resolve."""
        for queue in (self._leaving, self._unresolved):
            while queue and queue[0][0] <= now_ns:
                self._forget(queue.popleft()[1])

    def replan(self) -> None:
        """The filters are others now: all that is known is worked out anew."""
        for planner in self._planners:
            planner.forget()
        for cgroup_id, plans in list(self._plans.items()):
            self._learn(cgroup_id, plans.process.identity)

    def _forget_later(self, queue: deque[tuple[int, int]], when_ns: int, cgroup_id: int) -> None:
        """Earlier when cgroups come and go so fast that the queue is full: forgetting is always safe."""
        if len(queue) >= MAX_CGROUPS:
            self._forget(queue.popleft()[1])
        queue.append((when_ns, cgroup_id))

    def _changed(self, cgroup_id: int, identity: Identity) -> None:
        if cgroup_id in self._plans:
            self._learn(cgroup_id, identity)

    def _learn(self, cgroup_id: int, identity: Identity | None) -> ContainerPlans:
        plans = ContainerPlans(*(planner.plan(identity) for planner in self._planners))
        self._plans.pop(cgroup_id, None)  # so that it is the youngest now
        if len(self._plans) >= MAX_CGROUPS:
            self._forget_oldest()
        self._plans[cgroup_id] = plans
        for table, plan in zip(self.tables, plans, strict=True):
            if plan.rest:
                table.remove(cgroup_id)
            while not plan.rest and not table.set(cgroup_id, plan.fragment):
                self._forget_oldest()
        if identity is not None:
            # Without room it is not told whose a target is; its cgroup always is.
            self.targets.set(cgroup_id, target_fragment(identity))
        return plans

    def _forget_oldest(self) -> None:
        self._forget(next(iter(self._plans)))

    def _forget(self, cgroup_id: int) -> None:
        self._plans.pop(cgroup_id, None)
        for table in (*self.tables, self.targets):
            table.remove(cgroup_id)

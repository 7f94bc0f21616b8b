"""Out of the rings, through identities and filters, to what becomes chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from collector.inputs.event_containers import EventContainers
from collector.inputs.event_flow import EventFlow
from collector.inputs.event_losses import KernelLoss, LossCounters, dns_losses, drain_losses
from collector.inputs.event_pending import Pending
from collector.inputs.event_plans import Planner
from collector.inputs.event_programs import ToldPrograms
from collector.inputs.event_rings import NAMES, Rings
from collector.inputs.event_translations import Tracking
from collector.inputs.watched_names import shown_names, table_of, write_table
from collector.native.event_kinds import Kind
from collector.native.events import DrainEnd, EventEncoder, Heartbeat, Ring
from collector.native.flow_table import FlowTable
from collector.native.limits import Limits, Suppressed
from collector.native.resolutions import Resolutions
from collector.native.translations import Translations
from probes import netns
from probes.catalog import FLOW_SLOTS, FLOWS
from probes.choice import are_packets_seen

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.identity.identity import Identity
    from collector.inputs.ebpf_settings import Settings
    from probes.launch import Attached

# One drain's worth: some 3 ms of this thread. Between drains other tasks have their turn.
DRAIN_RECORDS = 4096
# Flows are read when the other ring is empty, and at the latest after so many drains of it: a node that does
# nothing but start processes shall not be blind for its connections.
SECURITY_TURNS = 4
# A new reading of the wall clock is taken over when it differs by more than this from the old one. Otherwise
# the few hundred ns between two readings would give a process another start time in each record.
CLOCK_STEP_NS = 1_000_000
# Programs not run are counted in /proc: looked at every so many ticks.
MISSED_TICKS = 10
CGROUPS = "cgroup"  # subject of the control records


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class WallClock:
    """The offset from CLOCK_BOOTTIME to the wall clock."""

    def __init__(self) -> None:
        self.offset_ns = time.time_ns() - boot_ns()

    def refresh(self) -> int:
        now = time.time_ns() - boot_ns()
        if abs(now - self.offset_ns) > CLOCK_STEP_NS:
            self.offset_ns = now
        return self.offset_ns


class EventDrain:
    """The rings and all that their records pass on their way to chunks."""

    def __init__(
        self, settings: Settings, context: InputContext, attached: Attached, tags: Mapping[str, str]
    ) -> None:
        """`tags` by subject. Raises OSError when the rings can't be mapped."""
        self._attached = attached
        self._context = context
        self._limits = Limits(attached.rates_fd, attached.limits_fd)
        self._rings = Rings.open(attached, settings.ring_bytes, settings.flow_ring_bytes)
        self._limits.set(settings.rates)
        if (watched := attached.maps.get("watched")) is not None:
            table = table_of(settings.watched)
            write_table(watched, table)
            if table.left_out:
                context.log.error("too many paths; not watched: %s", shown_names(table.left_out))
        self._encoder = EventEncoder(int.from_bytes(context.node_id, "big"), variables=settings.variables)
        planners = (Planner(tags[subject], context.chain, context.node) for subject in tags)
        self._containers = EventContainers(context.identities, *planners)
        self._encoder.recognise(self._containers.targets)
        self._encoder.keep_untold(settings.untold)
        context.chain.changed.append(self._containers.replan)
        self._pending = Pending(settings.pending_limit_bytes, int(settings.pending_timeout_s * 1e9))
        self.flow = EventFlow(
            self._encoder, self._containers, self._pending, context.chain, tags, context.metrics
        )
        self._tracking: Tracking | None = None
        self._names: Resolutions | None = None
        self._flows = self._open_flows(settings)
        self._clock = WallClock()
        self._counters = LossCounters()
        self._losses: list[KernelLoss] = []
        self._ticks = 0
        self.is_held = False
        self.drained_bytes: tuple[int, ...] = (0, 0)  # of each ring, by the last drain
        self.programs = ToldPrograms(self._encoder, settings.exempt) if settings.program else None
        self.forgotten_programs = 0  # since somebody told of them and put it back to 0
        is_known = settings.program and settings.state and "process" in settings.subjects
        if settings.exempt and not is_known:
            context.log.error("Watch_Exempt does nothing without Program, State and Trace process")

    def _open_flows(self, settings: Settings) -> FlowTable | None:
        """None where no packets are looked at. Raises OSError."""
        descriptor = self._attached.maps.get(FLOWS)
        if descriptor is None or not are_packets_seen(settings.subjects, settings.off):
            return None
        interval_ns, idle_ns = int(settings.flow_interval_s * 1e9), int(settings.flow_idle_s * 1e9)
        try:
            flows = FlowTable(descriptor, FLOW_SLOTS, interval_ns, idle_ns)
        except BaseException:
            self._rings.close()
            raise
        self._encoder.watch(flows)
        self._names = Resolutions(netns.node())
        self._encoder.learn(self._names)
        self._track()
        return flows

    def _track(self) -> None:
        if self._attached.tracking_fd < 0:
            self._say_untracked()
            return
        known = Translations()
        self._tracking = Tracking(self._attached.tracking_fd, known)
        self._encoder.know(known)

    def _say_untracked(self) -> None:
        """A node without Services is well; one whose network namespace is out of reach is set up wrongly."""
        said = "what Services are translated to is not seen: "
        if netns.is_nodes():
            self._context.log.info("%sthe kernel tracks no connections, or NET_ADMIN is missing", said)
            return
        self._context.log.warning("%s%s", said, netns.NOT_ENTERED)
        self._context.report(f"{self._context.name} Services", False, f"{said}{netns.NOT_ENTERED}")

    def report_flows(self, *, is_last: bool = False) -> None:
        """Once a second: flows that go on or have become idle; `is_last`: all that was not told yet."""
        if self._flows is None:
            return
        now_ns = boot_ns()
        self._encoder.set_clock(self._clock.refresh())
        end = DrainEnd.FULL
        while end is DrainEnd.FULL:
            told = self._encoder.scan(self._flows, self._containers.tables, now_ns, is_last=is_last)
            self.flow.take(told, now_ns)
            end = told.end

    def expect(self, heartbeat: Heartbeat) -> None:
        self._encoder.expect(heartbeat)

    def heard(self) -> frozenset[Kind]:
        return self._encoder.heard()

    @property
    def own_cgroup_id(self) -> int:
        return self._encoder.own_cgroup_id

    @property
    def fill_bytes(self) -> tuple[int, ...]:
        """What waits in each ring."""
        return self._rings.fill_bytes

    @property
    def is_past_half(self) -> bool:
        return self._rings.is_past_half

    @property
    def is_waiting(self) -> bool:
        """Records wait for their cgroup to become known."""
        return bool(self._pending)

    def drain(self, *, is_last: bool = False) -> bool:
        """Bounded drains of both rings; whether both are empty, but for connections that happened meanwhile:
        these are held until the next time (`is_held`), unless it is the last."""
        security_bytes = 0
        for _ in range(SECURITY_TURNS):
            since_ns = boot_ns()
            is_empty, drained_bytes = self._drain(self._rings.security)
            security_bytes += drained_bytes
            if is_empty:
                break
        if self._tracking is not None:
            self._tracking.read()
        until_ns = self.programs.read_until(since_ns if is_empty else 0) if self.programs else 0
        are_flows_read, flow_bytes = self._drain(self._rings.flow, 0 if is_last else until_ns)
        self.drained_bytes = (security_bytes, flow_bytes)
        return is_empty and are_flows_read

    def _drain(self, ring: Ring, until_ns: int = 0) -> tuple[bool, int]:
        """(whether it is empty, bytes taken)."""
        now_ns = boot_ns()
        self._encoder.set_clock(self._clock.refresh())
        drained = self._encoder.drain(ring, self._containers.tables, DRAIN_RECORDS, until_ns)
        self._losses += drain_losses(drained)
        self.flow.take(drained, now_ns)
        self.is_held = drained.end is DrainEnd.LATER
        return drained.end in (DrainEnd.EMPTY, DrainEnd.LATER), drained.drained_bytes

    def promise_look(self, for_s: float) -> None:
        """The rings are looked at after that time, and some ms more, without a notification; 0: not so."""
        if for_s:
            self._limits.promise_look(boot_ns() + int(for_s * 1e9))

    def tick(self) -> list[KernelLoss]:
        """Once a second: what was lost meanwhile; and what is no longer worth keeping is forgotten."""
        now_ns = boot_ns()
        self._containers.expire(now_ns)
        for name, fill_bytes in zip(NAMES, self._rings.fill_bytes, strict=True):
            self._context.metrics.set("podwitness_kernel_ring_bytes", name, to=fill_bytes)
        found, self._losses = self._losses, []
        lost = self._attached.lost()
        found += self._counters.ring_full(lost)
        untracked = self._counters.untracked(lost)
        self._context.metrics.add("podwitness_kernel_processes_untracked_total", by=untracked)
        if self._tracking is not None:
            overruns = self._tracking.take_overruns()
            self._context.metrics.add("podwitness_kernel_translation_overruns_total", by=overruns)
        if self._names is not None:
            unread = self._counters.unread_dns(self._names.unread)
            self._context.metrics.add("podwitness_kernel_dns_malformed_total", by=unread.malformed)
            self._context.metrics.add("podwitness_kernel_dns_streams_lost_total", by=unread.streams)
            found += dns_losses(unread)
        if self._ticks % MISSED_TICKS == 0:
            found += self._counters.not_run(self._attached.missed(), self._attached.hooks)
        self._ticks += 1
        if self.programs is not None:
            self.programs.note_losses(found, now_ns)
            forgotten = self.programs.take_forgotten()
            self._context.metrics.add("podwitness_kernel_programs_forgotten_total", by=forgotten)
            self.forgotten_programs += forgotten
        if any(loss.subject == CGROUPS for loss in found):
            self._context.identities.scan()
        return found

    def expect_newborns(self, attached_ns: int) -> None:
        """Forks that are seen though the process is older than this are remembered."""
        self._encoder.set_born_before(attached_ns)

    def newborns(self) -> frozenset[tuple[int, int]]:
        return self._encoder.newborns()

    @property
    def wall_offset_ns(self) -> int:
        return self._clock.offset_ns

    def suppressed(self) -> Suppressed:
        """What limits kept from being reported since the last look."""
        found = self._limits.suppressed()
        if self.programs is not None:
            self.programs.note_suppressed(found, boot_ns())
        return found

    def identity_of(self, cgroup_id: int) -> Identity | None:
        plans = self._containers.plans(cgroup_id, boot_ns())
        return plans.process.identity if plans else None

    def close(self) -> None:
        self._context.chain.changed.remove(self._containers.replan)
        self._limits.close()
        self._containers.close()
        if self._flows is not None:
            self._flows.close()
        self._rings.close()

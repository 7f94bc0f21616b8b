"""`[INPUT] Name ebpf`: what the kernel saw of processes and TCP connections, with the container it was in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collector.config.kinds import repeated
from collector.config.schema import boolean, key, seconds, size_bytes
from collector.delivery.chunk import Chunk, Worth, chunk_id
from collector.delivery.losses import LOSS_TAG, Loss
from collector.inputs.event_drain import CGROUPS, EventDrain, boot_ns
from collector.inputs.event_flow import CHUNK_BYTES
from collector.inputs.event_keys import (
    MAX_DNS_PORTS,
    SUBJECTS,
    TRACED,
    executables_kind,
    folder_kind,
    ports_kind,
    ring_kind,
    subjects_kind,
    variables_kind,
    witness_kind,
)
from collector.inputs.event_limits import Suppression, rate_kind
from collector.inputs.event_losses import ANY_KIND, KernelLoss
from collector.inputs.event_rings import RingWatch, Unread
from collector.inputs.event_state import Snapshot
from collector.inputs.event_vigil import Patience, Trouble, Vigil, notice
from collector.inputs.event_worth import worth_of_tags
from collector.inputs.watched_names import DEFAULT, WatchedName, watched_kind
from collector.native.events import Entries, Kind
from collector.native.limits import CLASSES, Rate
from collector.service.stalls import Stall
from probes.launch import Attached, HookReport, ProbeError, launch

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Reads process and network events of all containers and the host from the kernel, by eBPF."
ALWAYS = (CGROUPS,)  # how a new container is known before its first event
STATE = "state"

# Counters of losses are looked at this often, so that a gap is told within a second.
TICK_S = 1.0
# While records wait for their cgroup to become known, or for room in the outputs.
RETRY_S = 0.1
# Until detached probes are tried to be attached again, where that failed.
ATTACH_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    trace: tuple[tuple[str, ...], ...] = key(
        "Trace",
        repeated(subjects_kind),
        default="process network privilege",
        help="What to see. `privilege`: signals between containers, new namespaces, out-of-memory kills "
        "and moves between cgroups. `syscalls`: calls that change or use a privilege, for 0.1 us on every "
        "system call of the node.",
    )
    ring_bytes: int = key(
        "Ring_Size", ring_kind, default="4MiB", help="Memory in the kernel for events not yet read."
    )
    flow_ring_bytes: int = key(
        "Flow_Ring_Size",
        ring_kind,
        default="2MiB",
        help="The same for events of connections, which can't push out the others.",
    )
    flow_interval_s: float = key(
        "Flow_Interval",
        seconds,
        default="30s",
        help="How often a UDP flow that goes on is reported. `Trace flow` only, as the next two.",
    )
    flow_idle_s: float = key(
        "Flow_Idle", seconds, default="60s", help="A UDP flow without a packet for so long is over."
    )
    dns_ports: tuple[int, ...] = key(
        "Dns_Ports", ports_kind, default="53", help="Where DNS is expected, up to four ports."
    )
    process_rate: tuple[int, int] = key(
        "Rate_Limit_Process",
        rate_kind,
        default="5000 2000",
        help="Most process events of one container, a second and at once; 0: no limit. One of several KiB "
        "counts as several. What is suppressed is counted, and told by container.",
    )
    network_rate: tuple[int, int] = key(
        "Rate_Limit_Network",
        rate_kind,
        default="10000 5000",
        help="The same for its events of connections.",
    )
    privilege_rate: tuple[int, int] = key(
        "Rate_Limit_Privilege",
        rate_kind,
        default="1000 1000",
        help="The same for its events of privileges and files.",
    )
    state: bool = key(
        "State",
        boolean,
        default="On",
        help="Whether processes, listeners, connections and containers that are there at the start are told.",
    )
    drain_interval_s: float = key(
        "Drain_Interval", seconds, default="20ms", help="How long events may gather before they are read."
    )
    pending_limit_bytes: int = key(
        "Pending_Limit", size_bytes, default="4MiB", help="Most events that wait for their container's name."
    )
    pending_timeout_s: float = key(
        "Pending_Timeout",
        seconds,
        default="2s",
        help="How long they wait; then they are sent marked `unresolved`.",
    )
    heartbeat_s: float = key(
        "Heartbeat_Interval",
        seconds,
        default="10s",
        help="How often podwitness does what its own probes must report, to see that they do; 0: never.",
    )

    program: bool = key(
        "Program",
        boolean,
        default="On",
        help="Whether all records of a process tell its executable and arguments, or its exec alone.",
    )
    variables: tuple[str, ...] = key(
        "Environment",
        variables_kind,
        default="off",
        help="Environment variables that an exec's record tells, such as SPO_EXEC_REQUEST_UID; no others.",
    )
    witness: str = key(
        "Witness",
        witness_kind,
        default="auto",
        help="`ebpf`, `netlink` (sees less), or `auto`: netlink only where eBPF can't be used.",
    )
    refresh_interval_s: float = key(
        "Refresh_Interval",
        seconds,
        default="1s",
        help="How often the netlink witness looks for new connections.",
    )
    probe_cache: str = key(
        "Probe_Cache",
        folder_kind,
        default="/var/lib/podwitness/probes",
        help="Folder of compiled probes, for a start without the compiler; `off`: compile at each start.",
    )

    watch_paths: tuple[tuple[WatchedName, ...], ...] = key(
        "Watch_Path",
        repeated(watched_kind),
        default=" ".join(DEFAULT),
        help="With `syscalls`: files and sockets to report the use of. The last two names count, wherever "
        "the file is: `/etc/shadow` is watched in every container. `*` stands for any name. `off`: none.",
    )

    exempt: tuple[str, ...] = key(
        "Watch_Exempt",
        executables_kind,
        default="off",
        help="Programs of the node, such as /usr/bin/kubelet, whose use of watched files is counted and not "
        "told: those on the host's own mounts, and only with `Program`, `State` and `Trace process`.",
    )

    @property
    def rates(self) -> dict[str, Rate]:
        rates = (self.process_rate, self.network_rate, self.privilege_rate)
        return {name: Rate(*rate) for name, rate in zip(CLASSES, rates, strict=True)}

    @property
    def watched(self) -> tuple[WatchedName, ...]:
        return tuple(name for line in self.watch_paths for name in line)

    @property
    def subjects(self) -> tuple[str, ...]:
        wanted = {subject for line in self.trace for subject in line}
        return tuple(subject for subject in TRACED if subject in wanted)

    @property
    def constants(self) -> dict[str, int]:
        """What the probes are compiled with."""
        environment = {"TELL_ENVIRONMENT": 1} if self.variables else {}
        if "flow" not in self.subjects:
            return environment
        ports = (*self.dns_ports, *(0,) * (MAX_DNS_PORTS - len(self.dns_ports)))
        named = {f"DNS_PORT_{number}": port for number, port in enumerate(ports, 1)}
        return {"FLOW_IDLE_NS": int(self.flow_idle_s * 1e9), **named, **environment}


def tags_of(context: InputContext) -> dict[str, str]:
    """By subject: `*` of the Tag is the subject's name."""
    return {subject: context.plugin.tag.replace("*", subject) for subject in SUBJECTS}


class Ebpf:
    """The running input."""

    def __init__(self, settings: Settings, context: InputContext) -> None:
        self._settings = settings
        self._context = context
        self._tags = tags_of(context)
        self._worth = worth_of_tags(self._tags)
        self._run_id = os.urandom(8)
        self._sequence = 0
        self._left: list[Chunk] = []  # refused by the outputs
        self._patience = Patience()
        self._turned_s: float | None = None  # when the work last went round, while it does
        self._suppression = Suppression(context.node)

    async def run(self, stop: asyncio.Event) -> None:
        if self._settings.witness == "netlink":
            await self._without_probes("", stop)
            return
        try:
            watching = await self._attach(stop)
        except (ProbeError, OSError) as error:
            await self._without_probes(str(error), stop)
            return
        self._begin_at_zero()
        while trouble := await self._work(watching, stop):
            watching = await self._replace(watching, trouble, stop)
        await self._finish(watching.drain)
        watching.close()

    async def _without_probes(self, reason: str, stop: asyncio.Event) -> None:
        """What netlink gives, unless only eBPF will do. `reason`: why there are none, if they were tried."""
        settings, context = self._settings, self._context
        if settings.witness == "ebpf":
            context.log.error("kernel events are not seen: %s", reason)
            context.report(context.name, False, reason)
            await stop.wait()
            return
        # Memory that a node with probes has no use for.
        from collector.inputs.netlink_witness import NetlinkInput

        await NetlinkInput(context, settings, self._tags, reason).run(stop)

    async def _attach(self, stop: asyncio.Event) -> Watching:
        """Raises ProbeError, OSError."""
        settings, context = self._settings, self._context
        attached = await launch(
            (*settings.subjects, *ALWAYS, *((STATE,) if settings.state else ())),
            ring_bytes=settings.ring_bytes,
            flow_ring_bytes=settings.flow_ring_bytes,
            constants=settings.constants,
            starter=context.starter,
        )
        try:
            drain = EventDrain(settings, context, attached, self._tags)
        except BaseException:
            attached.close()
            raise
        self._report_hooks(attached.hooks)
        level = logging.WARNING if attached.origin.is_odd else logging.INFO
        context.log.log(level, "probes %s", attached.origin)
        now_s = time.monotonic()
        vigil = Vigil(settings.heartbeat_s, attached, drain, context.metrics, context.log, now_s)
        present = context.identities.present
        snapshot = Snapshot(
            attached, drain, settings.subjects, present, context.metrics, is_wanted=settings.state
        )
        return Watching(attached, drain, RingWatch(attached, stop), vigil, snapshot)

    async def _replace(self, old: Watching, trouble: Trouble, stop: asyncio.Event) -> Watching:
        """New probes for those in trouble; the old ones again when it is time to stop before that worked."""
        context = self._context
        since_ns = time.time_ns() - int((time.monotonic() - trouble.since_s) * 1e9)
        self._notify(trouble.action, trouble.reason, trouble.hooks, since_ns)
        context.report(f"{context.name} probes", False, trouble.reason)
        # Before the new ones, so that nothing is seen twice; the ring keeps what was seen.
        old.attached.detach()
        while (new := await self._try_attach(stop)) is None:
            if stop.is_set():
                return old
        reason = f"attached again; what happened meanwhile may be missing. Before: {trouble.reason}"
        self._notify("probes-reattached", reason, trouble.hooks, since_ns)
        context.metrics.add("podwitness_probes_reattached_total", trouble.action)
        self._patience.replaced(time.monotonic())
        await self._finish(old.drain)
        old.close()
        return new

    async def _try_attach(self, stop: asyncio.Event) -> Watching | None:
        """None after a pause, when it did not work."""
        try:
            return await self._attach(stop)
        except (ProbeError, OSError) as error:
            self._context.log.error("the probes can't be attached again: %s", error)
            self._context.report(self._context.name, False, str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ATTACH_AGAIN_S):
                await stop.wait()
        return None

    def _notify(self, action: str, reason: str, hooks: Sequence[str], since_ns: int) -> None:
        context = self._context
        context.log.warning("%s: %s", action, reason)
        entry = notice(action, reason, hooks, context.name, context.node, since_ns, time.time_ns())
        self._left.append(self._chunk(LOSS_TAG, Entries(entry, 1)))

    def _report_hooks(self, hooks: Sequence[HookReport]) -> None:
        context = self._context
        context.report(context.name, True, "")
        attached = sum(hook.is_attached for hook in hooks)
        context.log.info("kernel events: %d of %d hooks attached", attached, len(hooks))
        for hook in hooks:
            failed = hook.state == "failed"
            said = f"{hook.hook} is {hook.state}: {hook.reason}. {hook.consequence}"
            context.metrics.set("podwitness_kernel_hook_attached", hook.hook, to=int(hook.is_attached))
            if hook.state != "attached":
                context.log.log(logging.WARNING if failed else logging.INFO, "%s", said)
            if failed:
                context.report(f"{context.name} {hook.hook}", False, said)

    def _begin_at_zero(self) -> None:
        """A counter that appears with its first loss shows no increase to an alert."""
        for kind in Kind:
            self._context.metrics.add("podwitness_kernel_events_lost_total", kind.label, "ring_full", by=0)
            if kind.subject != CGROUPS:
                self._context.metrics.add("podwitness_kernel_events_suppressed_total", kind.label, by=0)
                self._context.metrics.add(
                    "podwitness_lost_records_total", _told_cause(kind.label, "ring_full"), by=0
                )

    def stalls(self, now_s: float) -> Iterable[Stall]:
        """Whether nobody reads the rings, or listens to the heartbeat."""
        if self._turned_s is not None:
            age_s = max(0.0, now_s - self._turned_s - TICK_S)
            yield Stall(self._context.name, "the rings are not read", age_s, True)

    async def _work(self, watching: Watching, stop: asyncio.Event) -> Trouble | None:
        """Until it is time to stop, or there is trouble with the probes."""
        try:
            return await self._go_round(watching, stop)
        finally:
            self._turned_s = None

    async def _go_round(self, watching: Watching, stop: asyncio.Event) -> Trouble | None:
        drain = watching.drain
        is_empty = True
        tick_at = time.monotonic()
        while not stop.is_set():
            self._turned_s = time.monotonic()
            if is_empty or self._left:
                is_hurried = self._left or drain.is_waiting or not watching.snapshot.is_done
                pause_s = RETRY_S if is_hurried else tick_at - time.monotonic()
                # Of what is behind a record that is held no notification comes.
                pause_s = min(pause_s, self._settings.drain_interval_s) if drain.is_held else pause_s
                await self._pause(watching, pause_s)
            if time.monotonic() >= tick_at:
                tick_at = time.monotonic() + TICK_S
                if trouble := self._tick(watching):
                    return trouble
            self._left = self._offer(self._left)
            if not self._left:
                await self._look_back(watching)
                is_empty = drain.drain()
                watching.vigil.read(time.monotonic(), drain.drained_bytes)
                least_bytes = 0 if is_empty else CHUNK_BYTES
                self._left = self._offer(list(drain.flow.chunks(self._chunk, least_bytes=least_bytes)))
            # While outputs have no room events stay in the ring; when that is full, the kernel counts.
            await asyncio.sleep(0)
        return None

    async def _look_back(self, watching: Watching) -> None:
        """At what was there before the probes, a step."""
        if watching.snapshot.is_done:
            return
        try:
            await watching.snapshot.step(boot_ns(), watching.drain.wall_offset_ns)
        except OSError as error:
            watching.snapshot.is_done = True
            self._context.log.warning("what was there before the probes is not all told: %s", error.strerror)

    def _tick(self, watching: Watching) -> Trouble | None:
        """Trouble that it is time to do something about."""
        context, now_s = self._context, time.monotonic()
        watching.drain.report_flows()
        losses = watching.drain.tick()
        self._tell(losses)
        self._note_suppressed(watching.drain)
        # Not among what is left, if there is no room: it would grow by a chunk a second.
        has_more = self._suppression and not self._left
        if has_more and self._context.intake.offer(self._suppressed_chunk(watching.drain)):
            self._suppression.clear()
        trouble = watching.vigil.tick(now_s, was_lost=any(loss.kind != Kind.DNS.label for loss in losses))
        if watching.vigil.is_proven and trouble is None:
            self._patience.helped()
            context.report(f"{context.name} probes", True, "")
        return trouble if self._patience.is_over(now_s) else None

    async def _pause(self, watching: Watching, timeout_s: float) -> None:
        """Until there is something to do. After a notification events may gather for a while: the next one
        comes for a record behind an emptied ring, or when the ring is half full."""
        if await watching.ring.wait(timeout_s) and not watching.drain.is_past_half:
            await watching.ring.wait(self._settings.drain_interval_s)

    async def _finish(self, drain: EventDrain) -> None:
        """Hands over all that is in the ring by now, whether or not there is room."""
        left, self._left = self._left, []
        for chunk in left:
            await self._context.intake.submit(chunk)
        unread = Unread(drain.fill_bytes)
        while not unread.is_nothing and not drain.drain(is_last=True):
            unread.read(drain.drained_bytes)
            await self._submit(drain)
        drain.report_flows(is_last=True)
        drain.flow.settle(boot_ns(), all_now=True)
        self._tell(drain.tick())
        self._note_suppressed(drain)
        if self._suppression:
            await self._context.intake.submit(self._suppressed_chunk(drain))
            self._suppression.clear()
        await self._submit(drain)

    async def _submit(self, drain: EventDrain) -> None:
        for chunk in drain.flow.chunks(self._chunk):
            await self._context.intake.submit(chunk)

    def _offer(self, chunks: list[Chunk]) -> list[Chunk]:
        """Those that were refused. None overtakes another of its tag."""
        for number, chunk in enumerate(chunks):
            if not self._context.intake.offer(chunk):
                return chunks[number:]
        return []

    def _chunk(self, tag: str, entries: Entries) -> Chunk:
        self._sequence += 1
        ident = chunk_id(self._context.name, self._run_id, self._sequence)
        worth = self._worth.get(tag, Worth.WITNESS)
        now_ns = time.monotonic_ns()
        name = self._context.name
        return Chunk(ident, tag, entries.entries, entries.records, name, now_ns, worth=worth)

    def _note_suppressed(self, drain: EventDrain) -> None:
        suppressed = drain.suppressed()
        self._suppression.add(suppressed, time.time_ns() - int(TICK_S * 1e9))
        for counts in suppressed.values():
            for kind, count in counts.items():
                self._context.metrics.add("podwitness_kernel_events_suppressed_total", kind.label, by=count)

    def _suppressed_chunk(self, drain: EventDrain) -> Chunk:
        return self._chunk(LOSS_TAG, self._suppression.entries(drain.identity_of, time.time_ns()))

    def _tell(self, losses: list[KernelLoss]) -> None:
        """Counts them, and has lost records told in-band. Changes of cgroups are found again by a scan."""
        now_ns = time.time_ns()
        since_ns = now_ns - int(TICK_S * 1e9)
        for loss in losses:
            self._context.metrics.add(
                "podwitness_kernel_events_lost_total", loss.kind, loss.cause, by=loss.records
            )
            if loss.subject != CGROUPS:
                told = Loss(_told_cause(loss.kind, loss.cause), loss.records, 0, self._tags[loss.subject])
                told = replace(told, source=self._context.name, since_ns=since_ns, until_ns=now_ns)
                self._context.intake.report_loss(told)


def _told_cause(kind: str, cause: str) -> str:
    return cause if kind == ANY_KIND else f"{cause}_{kind}"


@dataclass(frozen=True, slots=True)
class Watching:
    """Attached probes and what follows them."""

    attached: Attached
    drain: EventDrain
    ring: RingWatch
    vigil: Vigil
    snapshot: Snapshot

    def close(self) -> None:
        self.vigil.close()
        self.ring.close()
        self.drain.close()
        self.attached.close()


def make(settings: Settings, context: InputContext) -> Input:
    return Ebpf(settings, context)

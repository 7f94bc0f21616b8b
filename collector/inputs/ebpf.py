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

from collector.delivery.chunk import Chunk, Worth, chunk_id
from collector.delivery.losses import LOSS_TAG, Loss
from collector.inputs.ebpf_settings import Settings
from collector.inputs.event_drain import CGROUPS, EventDrain, boot_ns
from collector.inputs.event_flow import CHUNK_BYTES
from collector.inputs.event_keys import SUBJECTS
from collector.inputs.event_limits import Suppression, told_of
from collector.inputs.event_losses import ANY_KIND, KernelLoss
from collector.inputs.event_pace import Pace
from collector.inputs.event_rings import RingWatch, Unread
from collector.inputs.event_state import Snapshot
from collector.inputs.event_vigil import Patience, Trouble, Vigil, notice
from collector.inputs.event_worth import worth_of_tags
from collector.native.event_kinds import Kind
from collector.native.events import Entries
from collector.native.limits import Suppressed
from collector.service.stalls import Stall
from probes.launch import Attached, HookReport, ProbeError, launch

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

__all__ = ["SUMMARY", "Ebpf", "Settings", "make"]

SUMMARY = "Reads process and network events of all containers and the host from the kernel, by eBPF."

# Counters of losses are looked at this often, so that a gap is told within a second.
TICK_S = 1.0
# While records wait for their cgroup to become known, or for room in the outputs.
RETRY_S = 0.1
HOOK_ATTACHED = "podwitness_kernel_hook_attached"
LACKS_PROGRAM = "records of these tell no executable and no arguments until they execute again"
# Until detached probes are tried to be attached again, where that failed.
ATTACH_AGAIN_S = 10.0


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
        self._untold = frozenset(kind.label for kind in settings.untold)

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
        self._forget_hooks(watching.attached.hooks)
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
            settings.watched_subjects,
            ring_bytes=settings.ring_bytes,
            flow_ring_bytes=settings.flow_ring_bytes,
            constants=settings.constants,
            off=settings.off,
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
            attached,
            drain,
            settings.subjects,
            present,
            context.metrics,
            is_wanted=settings.state,
            untold=settings.untold,
        )
        pace = Pace(settings.drain_interval_s)
        return Watching(attached, drain, RingWatch(attached, stop), pace, vigil, snapshot)

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
        self._context.log.warning("%s: %s", action, reason)
        self._left.append(self._notice(action, reason, hooks, since_ns))

    def _notice(self, action: str, reason: str, hooks: Sequence[str], since_ns: int) -> Chunk:
        context = self._context
        entry = notice(action, reason, hooks, context.name, context.node, since_ns, time.time_ns())
        return self._chunk(LOSS_TAG, Entries(entry, 1))

    def _report_hooks(self, hooks: Sequence[HookReport]) -> None:
        context = self._context
        context.report(context.name, True, "")
        attached = sum(hook.is_attached for hook in hooks)
        context.log.info("kernel events: %d of %d hooks attached", attached, len(hooks))
        for hook in hooks:
            failed = hook.state == "failed"
            said = f"{hook.hook} is {hook.state}: {hook.reason}. {hook.consequence}"
            context.metrics.set(HOOK_ATTACHED, hook.hook, context.name, to=int(hook.is_attached))
            if hook.state != "attached":
                context.log.log(logging.WARNING if failed else logging.INFO, "%s", said)
            if failed:
                context.report(f"{context.name} {hook.hook}", False, said)

    def _forget_hooks(self, hooks: Sequence[HookReport]) -> None:
        """Of another configuration: the next may do without some."""
        context = self._context
        for hook in hooks:
            context.metrics.forget(HOOK_ATTACHED, hook.hook, context.name)
            if hook.state == "failed":
                context.report(f"{context.name} {hook.hook}", True, "")

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
            if self._left:
                watching.pace.pass_over()
            else:
                await self._look_back(watching)
                is_empty = drain.drain()
                drain.promise_look(watching.pace.note(sum(drain.drained_bytes), time.monotonic()))
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
        watching.vigil.note_suppressed(self._note_suppressed(watching.drain))
        # Not among what is left, if there is no room: it would grow by a chunk a second.
        has_more = self._suppression and not self._left
        if has_more and self._context.intake.offer(self._suppressed_chunk(watching.drain)):
            self._suppression.clear()
        has_forgotten = watching.drain.forgotten_programs and not self._left
        if has_forgotten and context.intake.offer(self._forgotten_chunk(watching.drain)):
            watching.drain.forgotten_programs = 0
        trouble = watching.vigil.tick(now_s, was_lost=any(loss.kind != Kind.DNS.label for loss in losses))
        if watching.vigil.is_proven and trouble is None:
            self._patience.helped()
            context.report(f"{context.name} probes", True, "")
        return trouble if self._patience.is_over(now_s) else None

    async def _pause(self, watching: Watching, timeout_s: float) -> None:
        """Until there is something to do. After a notification events may gather for a while: the next one
        comes for a record behind an emptied ring, or when the ring is half full. By the clock only the latter
        ends the wait."""
        now_s = time.monotonic()
        timeout_s = watching.pace.wait_s(timeout_s, now_s)
        if await watching.ring.wait(timeout_s) and not watching.drain.is_past_half:
            is_by_clock = watching.pace.look_at_s is not None
            left_s = now_s + timeout_s - time.monotonic()
            await watching.ring.wait(left_s if is_by_clock else self._settings.drain_interval_s)

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
        if drain.forgotten_programs:
            await self._context.intake.submit(self._forgotten_chunk(drain))
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

    def _note_suppressed(self, drain: EventDrain) -> Suppressed:
        suppressed = drain.suppressed()
        told = told_of(suppressed, self._settings.untold)
        self._suppression.add(told, time.time_ns() - int(TICK_S * 1e9))
        for counts in told.values():
            for kind, count in counts.items():
                self._context.metrics.add("podwitness_kernel_events_suppressed_total", kind.label, by=count)
        return suppressed

    def _forgotten_chunk(self, drain: EventDrain) -> Chunk:
        reason = f"{drain.forgotten_programs} programs of processes that live had no room: {LACKS_PROGRAM}"
        return self._notice("programs-forgotten", reason, (), time.time_ns() - int(TICK_S * 1e9))

    def _suppressed_chunk(self, drain: EventDrain) -> Chunk:
        return self._chunk(LOSS_TAG, self._suppression.entries(drain.identity_of, time.time_ns()))

    def _tell(self, losses: list[KernelLoss]) -> None:
        """Counts them, and has lost records told in-band. Changes of cgroups are found again by a scan."""
        now_ns = time.time_ns()
        since_ns = now_ns - int(TICK_S * 1e9)
        for loss in losses:
            if loss.kind in self._untold:
                continue
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
    pace: Pace
    vigil: Vigil
    snapshot: Snapshot

    def close(self) -> None:
        self.vigil.close()
        self.ring.close()
        self.drain.close()
        self.attached.close()


def make(settings: Settings, context: InputContext) -> Input:
    return Ebpf(settings, context)

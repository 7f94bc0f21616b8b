"""The lesser witness: what netlink and /proc tell of processes and TCP connections where eBPF can't be used.

A child watches (probes/netlink_witness.py); here its reports become chunks, and what it lost is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from collector.delivery.chunk import Chunk, Worth, chunk_id
from collector.delivery.losses import Loss
from collector.inputs.event_worth import worth_of_tags
from collector.inputs.netlink_cgroups import open_paths
from collector.inputs.netlink_reports import Entries, ReportEncoder
from probes.netlink_exchange import Lost, Part, Report, Watch
from probes.netlink_launch import NetlinkWitness, launch_witness

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.inputs.ebpf_settings import Settings

SUBJECTS = ("process", "network")
# For the kernel's messages that are not read yet, of each socket: some 10,000 events.
RECEIVE_BYTES = 8 << 20
# While outputs have no room the reports wait; the child counts what it has to drop then.
RETRY_S = 0.1
# Nobody tells that a cgroup was removed.
SCAN_S = 30.0
RESTART_S = 10.0
# Of the time that inputs have to hand over what they hold.
LAST_REPORTS_S = 0.4
# What was lost was lost since the losses were last looked at.
LOSS_TOLD_NS = 1_000_000_000
ANY_KIND = "any"
_NUMBER = re.compile(r"\d+")


class NetlinkInput:
    """Runs in the place of the eBPF input. `reason`: why; "" when it was asked for."""

    def __init__(
        self, context: InputContext, settings: Settings, tags: Mapping[str, str], reason: str
    ) -> None:
        self._context = context
        self._settings = settings
        self._tags = tags
        self._worth = worth_of_tags(tags)
        self._reason = reason
        self._parts: dict[str, Part] = {}
        self._gist = ""  # of what was last said in the log
        self._subjects = tuple(one for one in settings.subjects if one in SUBJECTS)
        self._cgroups = open_paths(context.document.service.host_root)
        self._told = frozenset((event.subject, event.action) for event in settings.told)
        self._encoder = ReportEncoder(context, tags, self._cgroups, self._told)
        self._run_id = os.urandom(8)
        self._sequence = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. A child that ends is started again after a while."""
        self._begin_at_zero()
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._run_once(stopping)
                await asyncio.wait([stopping], timeout=RESTART_S)
        finally:
            stopping.cancel()
            self._encoder.close()

    def _begin_at_zero(self) -> None:
        """A counter that appears with its first loss shows no increase to an alert."""
        metrics = self._context.metrics
        metrics.add("podwitness_kernel_events_lost_total", ANY_KIND, "netlink_overrun", by=0)
        metrics.add("podwitness_lost_records_total", "netlink_overrun", by=0)

    async def _run_once(self, stopping: asyncio.Task[Any]) -> None:
        try:
            witness = await launch_witness(self._watch(), self._context.starter)
        except OSError as error:
            self._say_ended(f"it can't be started: {error.strerror}")
            return
        try:
            await self._follow(witness, stopping)
            if not stopping.done():
                self._say_ended(await witness.last_words())
        finally:
            await witness.close()

    def _watch(self) -> Watch:
        settings, cgroups = self._settings, self._cgroups
        return Watch(
            self._subjects,
            cgroups.mount_point if cgroups else "",
            cgroups.own if cgroups else (),
            RECEIVE_BYTES,
            settings.ring_bytes,
            settings.drain_interval_s,
            settings.refresh_interval_s,
            settings.state,
        )

    def _say_ended(self, how: str) -> None:
        """What happens until it is started again is not seen, and nobody can count it."""
        self._context.log.error("the netlink witness has ended: %s", how)
        self._gist = ""
        self._context.report(self._context.name, False, f"kernel events are not seen: {how}")
        for subject in self._subjects:
            self._tell(Lost(subject, ANY_KIND, "witness_ended", 1))

    async def _follow(self, witness: NetlinkWitness, stopping: asyncio.Task[Any]) -> None:
        """Until the child ends, or it is time to stop; then what it has seen by now is handed over."""
        scan_at = time.monotonic() + SCAN_S
        while not stopping.done():
            report = await _first_of(witness.receive(), stopping)
            if report is None:
                break
            await self._hand_over(report, stopping)
            if time.monotonic() >= scan_at:
                self._context.identities.scan()
                scan_at = time.monotonic() + SCAN_S
        if stopping.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_REPORTS_S):
                    witness.finish()
                    while (report := await witness.receive()) is not None:
                        await self._hand_over(report, stopping)

    async def _hand_over(self, report: Report, stopping: asyncio.Task[Any]) -> None:
        for part in report.parts:
            self._learn(part)
        for lost in report.lost:
            self._tell(lost)
        for entries in self._encoder.encode(report):
            chunk = self._chunk(entries)
            while not self._context.intake.offer(chunk):
                if stopping.done():
                    await self._context.intake.submit(chunk)
                    break
                await asyncio.wait([stopping], timeout=RETRY_S)

    def _chunk(self, entries: Entries) -> Chunk:
        self._sequence += 1
        name = self._context.name
        ident = chunk_id(name, self._run_id, self._sequence)
        worth = self._worth.get(entries.tag, Worth.WITNESS)
        now_ns = time.monotonic_ns()
        packed = bytes(entries.packed)
        return Chunk(ident, entries.tag, packed, entries.records, name, now_ns, worth=worth)

    def _learn(self, part: Part) -> None:
        """Health and one line in the log: which witness it is, why, and what it does not see."""
        self._parts[part.subject] = part
        said = self._said()
        is_seen = not self._is_blind and all(known.is_seen for known in self._parts.values())
        is_well = is_seen and not self._reason
        self._context.report(self._context.name, is_well, said)
        # On a node where processes come and go the numbers in it change every second.
        gist = _NUMBER.sub("", said)
        if set(self._parts) >= set(self._subjects) and gist != self._gist:
            self._gist = gist
            level = logging.INFO if is_well else logging.ERROR
            self._context.log.log(level, "%s", said)

    def _said(self) -> str:
        if self._is_blind:
            said = "kernel events are not seen: netlink has none to tell."
            said += f" eBPF can't be used: {self._reason}" if self._reason else ""
        else:
            said = "kernel events come from netlink only"
            said += f" because eBPF can't be used: {self._reason}" if self._reason else ", as Witness asks."
        for known in self._parts.values():
            if known.reason:
                said += f" {known.subject}: {known.reason.rstrip('.')}."
        if others := [one for one in self._settings.subjects if one not in SUBJECTS]:
            said += f" Not seen at all: {', '.join(others)}."
        return said

    @property
    def _is_blind(self) -> bool:
        """Whether nothing that was asked for can be seen."""
        parts = [self._parts.get(subject) for subject in self._subjects]
        return not any(part is None or part.is_seen for part in parts)

    def _tell(self, lost: Lost) -> None:
        if lost.kind != ANY_KIND and (lost.subject, lost.kind) not in self._told:
            return
        context = self._context
        context.metrics.add("podwitness_kernel_events_lost_total", lost.kind, lost.cause, by=lost.records)
        cause = lost.cause if lost.kind == ANY_KIND else f"{lost.cause}_{lost.kind}"
        now_ns = time.time_ns()
        told = Loss(cause, lost.records, 0, self._tags[lost.subject], source=context.name)
        context.intake.report_loss(replace(told, since_ns=now_ns - LOSS_TOLD_NS, until_ns=now_ns))


async def _first_of(
    receiving: Coroutine[Any, Any, Report | None], stopping: asyncio.Task[Any]
) -> Report | None:
    """The report; None when it is time to stop before one comes."""
    task: asyncio.Task[Any] = asyncio.create_task(receiving)
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        return None
    report: Report | None = task.result()
    return report

"""What the kernel side lost, out of its counters: differences since the last look, by cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from collector.native.event_kinds import Kind
from collector.native.events import Drained
from collector.native.resolutions import UnreadDns
from probes.launch import HookReport

ANY_KIND = "any"
UNTRACKED = 0  # PW_UNTRACKED


class KernelLoss(NamedTuple):
    """`kind` is the label of a Kind, or ANY_KIND where it can't be told."""

    kind: str
    cause: str
    records: int
    subject: str  # process, network, cgroup


class LossCounters:
    """Counters only ever grow; what they were at the last look is known here."""

    def __init__(self) -> None:
        self._lost: Sequence[int] = ()
        self._missed: Mapping[str, int] = {}
        self._untracked = 0
        self._dns = UnreadDns(0, 0)

    def ring_full(self, lost: Sequence[int]) -> list[KernelLoss]:
        """`lost` by kind: records that found the ring full."""
        before = self._lost or (0,) * len(lost)
        self._lost = lost
        new = [now - then for now, then in zip(lost, before, strict=True)]
        return [KernelLoss(kind.label, "ring_full", new[kind], kind.subject) for kind in Kind if new[kind]]

    def untracked(self, lost: Sequence[int]) -> int:
        """Times that the table of live processes had no room: their records are told, but lack the tree."""
        before, self._untracked = self._untracked, lost[UNTRACKED]
        return self._untracked - before

    def unread_dns(self, dns: UnreadDns) -> UnreadDns:
        """What is new of that."""
        before, self._dns = self._dns, dns
        return UnreadDns(dns.malformed - before.malformed, dns.streams - before.streams)

    def not_run(self, missed: Mapping[str, int], hooks: Sequence[HookReport]) -> list[KernelLoss]:
        """`missed` by tracepoint: times that the kernel did not run the program. Each may have been a record,
        where the hook makes any."""
        before, self._missed = self._missed, dict(missed)
        new = {hook: count - before.get(hook, 0) for hook, count in missed.items()}
        return [
            KernelLoss(ANY_KIND, f"not_run_{hook.hook}", new[hook.hook], hook.subject)
            for hook in hooks
            if hook.kinds and new.get(hook.hook)
        ]


def dns_losses(new: UnreadDns) -> list[KernelLoss]:
    """At least one message of each connection; what is malformed is told by records of its own."""
    return [KernelLoss(Kind.DNS.label, "unreadable", new.streams, Kind.DNS.subject)] if new.streams else []


def drain_losses(drained: Drained) -> list[KernelLoss]:
    """What was in the ring and could not be read."""
    found = []
    if drained.malformed:
        found.append(KernelLoss(ANY_KIND, "malformed", drained.malformed, "process"))
    if drained.corrupt_bytes:
        found.append(KernelLoss(ANY_KIND, "corrupt", 1, "process"))
    return found

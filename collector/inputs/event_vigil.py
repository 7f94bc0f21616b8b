"""Looks after the attached probes: whether each still is attached, and whether what they see arrives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from collector.entries import pack_entry
from collector.inputs.event_heartbeat import Deed, Heart, Proof
from collector.inputs.event_rings import Unread
from collector.native.event_kinds import Kind
from collector.native.events import Heartbeat
from collector.native.limits import OTHER_CGROUPS, Suppressed
from collector.service.metrics import Metrics
from probes.launch import HookReport

# Until probes are replaced again when that did not help the last time; doubled each time.
PATIENCE_S, PATIENCE_MOST_S = 60.0, 3600.0


class Trouble(NamedTuple):
    """Probes that don't do what they should. `action` is that of the record that tells it."""

    action: str  # probes-detached, heartbeat-missing
    hooks: tuple[str, ...]
    since_s: float  # monotonic: when they are known to have worked last

    @property
    def reason(self) -> str:
        names = ", ".join(self.hooks)
        if self.action == "probes-detached":
            return f"detached from outside: {names}"
        return f"what podwitness itself does is not reported by {names}"


class Probes(Protocol):
    """What probes.launch.Attached has of it."""

    @property
    def hooks(self) -> tuple[HookReport, ...]: ...

    def gone(self) -> tuple[str, ...]: ...


class Ear(Protocol):
    """Where records of the heartbeat are taken out of the stream."""

    @property
    def fill_bytes(self) -> tuple[int, ...]: ...

    def expect(self, heartbeat: Heartbeat) -> None: ...

    def heard(self) -> frozenset[Kind]: ...

    @property
    def own_cgroup_id(self) -> int: ...


class Vigil:
    """Over one attachment. Times are seconds of the monotonic clock."""

    def __init__(
        self, interval_s: float, probes: Probes, ear: Ear, metrics: Metrics, log: logging.Logger, now_s: float
    ) -> None:
        """`interval_s` 0: nothing is looked at."""
        self._interval_s = interval_s
        self._probes = probes
        self._ear = ear
        self._metrics = metrics
        working = [hook for hook in probes.hooks if hook.is_attached]
        self._proof = Proof([Kind(kind) for hook in working for kind in hook.kinds], now_s)
        self._heart = Heart(self._proof.kinds, log)
        self._deed: Deed | None = None
        self._unread: Unread | None = None  # of the rings, when the deed was over; None: it is not
        self._was_lost = False
        self._suppressed: set[Kind] = set()  # by a limit of our own cgroup, since the deed
        self._next_s = self._looked_s = now_s
        self.is_proven = not interval_s  # everything has arrived the last time

    def tick(self, now_s: float, *, was_lost: bool) -> Trouble | None:
        """About once a second; `was_lost`: the kernel counted losses since the last time."""
        if not self._interval_s:
            return None
        self._was_lost |= was_lost
        if self._deed is not None:
            if self._unread is None and self._heart.is_over():
                self._unread = Unread(self._ear.fill_bytes)
        elif now_s >= self._next_s:
            gone = self._probes.gone()
            if gone:
                return Trouble("probes-detached", gone, self._looked_s)
            self._looked_s = now_s
            self._beat(now_s)
        for kind, age_s in self._proof.ages_s(now_s).items():
            self._metrics.set("podwitness_heartbeat_age_seconds", kind.label, to=age_s)
        return self._missing()

    def note_suppressed(self, suppressed: Suppressed) -> None:
        """Before the tick: what limits kept from being reported since the last time. What is done in other
        cgroups is no excuse; but until a heartbeat has told which is the own one, it may be any."""
        own_id = self._ear.own_cgroup_id
        for cgroup_id, counts in suppressed.items():
            if not own_id or cgroup_id in (own_id, OTHER_CGROUPS):
                self._suppressed.update(counts)

    def read(self, now_s: float, drained_bytes: Sequence[int]) -> None:
        """After each drain of so many bytes of each ring."""
        if self._deed is None:
            return
        if self._unread is not None:
            self._unread.read(drained_bytes)
        heard = self._ear.heard()
        if heard >= self._deed.kinds:
            self._metrics.set("podwitness_heartbeat_latency_seconds", to=now_s - self._deed.made_s)
            self._judge(self._deed, heard, self._deed.kinds)
        elif self._unread is not None and self._unread.is_nothing:
            # Where records were lost or suppressed, which is on record, one that did not come proves nothing.
            sure = frozenset() if self._was_lost else self._deed.kinds - self._suppressed
            self._judge(self._deed, heard, heard | sure)

    def close(self) -> None:
        self._heart.rest()

    def _beat(self, now_s: float) -> None:
        self._next_s = now_s + self._interval_s
        self._unread, self._was_lost = None, False
        self._suppressed.clear()
        self._deed = self._heart.beat()
        self._ear.expect(self._deed.expected)

    def _judge(self, deed: Deed, heard: frozenset[Kind], done: frozenset[Kind]) -> None:
        self._proof.judge(done, heard, deed.made_s)
        self.is_proven = bool(deed.kinds) and heard >= deed.kinds
        for kind in sorted(done - heard):
            self._metrics.add("podwitness_heartbeats_missed_total", kind.label)
        # The pid may be another's after rest(), so nothing is expected of it any more.
        self._ear.expect(Heartbeat())
        self._heart.rest()
        self._deed = None

    def _missing(self) -> Trouble | None:
        kinds = set(self._proof.missing)
        hooks = [hook.hook for hook in self._probes.hooks if kinds.intersection(hook.kinds)]
        return Trouble("heartbeat-missing", tuple(hooks), self._proof.proven_s) if hooks else None


class Patience:
    """When troubled probes are replaced: at once, but ever later while that does not help."""

    def __init__(self) -> None:
        self._not_before_s = float("-inf")
        self._patience_s = PATIENCE_S

    def is_over(self, now_s: float) -> bool:
        return now_s >= self._not_before_s

    def replaced(self, now_s: float) -> None:
        self._not_before_s = now_s + self._patience_s
        self._patience_s = min(2 * self._patience_s, PATIENCE_MOST_S)

    def helped(self) -> None:
        self._not_before_s = float("-inf")
        self._patience_s = PATIENCE_S


def notice(
    action: str, reason: str, hooks: Sequence[str], source: str, node: str, since_ns: int, until_ns: int
) -> bytes:
    """A record about the probes, as `[EventTime, record]`. Times are of the wall clock."""
    event = {
        "kind": "pipeline_error",
        "action": action,
        "reason": reason,
        "start": _timestamp(since_ns),
        "end": _timestamp(until_ns),
    }
    probes = {"input": source, "hooks": list(hooks)}
    record = {"event": event, "host": {"name": node}, "podwitness": {"probes": probes}}
    return pack_entry(until_ns, list(record.items()))


def _timestamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")

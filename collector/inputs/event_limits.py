"""What the limits of a cgroup kept from being reported: told in-band, by container and kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from collector.config.kinds import Kind as ValueKind
from collector.entries import pack_entry
from collector.inputs.event_plans import identity_fields, scope_of
from collector.native.event_kinds import Kind
from collector.native.events import Entries
from collector.native.limits import OTHER_CGROUPS, Rate, Suppressed

if TYPE_CHECKING:
    from collector.identity.identity import Identity

RATE_MOST, BURST_MOST = 10_000_000, 100_000_000
DEFAULT_BURST_S = 1
# Untold, while the outputs have no room. What comes beyond counts for no container in particular.
CGROUPS_MOST = 4096


def _read_rate(written: str) -> Rate:
    found = re.fullmatch(r"([0-9]{1,9})(?:\s+([0-9]{1,9}))?", written)
    events_per_s = int(found[1]) if found else -1
    burst = int(found[2]) if found and found[2] else max(1, DEFAULT_BURST_S * events_per_s)
    if not 0 <= events_per_s <= RATE_MOST or not 1 <= burst <= BURST_MOST:
        raise ValueError(
            f"expected events a second, at most {RATE_MOST}, and how many at once, e.g. `1000 2000`, or 0."
        )
    return Rate(events_per_s, burst)


rate_kind = ValueKind(
    "events a second and at once, or 0", _read_rate, show=lambda rate: " ".join(map(str, rate))
)


def told_of(suppressed: Suppressed, untold: Collection[Kind]) -> Suppressed:
    """Without the kinds that are not told anyway."""
    left = {
        cgroup_id: Counter({kind: count for kind, count in counts.items() if kind not in untold})
        for cgroup_id, counts in suppressed.items()
    }
    return {cgroup_id: counts for cgroup_id, counts in left.items() if counts}


class Suppression:
    """Counts not yet told. Times are of the wall clock."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._counts: dict[int, Counter[Kind]] = {}
        self._since_ns = 0

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, suppressed: Suppressed, since_ns: int) -> None:
        """`since_ns`: the oldest of these is not older."""
        if suppressed and not self._counts:
            self._since_ns = since_ns
        for cgroup_id, counts in suppressed.items():
            is_bounded = cgroup_id in self._counts or len(self._counts) < CGROUPS_MOST
            self._counts.setdefault(cgroup_id if is_bounded else OTHER_CGROUPS, Counter()).update(counts)

    def entries(self, identity_of: Callable[[int], Identity | None], until_ns: int) -> Entries:
        """One record for each cgroup."""
        made = [
            self._entry(cgroup_id, counts, identity_of(cgroup_id) if cgroup_id else None, until_ns)
            for cgroup_id, counts in self._counts.items()
        ]
        return Entries(b"".join(made), len(made))

    def clear(self) -> None:
        """They are told."""
        self._counts.clear()

    def _entry(
        self, cgroup_id: int, counts: Counter[Kind], identity: Identity | None, until_ns: int
    ) -> bytes:
        event = {
            "kind": "pipeline_error",
            "action": "rate-limited",
            "start": _timestamp(self._since_ns),
            "end": _timestamp(until_ns),
        }
        own = {
            "scope": scope_of(identity).name.lower(),
            "cgroup_id": cgroup_id,
            "suppressed": {
                "records": counts.total(),
                "by_kind": {kind.label: count for kind, count in sorted(counts.items())},
            },
        }
        host: list[tuple[str, Any]] = [("host", {"name": self._node})]
        whose = [(field.key, field.value) for field in identity_fields(identity)] if identity else host
        return pack_entry(until_ns, [("event", event), ("podwitness", own), *whose])


def _timestamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")

"""Records of cgroups that are not known yet: they wait a little, bounded in time and bytes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Parked:
    """Records of one cgroup in their order, by subject."""

    since_ns: int
    process: list[bytes] = field(default_factory=list)
    network: list[bytes] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.process)) + sum(map(len, self.network))


class Pending:
    """Parked records by cgroup. `due` says whose time or room is up; nothing is ever dropped here."""

    def __init__(self, limit_bytes: int, timeout_ns: int) -> None:
        self.size_bytes = 0
        self._limit_bytes = limit_bytes
        self._timeout_ns = timeout_ns
        self._parked: dict[int, Parked] = {}  # in the order in which they began to wait

    def __len__(self) -> int:
        return len(self._parked)

    def add(self, cgroup_id: int, subject: str, record: bytes, now_ns: int) -> None:
        parked = self._parked.setdefault(cgroup_id, Parked(now_ns))
        (parked.process if subject == "process" else parked.network).append(record)
        self.size_bytes += len(record)

    def take(self, cgroup_id: int) -> Parked | None:
        """The cgroup's records, which then wait no more."""
        parked = self._parked.pop(cgroup_id, None)
        if parked is not None:
            self.size_bytes -= parked.size_bytes
        return parked

    def cgroups(self) -> tuple[int, ...]:
        return tuple(self._parked)

    def due(self, now_ns: int) -> list[int]:
        """Cgroups that have waited long enough, and the oldest of the others while all take too much room."""
        found = []
        excess_bytes = self.size_bytes - self._limit_bytes
        for cgroup_id, parked in self._parked.items():
            if excess_bytes <= 0 and now_ns - parked.since_ns < self._timeout_ns:
                break
            found.append(cgroup_id)
            excess_bytes -= parked.size_bytes
        return found

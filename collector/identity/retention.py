"""Which cgroups are remembered, for how long, and which goes first when there are too many."""

from __future__ import annotations


class Retention:
    """Up to `max_entries` ids. One that is gone stays for `keep_ns`, because events about it arrive late.

    When full the one longest gone makes room, else the one longest here: what lives can be looked up again.
    """

    def __init__(self, max_entries: int, keep_ns: int) -> None:
        self._max_entries = max_entries
        self._keep_ns = keep_ns
        self._live: dict[int, None] = {}  # both in the order in which they came in
        self._gone: dict[int, int] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._live) + len(self._gone)

    def __contains__(self, cgroup_id: int) -> bool:
        return cgroup_id in self._live or cgroup_id in self._gone

    @property
    def gone(self) -> int:
        return len(self._gone)

    def live(self) -> tuple[int, ...]:
        return tuple(self._live)

    def is_gone(self, cgroup_id: int) -> bool:
        return cgroup_id in self._gone

    def add(self, cgroup_id: int) -> int | None:
        """The id is live. Returns the id that has to be forgotten for it, if any."""
        self._gone.pop(cgroup_id, None)
        self._live[cgroup_id] = None
        if len(self) <= self._max_entries:
            return None
        self.evicted += 1
        victims = self._gone or self._live
        victim = next(iter(victims))
        self.forget(victim)
        return victim

    def leave(self, cgroup_id: int, now_ns: int) -> None:
        """The id is gone since now; nothing happens for one that isn't live."""
        if cgroup_id in self._live:
            del self._live[cgroup_id]
            self._gone[cgroup_id] = now_ns

    def forget(self, cgroup_id: int) -> None:
        self._live.pop(cgroup_id, None)
        self._gone.pop(cgroup_id, None)

    def expire(self, now_ns: int) -> list[int]:
        """Forgets and returns the ids whose time is over."""
        over: list[int] = []
        for cgroup_id, gone_ns in self._gone.items():
            if now_ns - gone_ns < self._keep_ns:
                break
            over.append(cgroup_id)
        for cgroup_id in over:
            del self._gone[cgroup_id]
        return over

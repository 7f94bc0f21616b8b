"""Containers that the runtime has not told of, and how long it is asked for them. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_WANTED = 4096
# Lists without the container until it counts as somebody else's. The runtime lists a sandbox when its network
# is there, up to some seconds after its cgroup.
TRIES = 5
UNKNOWN_S = 60.0  # how long that is believed


@dataclass(slots=True)
class _Wish:
    since_s: float
    tries: int = 0


class Wanted:
    """Bounded by MAX_WANTED, twice. `now_s` is a monotonic clock."""

    def __init__(self) -> None:
        self._wishes: dict[str, _Wish] = {}
        self._unknown: dict[str, float] = {}  # until when

    def want(self, container_id: str, now_s: float) -> bool:
        """Whether it is a new wish: somebody has to ask."""
        if container_id in self._wishes or len(self._wishes) >= MAX_WANTED:
            return False
        until_s = self._unknown.get(container_id)
        if until_s is not None and now_s < until_s:
            return False
        self._unknown.pop(container_id, None)
        self._wishes[container_id] = _Wish(now_s)
        return True

    def since_s(self) -> float | None:
        """Since when the oldest is waiting; None when nothing is wanted."""
        return next((one.since_s for one in self._wishes.values()), None)

    def listed(self, is_known: Callable[[str], bool], now_s: float | None) -> None:
        """The runtime has told of some; with `now_s` of all that it has: what is missing was one try."""
        for container_id in [one for one in self._wishes if is_known(one)]:
            del self._wishes[container_id]
        if now_s is None:
            return
        for container_id, wish in list(self._wishes.items()):
            wish.tries += 1
            if wish.tries >= TRIES:
                del self._wishes[container_id]
                self._give_up(container_id, now_s + UNKNOWN_S)

    def _give_up(self, container_id: str, until_s: float) -> None:
        if len(self._unknown) >= MAX_WANTED:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[container_id] = until_s

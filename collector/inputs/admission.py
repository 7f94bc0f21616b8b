"""How much memory the clients of an input may hold together, and who has to go when it is used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Holder:
    """A client's share: bytes of a message that is not complete, or of one that waits to be taken."""

    evict: Callable[[], None]
    size_bytes: int = 0
    is_complete: bool = False


class Admission:
    """Room for `total_bytes`.

    A client that wants more than there is waits as long as others hold messages
    that are complete, because those will be taken. When all that is held are
    pieces, nobody would ever go on: then the one that holds most is put out.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._holders: set[Holder] = set()
        self._changed = asyncio.Event()

    @property
    def used_bytes(self) -> int:
        return sum(holder.size_bytes for holder in self._holders)

    def enter(self, evict: Callable[[], None]) -> Holder:
        holder = Holder(evict)
        self._holders.add(holder)
        return holder

    def leave(self, holder: Holder) -> None:
        self._holders.discard(holder)
        self._changed.set()

    async def hold(self, holder: Holder, size_bytes: int, *, complete: bool = False) -> None:
        """Returns when the holder may have so many bytes in all; at once when it is less than before."""
        holder.is_complete = complete
        while self.used_bytes - holder.size_bytes + size_bytes > self.total_bytes:
            others = [one for one in self._holders if one is not holder and one.size_bytes]
            if not others or size_bytes <= holder.size_bytes:
                break  # a single one has what it takes: a message is bounded by itself
            if not any(one.is_complete for one in others):
                largest = max(self._holders, key=lambda one: one.size_bytes)
                largest.size_bytes = 0
                largest.evict()
                if largest is holder:
                    await asyncio.Event().wait()  # until the eviction arrives
                continue
            self._changed.clear()
            await self._changed.wait()
        if size_bytes < holder.size_bytes:
            self._changed.set()
        holder.size_bytes = size_bytes

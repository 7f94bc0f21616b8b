"""Whether there is room for a chunk, where, and who waits for some, in order.

A chunk finds room in memory when each of its outputs has some in its share and
its input is below its own bound. One that finds none goes to the spool for the
outputs that have none, if there is a spool, and if

- it could not be read again (events, a file that is about to vanish), or
- others of its outputs have room: one that is dead does not hold them back.

Everything else waits: a file is its own buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from collector.delivery.chunk import PORTION_BYTES, Chunk
from collector.delivery.lanes import Ticket
from collector.delivery.outlet import Outlet
from collector.delivery.spooling import Spooling

# What a chunk costs beside its entries: Chunk, Ticket, Position, path and their places in the queues.
CHUNK_OVERHEAD_BYTES = 1024
# For a file at most this part of a bound is asked for: else nothing would be read where a bound is hardly
# larger than a portion and anything is in flight. What is read may be more, or filters make it so: it waits.
PART = 4

Outlets = tuple[Outlet, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: room for so many bytes of a tag."""

    tag: str
    source: str
    size_bytes: int
    has_position: bool
    vanishing: Callable[[], bool] | None = None

    @classmethod
    def of(cls, chunk: Chunk) -> Request:
        has_position = chunk.position is not None
        return cls(chunk.tag, chunk.source, size_of(chunk), has_position, chunk.vanishing)

    @property
    def is_durable(self) -> bool:
        """Whether it can be read again later."""
        return self.has_position and not (self.vanishing is not None and self.vanishing())


@dataclass(slots=True, eq=False)
class Waiter:
    chunk: Chunk
    outlets: Outlets
    admitted: asyncio.Future[Ticket | None]


class Admission:
    """`limits` are inputs' own bounds in bytes (Mem_Buf_Limit); `memory_only` inputs never use the spool."""

    def __init__(self, limits: Mapping[str, int], memory_only: Collection[str] = ()) -> None:
        self._limits = limits
        self.memory_only = frozenset(memory_only)
        self.spooling: Spooling | None = None
        self.waiters: dict[Waiter, None] = {}
        self._source_bytes: dict[str, int] = {}

    def limit(self, limits: Mapping[str, int], memory_only: Collection[str]) -> None:
        """Other bounds from now on."""
        self._limits = limits
        self.memory_only = frozenset(memory_only)

    def holds(self, source: str, size_bytes: int) -> None:
        """An input has so much more in flight (less: negative)."""
        held = self._source_bytes.get(source, 0) + size_bytes
        if held:
            self._source_bytes[source] = held
        else:
            del self._source_bytes[source]

    def limit_bytes(self, source: str) -> int:
        """An input's own bound; 0: it has none."""
        return self._limits.get(source, 0)

    def portion_bytes(self, source: str, outlets: Outlets = ()) -> int:
        """How much room there has to be before a file of an input is read that goes to these outputs."""
        bounds = [outlet.share_bytes // PART for outlet in outlets]
        if source in self._limits:
            bounds.append(self._limits[source] // PART)
        return min(PORTION_BYTES, *bounds) if bounds else PORTION_BYTES

    def is_at_limit(self, source: str) -> bool:
        """Whether files of an input wait because of its own bound."""
        waiting = (Request.of(waiter.chunk) for waiter in self.waiters if waiter.chunk.source == source)
        portion = Request("", source, self.portion_bytes(source), True)
        return any(map(self._is_over_limit, (portion, *waiting)))

    def is_filling(self, source: str) -> bool:
        """Whether an input is at its own bound, and what it has in memory could be in the spool."""
        return source in self._limits and source not in self.memory_only and self.is_at_limit(source)

    def decide(self, request: Request, outlets: Outlets) -> Outlets | None:
        """The outputs for which it goes to the spool, () for memory everywhere; None: it has to wait.

        It does not overtake one that waits for the same.
        """
        if not self.waiters and self._is_free(request, outlets):
            return ()
        blocked: set[object] = set()
        for waiter in self.waiters:
            asked = Request.of(waiter.chunk)
            blocked |= self._obstacles(asked, waiter.outlets) | {("tag", asked.tag)}
        return self._decide(request, outlets, blocked)

    def admissible(self) -> Iterable[tuple[Waiter, Outlets]]:
        """Those of the waiting that have room now; each has to be accepted before the next is asked for."""
        blocked: set[object] = set()
        for waiter in list(self.waiters):
            asked = Request.of(waiter.chunk)
            decided = self._decide(asked, waiter.outlets, blocked)
            if decided is None:
                blocked |= self._obstacles(asked, waiter.outlets) | {("tag", asked.tag)}
            else:
                yield waiter, decided

    def stuck_of(self, source: str, tag: str, outlets: Outlets) -> tuple[Outlets, Outlets] | None:
        """Of the outputs for a tag those without room for a portion, and those with; None: it has room."""
        request = Request(tag, source, self.portion_bytes(source, outlets), True)
        if self._is_over_limit(request):
            stuck = tuple(outlet for outlet in outlets if outlet.complaint)
        elif self.decide(request, outlets) is not None:
            return None
        else:
            stuck = tuple(outlet for outlet in outlets if self._is_stuck(outlet, request))
        return stuck, tuple(outlet for outlet in outlets if outlet not in stuck)

    def _is_free(self, request: Request, outlets: Outlets) -> bool:
        """Whether nothing is in the way, as most of the time."""
        if self._limits and self._is_over_limit(request):
            return False
        return not any(self._is_stuck(outlet, request) for outlet in outlets)

    def _decide(self, request: Request, outlets: Outlets, blocked: set[object]) -> Outlets | None:
        obstacles = self._obstacles(request, outlets)
        if not obstacles and not blocked & _needs(request, outlets):
            return ()
        if not obstacles or ("tag", request.tag) in blocked:
            return None
        return self._spooled(request, outlets)

    def _obstacles(self, request: Request, outlets: Outlets) -> set[object]:
        """What has no room for the chunk: outputs (for chunks of its kind) or its source's own limit."""
        durable = request.has_position
        full: set[object] = {
            (outlet, durable) for outlet in outlets if not outlet.has_room(request.size_bytes, durable)
        }
        full |= {("behind", outlet, request.tag) for outlet in outlets if outlet.shelf.is_behind(request.tag)}
        if self._is_over_limit(request):
            full.add(("source", request.source))
        return full

    def _is_over_limit(self, request: Request) -> bool:
        held, limit = self._source_bytes.get(request.source, 0), self._limits.get(request.source)
        return bool(held) and limit is not None and held + request.size_bytes > limit

    def _spooled(self, request: Request, outlets: Outlets) -> Outlets | None:
        if self.spooling is None or request.source in self.memory_only:
            return None
        stuck = tuple(outlet for outlet in outlets if self._is_stuck(outlet, request))
        if self._is_over_limit(request):
            stuck = outlets
        if len(stuck) == len(outlets) and request.is_durable:
            return None
        return stuck if self.spooling.has_room(request.size_bytes) else None

    def _is_stuck(self, outlet: Outlet, request: Request) -> bool:
        is_behind = outlet.shelf.is_behind(request.tag)
        return is_behind or not outlet.has_room(request.size_bytes, request.has_position)


def size_of(chunk: Chunk) -> int:
    """What a chunk takes in memory."""
    return len(chunk.entries) + CHUNK_OVERHEAD_BYTES


def _needs(request: Request, outlets: Sequence[Outlet]) -> set[object]:
    """All that may hold the chunk back, as in `_obstacles`, and its place behind others of its tag."""
    durable = request.has_position
    needs: set[object] = {("source", request.source), ("tag", request.tag)}
    return needs | {(outlet, durable) for outlet in outlets}

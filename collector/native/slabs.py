"""Memory that entries are encoded into and stay in until they are delivered: neither copied nor cleared.

What is much is handed out as a view of the slab that it was written to, which comes back when the last view
of it is gone, its pages already there. What is little is copied, so that it does not hold a slab.
"""

from __future__ import annotations

from typing import Any

from collector._native import ffi, lib
from collector.delivery.chunk import PORTION_BYTES, Packed

SLAB_BYTES = PORTION_BYTES + (1 << 20)
"""A portion and what its last piece adds."""

KEPT_SLABS = 4
"""That wait for the next portion; more are given back to the kernel."""

mapped = ffi.new_allocator(lib.pw_memory_map, lib.pw_memory_unmap, should_clear_after_alloc=False)
"""Makes what is no part of the heap."""


class Slabs:
    """`current` is to be written to; one user at a time. Views may end in any thread.

    What is handed out fills half a slab at least, so views together hold at most twice their bytes.
    """

    def __init__(self, slab_bytes: int = SLAB_BYTES) -> None:
        self.slab_bytes = slab_bytes
        self._kept = KEPT_SLABS
        self._unmap = lib.pw_memory_unmap  # its own: at the end modules are emptied before what is in them
        self._free: list[Any] = []
        self.parts = 0  # handed out as views so far
        self.current: Any = self._take()

    @property
    def waiting(self) -> int:
        """Slabs that are free."""
        return len(self._free)

    def part(self, used_bytes: int) -> Packed:
        """The first bytes of `current`, which is to be written anew from its start: maybe another slab."""
        if used_bytes < self.slab_bytes // 2:
            return bytes(ffi.buffer(self.current, used_bytes))
        self.parts += 1
        following = self._take()  # may raise MemoryError: then `current` is still nobody else's
        owned, self.current = ffi.gc(self.current, self._give_back), following
        return memoryview(ffi.buffer(owned, used_bytes)).toreadonly()

    def rest(self) -> None:
        """Gives the memory back that waits to be written to."""
        while self._free:
            self._unmap(self._free.pop())
        lib.pw_memory_forget(self.current, self.slab_bytes)

    def _take(self) -> Any:
        """A bare pointer, and no object that frees its memory: one of these in a cycle of garbage could be
        freed by the same collection that gives the slab back."""
        try:
            return self._free.pop()
        except IndexError:
            slab = lib.pw_memory_map(self.slab_bytes)
            if slab == ffi.NULL:
                raise MemoryError("no memory for entries") from None
            return ffi.cast("uint8_t *", slab)

    def _give_back(self, slab: Any) -> None:
        if len(self._free) < self._kept:
            self._free.append(slab)
        else:
            self._unmap(slab)

    def __del__(self) -> None:
        self._kept = 0
        for slab in (self.current, *self._free):
            self._unmap(slab)

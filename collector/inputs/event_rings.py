"""The rings that the probes fill: the one of what matters most, and that of flows."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from collector.native.events import Ring

NAMES = ("security", "flow")  # the order in which they are read


class Filled(Protocol):
    """What probes.launch.Attached has of it."""

    @property
    def ring_fd(self) -> int: ...

    @property
    def flow_ring_fd(self) -> int: ...


class Rings(NamedTuple):
    security: Ring
    flow: Ring

    @classmethod
    def open(cls, probes: Filled, ring_bytes: int, flow_ring_bytes: int) -> Rings:
        """Raises OSError when they can't be mapped."""
        security = Ring(probes.ring_fd, ring_bytes)
        try:
            return cls(security, Ring(probes.flow_ring_fd, flow_ring_bytes))
        except BaseException:
            security.close()
            raise

    @property
    def fill_bytes(self) -> tuple[int, ...]:
        """What waits in each."""
        return tuple(ring.fill_bytes for ring in self)

    @property
    def is_past_half(self) -> bool:
        return any(ring.fill_bytes > ring.size_bytes // 2 for ring in self)

    def close(self) -> None:
        for ring in self:
            ring.close()


class Unread:
    """What was in the rings at some time, until all of it was read."""

    def __init__(self, fill_bytes: Iterable[int]) -> None:
        self._left = list(fill_bytes)

    def read(self, drained_bytes: Iterable[int]) -> None:
        self._left = [left - drained for left, drained in zip(self._left, drained_bytes, strict=True)]

    @property
    def is_nothing(self) -> bool:
        """What came later may still be there."""
        return all(left <= 0 for left in self._left)


class RingWatch:
    """Tells when the kernel has notified of records in one of the rings.

    Edge-triggered, by an epoll of our own inside the loop's: records that we leave
    in a ring for a while must not wake the loop again and again.
    """

    def __init__(self, probes: Filled, stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_notified = False
        self._waiting: asyncio.Future[None] = self._loop.create_future()
        self._epoll = select.epoll()
        for ring_fd in (probes.ring_fd, probes.flow_ring_fd):
            self._epoll.register(ring_fd, select.EPOLLIN | select.EPOLLET)
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        self._stop = stop
        self._stopping = self._loop.create_task(stop.wait())
        self._stopping.add_done_callback(lambda _: self._end_wait())

    def _on_ready(self) -> None:
        if self._epoll.poll(0):
            self._is_notified = True
            self._end_wait()

    def _end_wait(self) -> None:
        if not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, timeout_s: float) -> bool:
        """Whether there was a notification in time. At once when it is time to stop.

        Runs fifty times a second under load: a bare future and timer cost half of
        what asyncio.timeout and asyncio.Event do.
        """
        if not self._is_notified and not self._stop.is_set():
            self._waiting = self._loop.create_future()
            timer = self._loop.call_later(max(0.0, timeout_s), self._end_wait)
            try:
                await self._waiting
            finally:
                timer.cancel()
        was_notified, self._is_notified = self._is_notified, False
        return was_notified

    def close(self) -> None:
        self._stopping.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

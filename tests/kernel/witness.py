"""Attached probes, and what they have seen in one cgroup."""

from __future__ import annotations

import asyncio
import select
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType, SimpleNamespace

from probes.catalog import SUBJECTS, Dialect
from probes.choice import Event
from probes.launch import Attached, launch
from tests.kernel.event_layout import LAYOUT
from tests.kernel.ring_reader import RingReader

RING_BYTES = 8 << 20
DEADLINE_S = 20.0
# Each request is compiled once in a session; the code is checked and loaded anew for each test.
KEPT_PROBES = tempfile.TemporaryDirectory(prefix="podwitness-test-probes-")


class Witness:
    def __init__(self, probes: Attached) -> None:
        self.probes = probes
        self.readers = (RingReader(probes.ring_fd), RingReader(probes.flow_ring_fd))
        self._kept: list[SimpleNamespace] = []

    @classmethod
    def attach(
        cls,
        subjects: Collection[str] = SUBJECTS,
        *,
        ring_bytes: int = RING_BYTES,
        flow_ring_bytes: int = 0,
        dialect: Dialect | None = None,
        without: tuple[str, ...] = (),
        constants: Mapping[str, int] = MappingProxyType({}),
        off: Collection[Event] = (),
        cache: str = KEPT_PROBES.name,
    ) -> Witness:
        attaching = launch(
            subjects,
            ring_bytes=ring_bytes,
            flow_ring_bytes=flow_ring_bytes,
            dialect=dialect,
            without=without,
            constants=constants,
            off=off,
            cache=cache,
        )
        return cls(asyncio.run(attaching))

    def forget(self) -> None:
        for reader in self.readers:
            reader.drain()
        self._kept.clear()

    def events(self, cgroup_id: int | None, *kinds: str) -> list[SimpleNamespace]:
        """All since forget() in one cgroup (None: in any), in the order in which they happened."""
        drained = [LAYOUT.decode(record) for reader in self.readers for record in reader.drain()]
        self._kept.extend(sorted(drained, key=lambda event: event.time_ns))
        return [
            event
            for event in self._kept
            if cgroup_id in (None, event.cgroup_id) and (not kinds or event.kind in kinds)
        ]

    def counts(self, cgroup_id: int) -> Counter[str]:
        return Counter(event.kind for event in self.events(cgroup_id))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Looks again whenever a record has come; after the deadline the assertions that follow tell."""
        poll = select.poll()
        for ring_fd in (self.probes.ring_fd, self.probes.flow_ring_fd):
            poll.register(ring_fd, select.POLLIN)
        deadline = time.monotonic() + DEADLINE_S
        while not condition() and time.monotonic() < deadline:
            poll.poll(100)

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        self.probes.close()

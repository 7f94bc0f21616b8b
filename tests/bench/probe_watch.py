"""Probes that come and go, with a reader that does as the collector does."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import time
from collections.abc import Collection, Sequence

from collector.inputs.event_drain import boot_ns
from collector.inputs.event_pace import Pace
from collector.native.limits import CLASSES, Limits, Rate
from probes.catalog import Dialect, hooks_of
from probes.launch import Attached, launch
from probes.loader import attach
from tests.bench.call_cost import DEFAULT
from tests.kernel.ring_reader import RingReader

RING_BYTES = 8 << 20
DRAIN_DELAY_S = 0.02  # as the collector: wait after a notification, then take what has come
NEVER_REACHED = Rate(10_000_000, 1_000_000)  # but each record asks
WATCHED = [*DEFAULT, "flow"]


def read_bytes(readers: Sequence[RingReader]) -> int:
    """Reads what is there, which takes it out of the caches of who wrote it."""
    return sum(len(reader.take()) for reader in readers)


def drain_like_the_collector(descriptors: Sequence[int], limits: Limits, stop: int) -> None:
    """Waits DRAIN_DELAY_S after a notification, less if another comes; while much comes it looks by the
    clock; asleep while nothing happens."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    readers = [RingReader(descriptor) for descriptor in descriptors]
    pace = Pace(DRAIN_DELAY_S)
    with select.epoll() as epoll:
        for descriptor in descriptors:
            epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
        epoll.register(stop, select.EPOLLIN)
        while stop not in (ready := {found for found, _ in epoll.poll()}):
            assert ready <= set(descriptors)
            epoll.poll(DRAIN_DELAY_S)
            while promised_s := pace.note(read_bytes(readers), time.monotonic()):
                limits.promise_look(boot_ns() + int(promised_s * 1e9))
                time.sleep(DRAIN_DELAY_S)
    for reader in readers:
        reader.close()


class Watch:
    """Probes with a reader, which is a process of its own on another CPU. They are attached only for a while:
    another Watch's reader would inherit the links, and nothing were ever detached."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.probes: Attached = asyncio.run(launch(WATCHED, ring_bytes=RING_BYTES, dialect=dialect))
        self.detach()  # the own reader would inherit them, too
        self.limits = Limits(self.probes.rates_fd, self.probes.limits_fd)
        self.limits.set(dict.fromkeys(CLASSES, NEVER_REACHED))
        stop, self._stop = os.pipe()
        self._reader = multiprocessing.get_context("fork").Process(
            target=drain_like_the_collector,
            args=((self.probes.ring_fd, self.probes.flow_ring_fd), self.limits, stop),
            daemon=True,
        )
        self._reader.start()
        os.close(stop)

    def detach(self) -> None:
        while self.probes.links:
            os.close(self.probes.links.popitem()[1])

    def attach(self, subjects: Collection[str] = WATCHED) -> None:
        for hook in hooks_of(subjects):
            if program := self.probes.programs.get(hook.tracepoint):
                self.probes.links[hook.tracepoint] = attach(hook, self.dialect, program)

    def close(self) -> None:
        os.write(self._stop, b"x")
        os.close(self._stop)
        self._reader.join()
        self.probes.close()

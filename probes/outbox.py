"""What a witness has seen and the collector has not taken yet: bounded, each loss counted by kind."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from probes.netlink_exchange import REPORT_BYTES, Lost, Part, Report, encode
from probes.netlink_processes import Seen
from probes.netlink_sockets import SocketSeen

FINISH_S = 0.3


class Outbox:
    """Of one subject, on a channel that others may send on too."""

    def __init__(self, subject: str, limit_bytes: int, channel: socket.socket) -> None:
        self.subject = subject
        self._limit_bytes = limit_bytes
        self._channel = channel
        self._size_bytes = 0
        self._waiting: deque[Seen | SocketSeen] = deque()
        self._lost: Counter[tuple[str, str]] = Counter()
        self._part: Part | None = None
        self._told: Part | None = None
        self._unsent = b""  # a report that found no room
        self._late: deque[Iterator[Seen | SocketSeen]] = deque()

    def __bool__(self) -> bool:
        return bool(self._is_due or self._late)

    @property
    def _is_due(self) -> bool:
        return bool(self._waiting or self._lost or self._unsent or self._part != self._told)

    def put_late(self, found: Iterable[Seen | SocketSeen]) -> None:
        """What is no event and can wait: asked for a report at a time, after all else has gone."""
        self._late.append(iter(found))

    def put(self, found: Iterable[Seen | SocketSeen]) -> None:
        """What finds no room is counted as `queue_full`."""
        for one in found:
            if self._size_bytes + one.size_bytes > self._limit_bytes:
                self._lost[one.action, "queue_full"] += 1
            else:
                self._waiting.append(one)
                self._size_bytes += one.size_bytes

    def lost(self, kind: str, cause: str, records: int) -> None:
        if records:
            self._lost[kind, cause] += records

    def part(self, is_seen: bool, reason: str) -> None:
        """How much of the subject is seen; told when it changes."""
        self._part = Part(self.subject, is_seen, reason)

    def send(self) -> None:
        """As much as the channel has room for. Raises ConnectionError when the collector is gone."""
        try:
            while self._is_due:
                self._unsent = self._unsent or encode(self.take())
                self._channel.send(self._unsent, socket.MSG_DONTWAIT)
                self._unsent = b""
        except BlockingIOError:
            return
        self._take_late()  # not before: on a busy node something waits each time

    def finish(self) -> None:
        """The same, waiting a little for room. Raises ConnectionError when the collector is gone."""
        poll = select.poll()
        poll.register(self._channel, select.POLLOUT)
        deadline = time.monotonic() + FINISH_S
        self._late.clear()
        while self._is_due and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            self.send()

    def _take_late(self) -> None:
        while self._late and self._size_bytes < REPORT_BYTES // 2:
            one = next(self._late[0], None)
            if one is None:
                self._late.popleft()
            else:
                self.put([one])

    def take(self) -> Report:
        """The next part, oldest first, with all losses and changes until now."""
        report = Report(lost=[Lost(self.subject, *what, records) for what, records in self._lost.items()])
        self._lost.clear()
        if self._part is not None and self._part != self._told:
            self._told = self._part
            report.parts = [self._part]
        size_bytes = 0
        while self._waiting and size_bytes + self._waiting[0].size_bytes <= REPORT_BYTES:
            one = self._waiting.popleft()
            size_bytes += one.size_bytes
            if isinstance(one, Seen):
                report.processes.append(one)
            else:
                report.sockets.append(one)
        self._size_bytes -= size_bytes
        return report

"""The netlink witness as a child of the test, and what it has reported."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from probes.launch import witness_command
from probes.netlink_exchange import MESSAGE_BYTES, Lost, Part, Report, Watch, decode_report, encode
from probes.netlink_processes import Seen
from probes.netlink_sockets import SocketSeen
from tests.kernel.sandbox import unified_mount

DEADLINE_S = 30.0


class Child:
    """Reads in a thread; `hold` keeps it from reading."""

    def __init__(
        self,
        subjects: Sequence[str] = ("process", "network"),
        *,
        receive_bytes: int = 8 << 20,
        queue_bytes: int = 32 << 20,
        refresh_s: float = 0.2,
        prefix: Sequence[str] = (),
    ) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = witness_command()
        with theirs:
            self.process = subprocess.Popen(
                [*prefix, *command.on(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=command.environment,
                stderr=subprocess.PIPE,
            )
        self.parts: dict[str, Part] = {}
        self.processes: list[Seen] = []
        self.sockets: list[SocketSeen] = []
        self.lost: list[Lost] = []
        self.may_read = threading.Event()
        self.may_read.set()
        self._changed = threading.Condition()
        watch = Watch(tuple(subjects), str(unified_mount()), (), receive_bytes, queue_bytes, 0.01, refresh_s)
        self._channel.send(encode(watch))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for(lambda: len(self.parts) == len(subjects))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.may_read.set()
        self._channel.shutdown(socket.SHUT_RDWR)
        self._reader.join(DEADLINE_S)
        self._channel.close()
        self.process.communicate(timeout=DEADLINE_S)

    def finish(self) -> None:
        """What it has by now is all there afterwards."""
        self._channel.shutdown(socket.SHUT_WR)
        self._reader.join(DEADLINE_S)

    def _read(self) -> None:
        while content := self._channel.recv(MESSAGE_BYTES):
            self.may_read.wait()
            self._take(decode_report(content))

    def _take(self, report: Report) -> None:
        with self._changed:
            self.parts |= {part.subject: part for part in report.parts}
            self.processes += report.processes
            self.sockets += report.sockets
            self.lost += report.lost
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Looks again at each report; after the deadline the assertions that follow tell."""
        deadline = time.monotonic() + DEADLINE_S
        with self._changed:
            while not condition() and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def of_cgroup(self, cgroup_id: int, *actions: str) -> list[Seen]:
        with self._changed:
            return [
                seen
                for seen in self.processes
                if seen.process.cgroup_id == cgroup_id and (not actions or seen.action in actions)
            ]

    def of_port(self, port: int, *actions: str) -> list[SocketSeen]:
        with self._changed:
            return [
                seen
                for seen in self.sockets
                if port in (seen.socket.local[1], seen.socket.remote[1])
                and (not actions or seen.action in actions)
            ]

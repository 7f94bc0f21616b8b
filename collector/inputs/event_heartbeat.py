"""Proof that the probes work: the collector does what they must report, and looks whether they did.

A child that runs `true` proves the hooks of exec, fork and exit, a socket that listens for an instant that of
TCP states. The kernel puts a record into the ring before it goes on with what the record is about: so one
that is not in a ring read empty after the child ended is missing for sure, however busy the node is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Collection
from typing import NamedTuple

from collector.native.event_kinds import Kind
from collector.native.events import Heartbeat

PROCESS_KINDS = frozenset({Kind.FORK, Kind.EXEC, Kind.EXIT})
LISTENER_KINDS = frozenset({Kind.LISTEN, Kind.UNLISTEN})
PROVABLE = PROCESS_KINDS | LISTENER_KINDS
# One may be lost with other records; the kernel does not lose three in a row of a thing that works.
MISSING_AFTER = 3


class Proof:
    """What was proven when, by kind of record. Times are seconds of one monotonic clock."""

    def __init__(self, kinds: Collection[Kind], now_s: float) -> None:
        self._proven_s = dict.fromkeys(sorted(PROVABLE.intersection(kinds)), now_s)
        self._misses = dict.fromkeys(self._proven_s, 0)

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset(self._proven_s)

    def judge(self, done: Collection[Kind], heard: Collection[Kind], made_s: float) -> None:
        """A heartbeat of `made_s` that is over: what was done, and what of it arrived."""
        for kind in self.kinds.intersection(done):
            if kind in heard:
                self._proven_s[kind] = made_s
                self._misses[kind] = 0
            else:
                self._misses[kind] += 1

    @property
    def missing(self) -> tuple[Kind, ...]:
        return tuple(kind for kind, misses in self._misses.items() if misses >= MISSING_AFTER)

    @property
    def is_fresh(self) -> bool:
        """Whether everything arrived the last time."""
        return not any(self._misses.values())

    @property
    def proven_s(self) -> float:
        """Since when not everything is known to work."""
        return min(self._proven_s.values())

    def ages_s(self, now_s: float) -> dict[Kind, float]:
        return {kind: now_s - then for kind, then in self._proven_s.items()}


class Deed(NamedTuple):
    """What was done for one heartbeat."""

    expected: Heartbeat
    kinds: frozenset[Kind]
    made_s: float  # monotonic


class Heart:
    """Does it. `log` is told once what can't be done."""

    def __init__(self, kinds: Collection[Kind], log: logging.Logger) -> None:
        self._kinds = frozenset(kinds)
        self._log = log
        self._said: set[str] = set()
        self._pid_ns = os.stat("/proc/self/ns/pid").st_ino
        self._net_ns = os.stat("/proc/self/ns/net").st_ino
        # It has to be an exec that succeeds. An image may have no `true`.
        program = _path_of("true")
        self._arguments = (program,) if program else (sys.executable, "-V")
        self._child = 0

    def beat(self) -> Deed:
        """Takes some 200 us of this thread: the kernel lets it wait until the child executes."""
        made_s = time.monotonic()
        kinds: frozenset[Kind] = frozenset()
        expected = Heartbeat()
        if self._kinds & PROCESS_KINDS and self._spawn():
            kinds |= PROCESS_KINDS
            expected = expected._replace(pid=self._child, pid_ns=self._pid_ns)
        if self._kinds & LISTENER_KINDS and (listened := self._listen()):
            kinds |= LISTENER_KINDS
            expected = listened._replace(pid=expected.pid, pid_ns=expected.pid_ns)
        return Deed(expected, kinds & self._kinds, made_s)

    def is_over(self) -> bool:
        """Whether the child has ended; it stays a zombie, so that its pid is nobody else's until rest()."""
        if not self._child:
            return True
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def rest(self) -> None:
        """Reaps the child; waits for it."""
        with contextlib.suppress(ChildProcessError):
            if self._child:
                os.waitpid(self._child, 0)
        self._child = 0

    def _spawn(self) -> bool:
        silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        try:
            self._child = os.posix_spawn(self._arguments[0], self._arguments, {}, file_actions=[silent])
        except OSError as error:
            self._say(f"{self._arguments[0]} can't be started: {error.strerror}")
            return False
        return True

    def _listen(self) -> Heartbeat | None:
        """The listener's part of it."""
        try:
            with socket.socket() as listener:
                bound_from_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                listener.bind(("127.0.0.1", 0))
                from_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                listener.listen(1)
                port = int(listener.getsockname()[1])
        except OSError as error:
            self._say(f"a socket can't listen on 127.0.0.1: {error.strerror}")
            return None
        until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return Heartbeat(
            net_ns=self._net_ns,
            port=port,
            bound_from_ns=bound_from_ns,
            from_ns=from_ns,
            until_ns=until_ns,
        )

    def _say(self, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            self._log.warning("no heartbeat goes through all probes: %s", reason)


def _path_of(program: str) -> str | None:
    """As shutil.which(), whose module brings three libraries of compression."""
    paths = (os.path.join(folder, program) for folder in os.get_exec_path())
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)

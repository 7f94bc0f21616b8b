"""What crosses between the collector and the loader, its child: one request, then messages back.

The channel is a SOCK_SEQPACKET socket. Messages are JSON objects with one of the keys
`descriptors` (names, in the order of the descriptors that the message carries), `report` (with `origin` and
`attached_ns`), or `error`.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from probes.catalog import Dialect, RecordKind, RingSizes
from probes.choice import Event

# Of one message; the kernel's own limit is 253.
DESCRIPTORS_PER_MESSAGE = 64
MESSAGE_BYTES = 1 << 17
# Variable of the loader's environment: where packages are installed, which is behind Python's own folders.
LIBRARIES = "PODWITNESS_LIBRARIES"
NOTHING_LOADED = "No probe can be loaded; logs are not affected."


class ProbeError(Exception):
    """No probe can be loaded. Three sentences for the operator, as those of collector.errors."""

    def __init__(self, problem: str, consequence: str = "", remedy: str = "") -> None:
        super().__init__(problem, consequence, remedy)
        self.problem = problem
        self.consequence = consequence
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(part for part in (self.problem, self.consequence, self.remedy) if part)


NO_TRACEPOINT = "the kernel has no tracepoint"  # begins such a reason


class Request(NamedTuple):
    subjects: tuple[str, ...]
    ring_sizes: RingSizes
    dialect: Dialect | None = None
    # Macros of the made headers to leave out, as on a kernel that lacks what they stand for.
    without: tuple[str, ...] = ()
    constants: tuple[tuple[str, int], ...] = ()  # of the probes, without their PW_, that are not the default
    off: tuple[Event, ...] = ()  # of the subjects: what no record is made of

    def encode(self) -> bytes:
        fields = [self.subjects, self.ring_sizes, self.dialect, self.without, self.constants, self.off]
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, content: bytes) -> Request:
        subjects, sizes, dialect, without, constants, off = json.loads(content)
        forced = Dialect(dialect) if dialect else None
        named = tuple((str(name), int(value)) for name, value in constants)
        unmade = tuple((str(subject), RecordKind(kind)) for subject, kind in off)
        return cls(tuple(subjects), RingSizes(*sizes), forced, tuple(without), named, unmade)


class HookResult(NamedTuple):
    """Of one tracepoint. Attached in `dialect`, if any; `reasons`: why not in those tried before."""

    tracepoint: str
    dialect: Dialect | None
    reasons: tuple[str, ...]


class Origin(NamedTuple):
    """Where the code of the programs is from. `reason`: why it was not, or will not be, in the cache."""

    is_cached: bool = False
    reason: str = ""
    is_odd: bool = False  # the operator should know

    def __str__(self) -> str:
        if self.is_cached:
            return "from cache"
        return f"compiled: {self.reason}" if self.reason else "compiled"


COMPILED = Origin()


def send_descriptors(channel: socket.socket, named: Sequence[tuple[str, int]]) -> None:
    for start in range(0, len(named), DESCRIPTORS_PER_MESSAGE):
        part = named[start : start + DESCRIPTORS_PER_MESSAGE]
        names = json.dumps({"descriptors": [name for name, _ in part]}).encode()
        socket.send_fds(channel, [names], [descriptor for _, descriptor in part])


def send_report(
    channel: socket.socket, results: Sequence[HookResult], origin: Origin = COMPILED, attached_ns: int = 0
) -> None:
    report = [[result.tracepoint, result.dialect, result.reasons] for result in results]
    channel.send(json.dumps({"report": report, "origin": origin, "attached_ns": attached_ns}).encode())


def send_error(channel: socket.socket, error: ProbeError) -> None:
    channel.send(json.dumps({"error": [error.problem, error.consequence, error.remedy]}).encode())


def receive_descriptors(channel: socket.socket) -> tuple[bytes, list[int]]:
    """As socket.recv_fds(), which ignores its flags. A child that inherited a descriptor would go on holding
    the probes when we are gone."""
    passed = array("i")
    space = socket.CMSG_LEN(DESCRIPTORS_PER_MESSAGE * passed.itemsize)
    content, controls, _, _ = channel.recvmsg(MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in controls:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            passed.frombytes(data[: len(data) - len(data) % passed.itemsize])
    return content, passed.tolist()


class Answer:
    """What has come back so far. Owns the descriptors until they are taken."""

    def __init__(self) -> None:
        self.descriptors: dict[str, int] = {}
        self.results: dict[str, HookResult] = {}
        self.origin = COMPILED
        self.attached_ns = 0  # CLOCK_BOOTTIME, when all were
        self.error: ProbeError | None = None

    def receive(self, channel: socket.socket) -> bool:
        """Takes one message of a channel that is readable; False: there will be no more."""
        content, passed = receive_descriptors(channel)
        if not content:
            return False
        message = json.loads(content)
        self.descriptors.update(zip(message.get("descriptors", ()), passed, strict=True))
        for tracepoint, dialect, reasons in message.get("report", ()):
            found = Dialect(dialect) if dialect else None
            self.results[tracepoint] = HookResult(tracepoint, found, tuple(reasons))
        self.attached_ns = message.get("attached_ns", self.attached_ns)
        if "origin" in message:
            self.origin = Origin(*message["origin"])
        if "error" in message:
            self.error = ProbeError(*message["error"])
        return True

    def take(self, kind: str) -> dict[str, int]:
        """The descriptors `kind:NAME` by NAME; the caller owns them from now on."""
        names = [name for name in self.descriptors if name.startswith(f"{kind}:")]
        return {name.partition(":")[2]: self.descriptors.pop(name) for name in names}

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])

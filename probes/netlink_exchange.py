"""What crosses between the collector and the netlink witness, its child: one Watch, then Reports back.

The channel is a SOCK_SEQPACKET socket; a message is msgpack.
"""

from __future__ import annotations

import msgspec

from probes.netlink_processes import Seen
from probes.netlink_sockets import SocketSeen

MESSAGE_BYTES = 1 << 17
# Of events in one message, estimated; the kernel's default for a socket's buffer is 208 KiB.
REPORT_BYTES = 48 << 10


class Watch(msgspec.Struct, frozen=True):
    """What is asked for. `cgroups_at`: mount point of the cgroup tree, "" for none; `own_cgroup` see
    CgroupPaths."""

    subjects: tuple[str, ...]
    cgroups_at: str
    own_cgroup: tuple[str, ...]
    receive_bytes: int  # of each netlink socket
    queue_bytes: int
    interval_s: float  # how long events may gather
    refresh_s: float  # from one dump of sockets to the next
    tells_state: bool = True  # what was there before


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Whether a subject is seen; `reason`: why not, or what of it is not."""

    subject: str
    is_seen: bool
    reason: str


class Lost(msgspec.Struct, frozen=True, array_like=True):
    """`kind` is a value of event.action, or "any"."""

    subject: str
    kind: str
    cause: str
    records: int


class Report(msgspec.Struct, omit_defaults=True):
    processes: list[Seen] = []
    sockets: list[SocketSeen] = []
    lost: list[Lost] = []
    parts: list[Part] = []


def encode(message: Watch | Report) -> bytes:
    return msgspec.msgpack.encode(message)


def decode_watch(content: bytes) -> Watch:
    return msgspec.msgpack.decode(content, type=Watch)


def decode_report(content: bytes) -> Report:
    return msgspec.msgpack.decode(content, type=Report)

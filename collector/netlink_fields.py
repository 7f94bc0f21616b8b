"""What a record of the netlink witness has: for each field of an event, the kinds that it is in.

The reference page docs/records-netlink.md is printed from this table (`make docs`); what a field means stands
in collector/records.py, unless it says here. Tests compare the table with the records that are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collector.records import EVENT_FIELDS

IDS = ("change-uid", "change-gid")
IMAGE = ("exec", "running")
PROCESS = ("exec", "fork", "exit", "running", *IDS)
CONNECTION = ("connect", "accept", "connect-failed", "close", "connected")
NETWORK = (*CONNECTION, "listen", "unlisten", "listening")
EVERY = (*PROCESS, *NETWORK)


@dataclass(frozen=True, slots=True)
class NetlinkField:
    """`always`: records of these kinds never lack it; `mostly`: they have it when it could be found out."""

    name: str
    always: tuple[str, ...] = ()
    mostly: tuple[str, ...] = ()
    meaning: str = ""  # "": as with eBPF


FIELDS = (
    NetlinkField(
        "event.kind",
        EVERY,
        (),
        "`event`; `state` of what was there before podwitness: `running`, `listening`, `connected`.",
    ),
    NetlinkField("event.category", EVERY),
    NetlinkField("event.type", EVERY, (), "As with eBPF; `change` for change-uid and change-gid."),
    NetlinkField("event.action", EVERY),
    NetlinkField("event.provider", EVERY, (), "`netlink`."),
    NetlinkField("event.outcome", EVERY),
    NetlinkField("event.duration", (), ("exit",), "Nanoseconds that the process lived, to 10 ms."),
    NetlinkField(
        "process.pid",
        PROCESS,
        NETWORK,
        "As with eBPF; of a socket a process that had it open when /proc was looked at.",
    ),
    NetlinkField(
        "process.entity_id",
        (),
        EVERY,
        "Node, start and pid in hex. The start is in clock ticks (10 ms), so the id is not the one that eBPF "
        "gives the same process; among the records of netlink it is the same.",
    ),
    NetlinkField("process.name", (), EVERY),
    NetlinkField("process.vpid", (), PROCESS),
    NetlinkField("process.user.id", (), EVERY),
    NetlinkField("process.real_user.id", (), PROCESS),
    NetlinkField("process.real_group.id", (), PROCESS),
    NetlinkField("process.start", (), PROCESS, "When the process was made, to 10 ms."),
    NetlinkField("process.thread.id", (), IDS),
    NetlinkField("process.parent.pid", ("fork",), ("exec", "exit", "running", *IDS)),
    NetlinkField("process.parent.entity_id", (), PROCESS),
    NetlinkField("process.parent.name", (), PROCESS),
    NetlinkField("process.executable", (), IMAGE),
    NetlinkField("process.args", (), IMAGE),
    NetlinkField("process.command_line", (), IMAGE),
    NetlinkField("process.args_count", (), IMAGE),
    NetlinkField("process.working_directory", (), IMAGE),
    NetlinkField(
        "process.exit_code",
        (),
        ("exit",),
        "0 to 255; absent when a signal ended the process, or when its first thread ended before others.",
    ),
    NetlinkField("user.id", (), EVERY),
    NetlinkField("source.ip", CONNECTION),
    NetlinkField("source.port", CONNECTION),
    NetlinkField("source.bytes", (), ("close",)),
    NetlinkField("source.packets", (), ("close",)),
    NetlinkField("destination.ip", NETWORK),
    NetlinkField("destination.port", NETWORK),
    NetlinkField("destination.bytes", (), ("close",)),
    NetlinkField("destination.packets", (), ("close",)),
    NetlinkField("network.transport", NETWORK),
    NetlinkField("network.type", NETWORK),
    NetlinkField(
        "network.community_id",
        CONNECTION,
        (),
        "Community ID of the connection, version 1, seed 0: the same at both ends, and what Zeek and others "
        "compute.",
    ),
    NetlinkField("network.direction", (), CONNECTION),
    NetlinkField("network.bytes", (), ("close",)),
    NetlinkField("network.packets", (), ("close",)),
    NetlinkField("podwitness.scope", EVERY),
    NetlinkField("podwitness.cgroup_id", EVERY, (), "As with eBPF; 0 when it could not be found out."),
    NetlinkField("podwitness.namespaces.mnt", (), PROCESS),
    NetlinkField("podwitness.namespaces.pid", (), PROCESS),
    NetlinkField("podwitness.namespaces.net", NETWORK, PROCESS),
    NetlinkField("podwitness.namespaces.user", (), PROCESS),
    NetlinkField("podwitness.capabilities_effective", (), PROCESS),
    NetlinkField("podwitness.login_user_id", (), PROCESS),
    NetlinkField(
        "podwitness.unread",
        (),
        ("exec", "fork"),
        "Why /proc told nothing, or not the arguments of an exec: `gone`, the process had ended; `replaced`, "
        "it had executed another program. A fork that is `gone` is described as its parent.",
    ),
    NetlinkField("podwitness.cut", (), IMAGE),
    NetlinkField("podwitness.exec.inode", (), IMAGE),
    NetlinkField("podwitness.exec.device", (), IMAGE),
    NetlinkField("podwitness.exec.mode", (), IMAGE),
    NetlinkField("podwitness.exec.args_bytes", (), IMAGE),
    NetlinkField("podwitness.exec.memfd", (), IMAGE),
    NetlinkField("podwitness.exec.deleted", (), IMAGE),
    NetlinkField("podwitness.exit.user_cpu_ns", (), ("exit",), "CPU time of all threads, to 10 ms."),
    NetlinkField("podwitness.exit.system_cpu_ns", (), ("exit",), "CPU time in the kernel, to 10 ms."),
    NetlinkField("podwitness.exit.signal", (), ("exit",)),
    NetlinkField("podwitness.exit.signal_number", (), ("exit",)),
    NetlinkField("podwitness.exit.core_dumped", (), ("exit",)),
    NetlinkField(
        "podwitness.socket.id",
        NETWORK,
        (),
        "The kernel's cookie of the socket: joins its records; not the id that eBPF gives.",
    ),
    NetlinkField(
        "podwitness.socket.role",
        NETWORK,
        (),
        "As with eBPF, but concluded: from who listens at the port, the counters and the port's number.",
    ),
    NetlinkField(
        "podwitness.socket.owner_source",
        NETWORK,
        (),
        "`descriptor`: the process had the socket open when /proc was looked at; `none`.",
    ),
    NetlinkField(
        "podwitness.socket.preexisting", (), NETWORK, "True when the socket is older than the witness."
    ),
    NetlinkField("podwitness.socket.backlog", ("listen", "listening")),
    NetlinkField("podwitness.socket.rtt_us", (), ("close",)),
    NetlinkField("podwitness.socket.retransmits", (), ("close", "connect-failed")),
    NetlinkField("podwitness.socket.retransmitted_bytes", (), ("close",)),
    NetlinkField("podwitness.socket.acked_bytes", (), ("close",)),
)

_INTRODUCTION = """\
# Records of kernel events where eBPF can't be used

Printed by `make docs` from collector/netlink_fields.py. Which witness saw an event is in `event.provider`.
What is the same as with eBPF is described in records.md: names, types, texts, tags, and the fields that tell
whose an event is. ARCHITECTURE.md, "When eBPF can't be used", says what this witness does not see.

`change-uid` and `change-gid` are events of this witness only: the process set its user or group ids; the
fields have the new ones.
"""


def page() -> str:
    """docs/records-netlink.md."""
    return "\n".join([_INTRODUCTION, *_rows()]) + "\n"


def _rows() -> Iterator[str]:
    own = {"podwitness.unread": "podwitness", "network.community_id": "ECS"}
    origins = {field.name: field.origin for field in EVENT_FIELDS} | own
    meanings = {field.name: field.meaning for field in reversed(EVENT_FIELDS)}
    yield "| field | always in | mostly in | meaning | from |"
    yield "|---|---|---|---|---|"
    for field in FIELDS:
        meaning = field.meaning or meanings[field.name]
        always, mostly = _shown(field.always), _shown(field.mostly)
        yield f"| `{field.name}` | {always} | {mostly} | {meaning} | {origins[field.name]} |"


def _shown(kinds: tuple[str, ...]) -> str:
    return {EVERY: "all", PROCESS: "process events", NETWORK: "network events"}.get(kinds, ", ".join(kinds))

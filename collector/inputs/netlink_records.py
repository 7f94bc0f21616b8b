"""Records of what netlink saw: the maps of the eBPF witness, with the fields that there are.

docs/records-netlink.md lists them (collector/netlink_fields.py).
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from probes.netlink_processes import Ending, Image, Parent, Process, Seen
from probes.process_files import ARGS_BYTES

if TYPE_CHECKING:
    from collector.entries import Pairs
    from probes.netlink_sockets import Owner, SocketSeen
    from probes.sock_diag import Counters, TcpSocket

Map = dict[str, Any]

_PROCESS_TYPES = {
    "fork": "start",
    "exec": "start",
    "exit": "end",
    "change-uid": "change",
    "change-gid": "change",
    "running": "info",
}
_NETWORK_TYPES = {
    "connect": ["connection", "start"],
    "accept": ["connection", "start"],
    "connect-failed": ["connection"],
    "close": ["connection", "end"],
    "listen": ["info", "start"],
    "unlisten": ["info", "end"],
    "listening": ["info"],
    "connected": ["connection", "info"],
}
STATES = ("running", "listening", "connected")
_NS_PER_S = 10**9
_MAPPED = bytes(10) + b"\xff\xff"  # IPv4 as IPv6


class Clock(NamedTuple):
    """What turns the kernel's times into the record's: this node and boot, wall minus boot clock."""

    node_id: int
    wall_offset_ns: int


def text(raw: bytes) -> str:
    """As all text of kernel events: a byte that is not UTF-8 is \\xNN."""
    return raw.replace(b"\\x", b"\\x5cx").decode("utf-8", "backslashreplace")


def date(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, _NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _entity_id(pid: int, start_ns: int, clock: Clock) -> str:
    return f"{clock.node_id:016x}-{start_ns:x}-{pid:x}"


def _event(category: str, types: list[str], action: str, is_success: bool, duration_ns: int) -> Map:
    kind = "state" if action in STATES else "event"
    made: Map = {"kind": kind, "category": [category], "type": types, "action": action}
    made |= {"provider": "netlink", "outcome": "success" if is_success else "failure"}
    return made | ({"duration": duration_ns} if duration_ns else {})


# ---- processes


def process_record(seen: Seen, scope: str, clock: Clock) -> Pairs:
    process, ending = seen.process, seen.ending
    lived_ns = ending.lived_ns if ending else 0
    types = [_PROCESS_TYPES[seen.action]]
    record: Map = {"event": _event("process", types, seen.action, not (ending and ending.status), lived_ns)}
    described = _process(process, seen.tid, clock)
    witness = _witness(process, scope)
    if seen.image is not None:
        described |= _executed(seen.image)
        cut, details = _execution(seen.image)
        witness |= ({"cut": cut} if cut else {}) | ({"exec": details} if details else {})
    if ending is not None:
        if ending.status is not None and not ending.status & 0x7F:
            described["exit_code"] = ending.status >> 8 & 0xFF
        witness["exit"] = _exit(ending)
    if seen.unread:
        witness["unread"] = seen.unread
    record["process"] = described
    if process.credentials is not None:
        record["user"] = {"id": str(process.credentials.effective_uid)}
    record["podwitness"] = {name: value for name, value in witness.items() if value != {}}
    return list(record.items())


def _process(process: Process, tid: int, clock: Clock) -> Map:
    made: Map = {"pid": process.pid}
    if process.comm:
        made["name"] = text(process.comm)
    ids = process.credentials
    if ids is not None:
        if ids.namespace_pid:
            made["vpid"] = ids.namespace_pid
        made["user"] = {"id": str(ids.effective_uid)}
        made["real_user"] = {"id": str(ids.real_uid)}
        made["real_group"] = {"id": str(ids.real_gid)}
    if process.start_ns:
        made["entity_id"] = _entity_id(process.pid, process.start_ns, clock)
        made["start"] = date(process.start_ns + clock.wall_offset_ns)
    if tid != process.pid:
        made["thread"] = {"id": tid}
    if process.parent is not None:
        made["parent"] = _parent(process.parent, clock)
    return made


def _parent(parent: Parent, clock: Clock) -> Map:
    made: Map = {"pid": parent.pid}
    if parent.start_ns:
        made["entity_id"] = _entity_id(parent.pid, parent.start_ns, clock)
    return made | ({"name": text(parent.comm)} if parent.comm else {})


def _witness(process: Process, scope: str) -> Map:
    made: Map = {"scope": scope, "cgroup_id": process.cgroup_id, "namespaces": dict(process.namespaces)}
    if process.credentials is not None:
        made["capabilities_effective"] = f"{process.credentials.capabilities_effective:016x}"
    if process.login_uid is not None:
        made["login_user_id"] = str(process.login_uid)
    return made


def _executed(image: Image) -> Map:
    made: Map = {}
    if image.binary is not None:
        made["executable"] = text(image.binary.path)
    if image.arguments is not None:
        ended = image.arguments.kept.removesuffix(b"\0")
        made["args"] = [text(one) for one in ended.split(b"\0")]
        made["command_line"] = text(ended.replace(b"\0", b" "))
        made["args_count"] = image.arguments.argument_count
    if image.working_directory is not None:
        made["working_directory"] = text(image.working_directory)
    return made


def _execution(image: Image) -> tuple[list[str], Map]:
    """Names of the fields that are cut, and the map `podwitness.exec`."""
    made: Map = {}
    binary, arguments = image.binary, image.arguments
    is_cut = arguments is not None and arguments.total_bytes > ARGS_BYTES
    if binary is not None:
        made["inode"] = binary.inode
        made["device"] = f"{os.major(binary.device)}:{os.minor(binary.device)}"
        made["mode"] = f"{binary.mode:04o}"
    if arguments is not None and is_cut:
        made["args_bytes"] = arguments.total_bytes
    if binary is not None:
        made |= {"memfd": True} if binary.is_memfd else {}
        made |= {"deleted": True} if binary.is_deleted else {}
    return ["process.args"] if is_cut else [], made


def _exit(ending: Ending) -> Map:
    made: Map = {}
    if ending.user_ns is not None and ending.system_ns is not None:
        made |= {"user_cpu_ns": ending.user_ns, "system_cpu_ns": ending.system_ns}
    number = (ending.status or 0) & 0x7F
    if number:
        made |= {"signal": _signal_name(number), "signal_number": number}
    return made | ({"core_dumped": True} if (ending.status or 0) & 0x80 else {})


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name if number < 32 else f"SIG{number}"
    except ValueError:
        return f"SIG{number}"


# ---- sockets


def network_record(seen: SocketSeen, scope: str, clock: Clock) -> Pairs:
    one, counters = seen.socket, seen.counters
    types = _NETWORK_TYPES[seen.action]
    record: Map = {"event": _event("network", types, seen.action, seen.action != "connect-failed", 0)}
    if seen.owner is not None:
        record |= _owner(seen.owner, clock)
    ours, theirs = _ends(one, counters if seen.action == "close" else None)
    if seen.role == "listener":
        record["destination"] = ours
    else:
        is_server = seen.role == "server"
        record |= {"source": theirs if is_server else ours, "destination": ours if is_server else theirs}
    record["network"] = _network(seen)
    record["podwitness"] = {
        "scope": scope,
        "cgroup_id": seen.cgroup_id,
        "namespaces": {"net": seen.net_ns},
        "socket": _socket(seen),
    }
    return list(record.items())


def _owner(owner: Owner, clock: Clock) -> Map:
    user = {"id": str(owner.uid)}
    process: Map = {"pid": owner.pid, "name": text(owner.comm)}
    process["entity_id"] = _entity_id(owner.pid, owner.start_ns, clock)
    return {"process": {**process, "user": user}, "user": user}


def _ends(one: TcpSocket, counters: Counters | None) -> tuple[Map, Map]:
    ours: Map = {"ip": _address(one.local[0]), "port": one.local[1]}
    theirs: Map = {"ip": _address(one.remote[0]), "port": one.remote[1]}
    if counters is not None:
        ours |= {"bytes": _payload(counters), "packets": counters.segments_out}
        theirs |= {"bytes": counters.bytes_received, "packets": counters.segments_in}
    return ours, theirs


def _payload(counters: Counters) -> int:
    return max(0, counters.bytes_sent - counters.bytes_retransmitted)


def _address(packed: bytes) -> str:
    """IPv4 on an IPv6 socket is shown as IPv4."""
    return str(ip_address(_unmapped(packed)))


def _network(seen: SocketSeen) -> Map:
    is_ipv4 = len(_unmapped(seen.socket.local[0])) == 4
    made: Map = {"transport": "tcp", "type": "ipv4" if is_ipv4 else "ipv6"}
    if seen.role != "listener":
        made["community_id"] = _community_id(seen.socket)
    if seen.role in ("client", "server"):
        made["direction"] = "egress" if seen.role == "client" else "ingress"
    if seen.counters is not None and seen.action == "close":
        made["bytes"] = _payload(seen.counters) + seen.counters.bytes_received
        made["packets"] = seen.counters.segments_out + seen.counters.segments_in
    return made


def _community_id(one: TcpSocket) -> str:
    """Version 1 with seed 0, as github.com/corelight/community-id-spec says: the same for both directions."""
    ends = sorted((_unmapped(address), port.to_bytes(2, "big")) for address, port in (one.local, one.remote))
    (low, low_port), (high, high_port) = ends
    hashed = hashlib.sha1(b"\0\0" + low + high + b"\6\0" + low_port + high_port, usedforsecurity=False)
    return "1:" + base64.b64encode(hashed.digest()).decode()


def _unmapped(packed: bytes) -> bytes:
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _socket(seen: SocketSeen) -> Map:
    made: Map = {"id": f"{seen.socket.cookie:016x}", "role": seen.role}
    made["owner_source"] = "descriptor" if seen.owner else "none"
    if seen.preexisting:
        made["preexisting"] = True
    if seen.role == "listener" and seen.action != "unlisten":
        made["backlog"] = seen.socket.backlog
    counters = seen.counters
    if counters is None:
        return made
    counted = {
        "rtt_us": counters.rtt_us,
        "retransmits": counters.retransmits,
        "retransmitted_bytes": counters.bytes_retransmitted,
        "acked_bytes": counters.bytes_acked,
    }
    return made | {name: value for name, value in counted.items() if value}

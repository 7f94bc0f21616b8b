"""Records of connections, flows and binds: what ext/event_ends.c, event_network.c and event_flow.c write."""

from __future__ import annotations

from typing import Any

from collector._native import ffi, lib

from tests.reference import dns as messages
from tests.reference.community import community_id
from tests.reference.event_exec import SCOPES, entry_leader, tree_map
from tests.reference.event_text import comm, entity_id, text
from tests.reference.events import ERRNOS, MAPPED, Map, address, event_map

LISTENING = (lib.PW_TCP_LISTEN, lib.PW_TCP_UNLISTEN, lib.PW_STATE_LISTENER)
FLOWS = (lib.PW_FLOW_START, lib.PW_FLOW_UPDATE, lib.PW_FLOW_END)
TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
ICMP = (1, 58)
SOURCES = {
    lib.PW_OWNER_BY_LISTENER: "listener",
    lib.PW_OWNER_BY_CLOSE: "close",
    lib.PW_OWNER_BY_IO: "io",
    lib.PW_OWNER_BY_CALL: "call",
    lib.PW_OWNER_BY_BIND: "bind",
    lib.PW_OWNER_BY_DESCRIPTOR: "descriptor",
}
END_CAUSES = {
    lib.PW_END_CLOSED: "closed",
    lib.PW_END_IDLE: "idle",
    lib.PW_END_EVICTED: "evicted",
    lib.PW_END_CONTENDED: "contended",
}


def event(record: bytes, scope: int, clock: tuple[int, int]) -> Map:
    kind = ffi.from_buffer("struct pw_head *", record).kind
    if kind in FLOWS:
        return flow_event(record, scope, clock)
    if kind in (lib.PW_BIND, lib.PW_STATE_BOUND):
        return bind_event(record, scope, clock)
    if kind == lib.PW_DNS:
        return dns_event(record, scope, clock)
    return tcp_event(record, scope, clock)


def owner_maps(struct: Any, clock: tuple[int, int]) -> Map:
    if not struct.owner_pid:
        return {}
    user = {"id": str(struct.owner_uid)}
    process: Map = {"pid": struct.owner_pid, "name": comm(struct.comm)}
    if struct.owner_start_ns:
        process["entity_id"] = entity_id(clock[0], struct.owner_start_ns, struct.owner_pid)
    process |= entry_leader(entry_of(struct), clock)
    return {"process": {**process, "user": user}, "user": user}


def entry_of(struct: Any) -> Any:
    """Of a flow too, which has tree and way in one byte."""
    if hasattr(struct, "entry"):
        return struct.entry
    tree, entered_by = struct.entry_way & 15, struct.entry_way >> 4
    return ffi.new("struct pw_entry *", (struct.entry_start_ns, struct.entry_pid, tree, entered_by))[0]


def namespaces(struct: Any) -> Map:
    return {"net": struct.net_ns} | ({"net_cookie": struct.net_cookie} if struct.net_cookie else {})


def is_ipv6(struct: Any) -> bool:
    return bool(struct.family == 10) and not ffi.buffer(struct.local_address)[:].startswith(MAPPED)


def packed(raw: Any, struct: Any) -> bytes:
    whole: bytes = ffi.buffer(raw)[:]
    if is_ipv6(struct):
        return whole
    return whole[12:] if struct.family == 10 else whole[:4]


def community(struct: Any, protocol: int, is_server: bool) -> str:
    local, remote = packed(struct.local_address, struct), packed(struct.remote_address, struct)
    ends = (remote, local) if is_server else (local, remote)
    ports = (struct.local_port, struct.remote_port)
    return community_id(protocol, *ends, *(ports[::-1] if is_server and protocol not in ICMP else ports))


def tcp_event(record: bytes, scope: int, clock: tuple[int, int]) -> Map:
    tcp = ffi.from_buffer("struct pw_tcp *", record)
    kind = tcp.head.kind
    made: Map = {"event": event_map(kind, kind != lib.PW_TCP_CONNECT_FAILED, tcp.duration_ns)}
    made |= owner_maps(tcp, clock)
    local, remote = end_map(tcp, True), end_map(tcp, False)
    if kind in LISTENING:
        made["destination"] = local
    else:
        is_server = tcp.role == lib.PW_SERVER
        made |= {"source": remote if is_server else local, "destination": local if is_server else remote}
    made["network"] = network_map(tcp)
    if tcp.error:
        made["error"] = {"code": ERRNOS.get(tcp.error, str(tcp.error))}
    made["podwitness"] = {
        "scope": SCOPES[scope],
        "cgroup_id": tcp.head.cgroup_id,
        "namespaces": namespaces(tcp),
        **tree_map(tcp.entry, scope, clock),
        "socket": socket_map(tcp),
    }
    return made


def payload_sent(tcp: Any) -> int:
    return max(0, int(tcp.bytes_sent) - int(tcp.bytes_retransmitted))


def end_map(tcp: Any, local: bool) -> Map:
    made: Map = {
        "ip": address(tcp.local_address if local else tcp.remote_address, tcp.family),
        "port": tcp.local_port if local else tcp.remote_port,
    }
    if tcp.head.kind == lib.PW_TCP_CLOSE:
        made["bytes"] = payload_sent(tcp) if local else tcp.bytes_received
        made["packets"] = tcp.segments_out if local else tcp.segments_in
    return made


def network_map(tcp: Any) -> Map:
    made: Map = {"transport": "tcp", "type": "ipv6" if is_ipv6(tcp) else "ipv4"}
    is_listener = tcp.head.kind in LISTENING
    if not is_listener:
        made["community_id"] = community(tcp, 6, tcp.role == lib.PW_SERVER)
    if tcp.role in (lib.PW_CLIENT, lib.PW_SERVER) and not is_listener:
        made["direction"] = "egress" if tcp.role == lib.PW_CLIENT else "ingress"
    if tcp.head.kind == lib.PW_TCP_CLOSE:
        made["bytes"] = (payload_sent(tcp) + tcp.bytes_received) % 2**64
        made["packets"] = tcp.segments_out + tcp.segments_in
    return made


def socket_map(tcp: Any) -> Map:
    roles = {lib.PW_CLIENT: "client", lib.PW_SERVER: "server", lib.PW_LISTENER: "listener"}
    made: Map = {
        "id": f"{tcp.socket_id:016x}",
        "role": roles.get(tcp.role, "unknown"),
        "owner_source": SOURCES.get(tcp.owner_source, "none"),
    }
    if tcp.head.flags & lib.PW_OWNER_UNKNOWN:
        made["preexisting"] = True
    if tcp.head.flags & lib.PW_RESET:
        made["reset"] = True
    if tcp.head.kind in (lib.PW_TCP_LISTEN, lib.PW_STATE_LISTENER):
        made["backlog"] = tcp.backlog
    counted = {
        "rtt_us": tcp.rtt_us,
        "retransmits": tcp.retransmits,
        "retransmitted_bytes": tcp.bytes_retransmitted,
        "acked_bytes": tcp.bytes_acked,
    }
    return made | {name: value for name, value in counted.items() if value}


def flow_event(record: bytes, scope: int, clock: tuple[int, int]) -> Map:
    flow = ffi.from_buffer("struct pw_flow *", record)
    is_server = bool(flow.is_ingress)
    made: Map = {"event": event_map(flow.head.kind, True, max(0, flow.last_ns - flow.first_ns))}
    made |= owner_maps(flow, clock)
    local, remote = flow_end(flow, True), flow_end(flow, False)
    made |= {"source": remote if is_server else local, "destination": local if is_server else remote}
    made["network"] = {
        "transport": TRANSPORTS.get(flow.protocol, str(flow.protocol)),
        "type": "ipv6" if is_ipv6(flow) else "ipv4",
        "community_id": community(flow, flow.protocol, is_server),
        "direction": "ingress" if is_server else "egress",
        "bytes": (flow.bytes_sent + flow.bytes_received) % 2**64,
        "packets": (flow.packets_sent + flow.packets_received) % 2**64,
    }
    made["podwitness"] = flow_witness(flow, scope, clock)
    return made


def flow_end(flow: Any, local: bool) -> Map:
    made: Map = {"ip": address(flow.local_address if local else flow.remote_address, flow.family)}
    if flow.protocol not in ICMP:
        made["port"] = flow.local_port if local else flow.remote_port
    made["bytes"] = flow.bytes_sent if local else flow.bytes_received
    made["packets"] = flow.packets_sent if local else flow.packets_received
    return made


def flow_witness(flow: Any, scope: int, clock: tuple[int, int]) -> Map:
    is_kernels = flow.head.flags & lib.PW_KERNEL_SOCKET
    socket: Map = {} if is_kernels else {"id": f"{flow.socket_id:016x}"}
    socket["owner_source"] = SOURCES.get(flow.owner_source, "none") if flow.owner_pid else "none"
    if is_kernels:
        socket["kernel"] = True
    if flow.head.flags & lib.PW_BY_NETNS:
        socket["by_namespace"] = True
    made: Map = {
        "scope": SCOPES[scope],
        "cgroup_id": flow.head.cgroup_id,
        "namespaces": namespaces(flow),
        **tree_map(entry_of(flow), scope, clock),
        "socket": socket,
    }
    if flow.protocol in ICMP:
        made["icmp"] = {"type": flow.local_port, "code": flow.remote_port}
    if flow.head.kind == lib.PW_FLOW_END:
        made["flow"] = {"end_cause": END_CAUSES.get(flow.end_cause, "none")}
    return made


def bind_event(record: bytes, scope: int, clock: tuple[int, int]) -> Map:
    bound = ffi.from_buffer("struct pw_bind *", record)
    made: Map = {"event": event_map(bound.head.kind, True, 0)} | owner_maps(bound, clock)
    made["destination"] = {"ip": address(bound.local_address, bound.family)}
    if bound.protocol not in ICMP:
        made["destination"]["port"] = bound.local_port
    made["network"] = {
        "transport": TRANSPORTS.get(bound.protocol, str(bound.protocol)),
        "type": "ipv6" if is_ipv6(bound) else "ipv4",
    }
    is_state = bound.head.kind == lib.PW_STATE_BOUND
    source: Map = {"owner_source": "descriptor" if is_state else "bind"}
    if is_state:
        source["preexisting"] = True
    made["podwitness"] = {
        "scope": SCOPES[scope],
        "cgroup_id": bound.head.cgroup_id,
        "namespaces": namespaces(bound),
        **tree_map(bound.entry, scope, clock),
        "socket": {"id": f"{bound.socket_id:016x}", **source},
    }
    return made


def dns_event(record: bytes, scope: int, clock: tuple[int, int]) -> Map:
    dns = ffi.from_buffer("struct pw_dns *", record)
    size = ffi.sizeof("struct pw_dns")
    payload = record[size : size + dns.payload_bytes]
    is_cut = dns.payload_bytes < dns.payload_total_bytes
    read = messages.parse(payload, is_cut=is_cut)
    is_answer = read is not None and read["type"] == "answer"
    is_server = is_answer != bool(dns.is_ingress)
    is_success = read is not None and read.get("response_code", "NOERROR") == "NOERROR"
    made: Map = {"event": event_map(dns.head.kind, is_success, dns.took_ns)} | owner_maps(dns, clock)
    local = {"ip": address(dns.local_address, dns.family), "port": dns.local_port}
    remote = {"ip": address(dns.remote_address, dns.family), "port": dns.remote_port}
    if dns.protocol in ICMP:
        del local["port"], remote["port"]
    made |= {"source": remote if is_server else local, "destination": local if is_server else remote}
    made["network"] = {
        "transport": TRANSPORTS.get(dns.protocol, str(dns.protocol)),
        "type": "ipv6" if is_ipv6(dns) else "ipv4",
        "protocol": "dns",
        "community_id": community(dns, dns.protocol, is_server),
        "direction": "ingress" if is_server else "egress",
    }
    if read is not None:
        made["dns"] = read
    source = SOURCES.get(dns.owner_source, "none") if dns.owner_pid else "none"
    made["podwitness"] = {
        "scope": SCOPES[scope],
        "cgroup_id": dns.head.cgroup_id,
        "namespaces": namespaces(dns),
        **tree_map(dns.entry, scope, clock),
        "socket": {"id": f"{dns.socket_id:016x}", "owner_source": source},
    }
    marks: Map = {"cut_bytes": dns.payload_total_bytes - dns.payload_bytes} if is_cut else {}
    if read is None:
        marks |= {"malformed": True, "payload": text(payload[:256])}
    if marks:
        made["podwitness"]["dns"] = marks
    return made

"""What a kernel event's record has: one row for every field.

The reference page docs/records.md is printed from these rows (`make docs`), and
tests compare them with what the encoder writes.
"""

from __future__ import annotations

from collections.abc import Iterator

from collector.dns_fields import DNS_FIELDS
from collector.exec_fields import EXEC_FIELDS, EXECUTED, SESSION
from collector.notice_fields import (
    CONTAINER,
    CONTAINER_FIELDS,
    LIMITED,
    LIMITED_FIELDS,
    LOSS,
    LOSS_FIELDS,
    PROBES,
    PROBES_FIELDS,
)
from collector.privilege_fields import CALLED, OF_FILES, PRIVILEGE, PRIVILEGE_FIELDS
from collector.program_fields import parent_fields, program_fields
from collector.record_field import FLUENT_BIT, OWN, RecordField, always

LISTENS = ("listen", "listening")
PROCESS = ("exec", "fork", "exit", "running", *SESSION)
TASK = (*PROCESS, *PRIVILEGE)  # what a process does or is
CONNECTION = ("connect", "connect-failed", "accept", "close", "connected")
LISTENER = (*LISTENS, "unlisten")
TCP = ("connect", "connect-failed", "listen", "accept", "close", "unlisten", "listening", "connected")
FLOW = ("flow-start", "flow-update", "flow-end")  # UDP and ICMP
BIND = ("bind", "bound")
DNS = ("dns",)
NETWORK = (*TCP, *FLOW, *BIND, *DNS)
COUNTED = ("close", *FLOW)
NAMED = ("exec", "running", "capset")  # tell capabilities by name
EVERY = (*TASK, *NETWORK)

EVENT_FIELDS = (
    always(
        "event.kind",
        "keyword",
        EVERY,
        "`event`; `state` of what was there before podwitness: `running`, `listening`, `connected`, `bound`.",
    ),
    always(
        "event.category",
        "keyword[]",
        EVERY,
        "`process`, `session`, `network`, `file`, `driver` or `configuration`.",
    ),
    always(
        "event.type",
        "keyword[]",
        EVERY,
        "`start`, `end`; for connections `connection`, for listeners and states `info` too; for privileges "
        "`access`, `change`, `creation`, `deletion`, `info`.",
    ),
    always("event.action", "keyword", EVERY, "What happened: the kind of the record."),
    always(
        "event.provider",
        "keyword",
        EVERY,
        "`ebpf`; `netlink` where eBPF can't be used: records-netlink.md.",
    ),
    always(
        "event.outcome",
        "keyword",
        EVERY,
        "`failure` for connect-failed, for a call that was refused, for DNS that is malformed or answered "
        "by another code than NOERROR, and for an exit by a signal or a code other than 0; "
        "`unknown` of what io_uring was asked for; else `success`.",
    ),
    RecordField(
        "event.duration",
        "long",
        ("exit", "session-end", *TCP, *FLOW, *DNS),
        "Nanoseconds that the process or the session lived, that the connection took or lasted, from the "
        "first packet of a flow to the last, or from a DNS query to its answer; absent when not known.",
    ),
    always("process.pid", "long", TASK, "Process id as the node sees it (the kernel's thread group id)."),
    RecordField(
        "process.pid", "long", NETWORK, "The same of the process behind the socket; absent when not known."
    ),
    RecordField(
        "process.entity_id",
        "keyword",
        EVERY,
        "Node, start and pid in hex: no other process of any node, before or after, has the same. "
        "It joins the records of one process.",
    ),
    always("process.name", "keyword", TASK, "The kernel's name of the process: at most 15 bytes."),
    RecordField("process.name", "keyword", NETWORK, "The same of the process behind the socket."),
    always("process.vpid", "long", TASK, "Process id as the container sees it."),
    always("process.user.id", "keyword", TASK, "Effective user."),
    RecordField("process.user.id", "keyword", NETWORK, "User of the process behind the socket."),
    always("process.real_user.id", "keyword", TASK, "Real user."),
    always("process.real_group.id", "keyword", TASK, "Real group."),
    always("process.group.id", "keyword", TASK, "Effective group."),
    always("process.saved_user.id", "keyword", TASK, "Saved user."),
    always("process.saved_group.id", "keyword", TASK, "Saved group."),
    RecordField("process.start", "date", TASK, "When the process was made (an exec doesn't change it)."),
    RecordField("process.thread.id", "long", TASK, "Where another thread than the first did it."),
    always(
        "process.thread.capabilities.effective",
        "keyword[]",
        NAMED,
        "By name, e.g. `CAP_SYS_ADMIN`; of capset those after it. One newer than podwitness is `CAP_41`.",
    ),
    RecordField(
        "process.thread.capabilities.permitted",
        "keyword[]",
        NAMED,
        "The same of those permitted; absent when these are the effective ones.",
    ),
    RecordField("process.parent.pid", "long", TASK, "The parent; absent for a process without one."),
    RecordField("process.parent.entity_id", "keyword", TASK, "The parent's `process.entity_id`."),
    RecordField("process.parent.name", "keyword", TASK, "The parent's name."),
    RecordField(
        "process.entry_leader.pid",
        "long",
        EVERY,
        "The first program that was executed in the process's tree: the container's own, a host's service's, "
        "or what somebody executed who came in from outside. Absent when not known.",
    ),
    RecordField("process.entry_leader.entity_id", "keyword", EVERY, "The same, as `process.entity_id`."),
    RecordField("process.exit_code", "long", ("exit",), "0 to 255; absent when a signal ended the process."),
    always("user.id", "keyword", TASK, "The same as `process.user.id`."),
    RecordField("user.id", "keyword", NETWORK, "The same as `process.user.id`."),
    always(
        "source.ip",
        "ip",
        (*CONNECTION, *FLOW, *DNS),
        "The client's address; of a flow, of who sent the first packet that was seen. IPv4 on an IPv6 socket "
        "is shown as IPv4.",
    ),
    always("source.port", "long", (*CONNECTION, *DNS), "The client's port."),
    RecordField("source.port", "long", FLOW, "The same; ICMP has none."),
    always("source.bytes", "long", COUNTED, "What the client sent, as `destination.bytes`."),
    always("source.packets", "long", COUNTED, "Segments or packets that the client sent."),
    always("destination.ip", "ip", NETWORK, "The server's address; for a listener or a bind its own."),
    always("destination.port", "long", (*TCP, *DNS, "bound"), "The server's port."),
    RecordField("destination.port", "long", (*FLOW, "bind"), "The same; ICMP has none."),
    always(
        "destination.bytes",
        "long",
        COUNTED,
        "What the server sent. Of a flow all since it began: payload, of ICMP with its header. Of a "
        "connection payload without retransmissions where this node sent it; what the kernel "
        "calls bytes_received (a FIN counts 1) where the other end did.",
    ),
    RecordField(
        "destination.domain",
        "keyword",
        (*CONNECTION, *FLOW),
        "The name by which the pod asked for the server's address (`Trace flow`), over whatever CNAMEs, for "
        "as long as the answer's TTL says, at least 5 s and at most an hour.",
    ),
    RecordField(
        "destination.nat.ip",
        "ip",
        (*CONNECTION, *FLOW),
        "Where the connection goes on to, as the node's connection tracking has it: behind a Service's "
        "address that of a pod. `destination.ip` is what was asked for. With `Trace flow`.",
    ),
    RecordField("destination.nat.port", "long", (*CONNECTION, *FLOW), "Its port."),
    RecordField("source.nat.ip", "ip", (*CONNECTION, *FLOW), "The client's address after masquerading."),
    RecordField("source.nat.port", "long", (*CONNECTION, *FLOW), "Its port."),
    always("destination.packets", "long", COUNTED, "Segments or packets that the server sent."),
    always(
        "network.transport", "keyword", NETWORK, "`tcp`, `udp`, `icmp`, `ipv6-icmp`; a rare one as number."
    ),
    always("network.type", "keyword", NETWORK, "`ipv4` or `ipv6`, as on the wire."),
    RecordField(
        "network.direction", "keyword", CONNECTION, "`egress` where our end is the client, else `ingress`."
    ),
    always(
        "network.direction", "keyword", FLOW, "`egress` where our end sent the first packet, else `ingress`."
    ),
    always("network.direction", "keyword", DNS, "`egress` where our end asks, `ingress` where it answers."),
    always("network.protocol", "keyword", DNS, "`dns`."),
    always(
        "network.community_id",
        "keyword",
        (*CONNECTION, *FLOW, *DNS),
        "Community ID v1, seed 0: Zeek, Suricata and others give the same flow the same one.",
    ),
    always("network.bytes", "long", COUNTED, "Sum of both ends."),
    always("network.packets", "long", COUNTED, "Sum of both ends."),
    *(RecordField(field.name, field.type, DNS, field.meaning) for field in DNS_FIELDS),
    RecordField(
        "file.path",
        "keyword",
        OF_FILES,
        "Of what was opened; else as passed, where that begins with a slash.",
    ),
    RecordField(
        "error.code",
        "keyword",
        (*TCP, *CALLED),
        "Name of the errno, e.g. `ECONNREFUSED`; a rare one as number.",
    ),
    always(
        "podwitness.scope",
        "keyword",
        EVERY,
        "Whose process it is: `host`, `container`, `pod` (in the pod's cgroup, but in none that is known of "
        "its containers), or `unresolved` (its cgroup was not known in time).",
        OWN,
    ),
    always(
        "podwitness.cgroup_id", "long", EVERY, "The cgroup (v2), by the inode number of its directory.", OWN
    ),
    always("podwitness.namespaces.mnt", "long", TASK, "Inode number of the mount namespace.", OWN),
    always("podwitness.namespaces.pid", "long", TASK, "Of the pid namespace.", OWN),
    always("podwitness.namespaces.net", "long", EVERY, "Of the network namespace.", OWN),
    RecordField(
        "podwitness.namespaces.net_cookie",
        "long",
        NETWORK,
        "Cookie of the network namespace (SO_NETNS_COOKIE), which no other has until the next boot. From "
        "Linux 5.12 on.",
        OWN,
    ),
    always("podwitness.namespaces.user", "long", TASK, "Of the user namespace.", OWN),
    always("podwitness.namespaces.uts", "long", TASK, "Of the namespace of the host's name.", OWN),
    always("podwitness.namespaces.ipc", "long", TASK, "Of the System V IPC namespace.", OWN),
    always("podwitness.namespaces.cgroup", "long", TASK, "Of the cgroup namespace.", OWN),
    always(
        "podwitness.capabilities_effective",
        "keyword",
        TASK,
        "16 hex digits, as CapEff in /proc/PID/status; `capsh --decode=` names them.",
        OWN,
    ),
    always("podwitness.capabilities_permitted", "keyword", TASK, "The same of CapPrm.", OWN),
    RecordField(
        "podwitness.capabilities_inheritable", "keyword", TASK, "Of CapInh; absent when there are none.", OWN
    ),
    RecordField(
        "podwitness.capabilities_ambient", "keyword", TASK, "Of CapAmb; absent when there are none.", OWN
    ),
    RecordField(
        "podwitness.login_user_id", "keyword", TASK, "Who logged in, whatever su or sudo came after.", OWN
    ),
    RecordField(
        "podwitness.audit_session_id", "keyword", TASK, "Number of that login, as in the audit log.", OWN
    ),
    RecordField(
        "podwitness.in_init_tree",
        "boolean",
        EVERY,
        "True when the process descends from its container's first process; false when it, or one that it "
        "descends from, came in from outside. Absent for the host's processes, and when not known.",
        OWN,
    ),
    RecordField(
        "podwitness.setup",
        "boolean",
        EVERY,
        "True while no program was executed since the process came into the container: what a runtime does "
        "to make the container or to enter it (with `Trace syscalls` some hundred mounts and devices). "
        "Nothing that is executed in the container has it.",
        OWN,
    ),
    RecordField(
        "podwitness.session.id",
        "keyword",
        EVERY,
        "Joins all that was done by a process that came into a container from outside, and by its "
        "descendants: the `process.entity_id` of the first program that it executed.",
        OWN,
    ),
    RecordField(
        "podwitness.session.entered",
        "keyword",
        EVERY,
        "What it entered: `container` (cgroup and mount namespace, as runtimes do for kubectl exec, exec "
        "probes and crictl exec), `namespaces` (the mount namespace only, as nsenter), or `cgroup`.",
        OWN,
    ),
    always(
        "podwitness.exit.peak_memory_bytes",
        "long",
        ("exit",),
        "Most memory that was resident at a time: ru_maxrss.",
        OWN,
    ),
    always(
        "podwitness.exit.user_cpu_ns",
        "long",
        ("exit",),
        "CPU time of all threads, as last counted: without what the last thread ran since its last tick or "
        "switch, up to some ms; so 0 of a process that was shorter.",
        OWN,
    ),
    always("podwitness.exit.system_cpu_ns", "long", ("exit",), "CPU time in the kernel.", OWN),
    RecordField(
        "podwitness.exit.signal", "keyword", ("exit",), "The signal that ended it, e.g. `SIGKILL`.", OWN
    ),
    RecordField("podwitness.exit.signal_number", "long", ("exit",), "The same as number.", OWN),
    RecordField("podwitness.exit.core_dumped", "boolean", ("exit",), "True when a core was written.", OWN),
    always(
        "podwitness.socket.id",
        "keyword",
        (*TCP, *BIND, *DNS),
        "Joins the records of one socket. Where it is the socket's cookie, as always for flows and binds, "
        "`ss -e` shows it.",
        OWN,
    ),
    RecordField("podwitness.socket.id", "keyword", FLOW, "The same; not of the kernel's own sockets.", OWN),
    RecordField(
        "podwitness.socket.kernel",
        "boolean",
        FLOW,
        "True where the kernel itself answers (echo, errors of ICMP): there is no process.",
        OWN,
    ),
    RecordField(
        "podwitness.socket.by_namespace",
        "boolean",
        FLOW,
        "True where the pod is known by the network namespace only; the container is then any one of it that "
        "has used UDP.",
        OWN,
    ),
    RecordField(
        "podwitness.icmp.type", "long", FLOW, "Of ICMP: the type. Echo replies count to their requests.", OWN
    ),
    RecordField(
        "podwitness.dns.cut_bytes", "long", DNS, "Of a packet longer than 2048 bytes: those not seen.", OWN
    ),
    RecordField("podwitness.dns.malformed", "boolean", DNS, "True for what is no message of DNS.", OWN),
    RecordField("podwitness.dns.payload", "keyword", DNS, "Its first 256 bytes.", OWN),
    RecordField("podwitness.icmp.code", "long", FLOW, "Of ICMP: the code.", OWN),
    always(
        "podwitness.flow.end_cause",
        "keyword",
        ("flow-end",),
        "`closed` with its socket, `idle` for `Flow_Idle`, `evicted` from a full table (what follows is a "
        "flow of its own), `contended` (a flow of one packet).",
        OWN,
    ),
    always(
        "podwitness.socket.role",
        "keyword",
        TCP,
        "Of our end: `client`, `server`, `listener`, `unknown`.",
        OWN,
    ),
    always(
        "podwitness.socket.owner_source",
        "keyword",
        NETWORK,
        "How the process was learnt: `call` (it called connect or listen), `io` (first read or write), "
        "`close`, `descriptor` (had it open when podwitness started, the first of several), `listener` (the "
        "process that listens, maybe not the worker), `bind`, `none`.",
        OWN,
    ),
    RecordField(
        "podwitness.socket.preexisting",
        "boolean",
        TCP,
        "True when the socket is older than the probes.",
        OWN,
    ),
    always("podwitness.socket.preexisting", "boolean", ("bound",), "The same.", OWN),
    RecordField("podwitness.socket.reset", "boolean", TCP, "True when a reset ended the connection.", OWN),
    always("podwitness.socket.backlog", "long", LISTENS, "Connections that may wait.", OWN),
    RecordField("podwitness.socket.rtt_us", "long", TCP, "Smoothed round trip time; absent when 0.", OWN),
    RecordField("podwitness.socket.retransmits", "long", TCP, "Segments sent again; absent when 0.", OWN),
    RecordField(
        "podwitness.socket.retransmitted_bytes", "long", TCP, "Payload of these; absent when 0.", OWN
    ),
    RecordField(
        "podwitness.socket.acked_bytes", "long", TCP, "What the other end confirmed; absent when 0.", OWN
    ),
    *EXEC_FIELDS,
    *program_fields(tuple(kind for kind in EVERY if kind not in (*EXECUTED, "session-start"))),
    *parent_fields(EXECUTED),
    *(
        RecordField(field.name, field.type, field.kinds, field.meaning, OWN, field.always)
        for field in PRIVILEGE_FIELDS
    ),
)

IDENTITY_FIELDS = (
    always("ecs.version", "keyword", EVERY, "`8.17.0`."),
    always("host.name", "keyword", EVERY, "The node."),
    RecordField("container.id", "keyword", EVERY, "64 hex digits."),
    RecordField("container.name", "keyword", EVERY, "As in the pod's specification."),
    RecordField("container.runtime", "keyword", EVERY, "`containerd`, `cri-o`, `docker`."),
    RecordField("container.image.name", "keyword", EVERY, "The image as the pod's specification names it."),
    RecordField("kubernetes.pod_name", "keyword", EVERY, "The pod.", FLUENT_BIT),
    RecordField("kubernetes.namespace_name", "keyword", EVERY, "Its namespace.", FLUENT_BIT),
    RecordField("kubernetes.pod_id", "keyword", EVERY, "Its uid.", FLUENT_BIT),
    RecordField("kubernetes.labels", "object", EVERY, "Its labels, of the API server.", FLUENT_BIT),
    RecordField("kubernetes.workload.kind", "keyword", EVERY, "What it belongs to: `Deployment`, `Job`, ..."),
    RecordField("kubernetes.workload.name", "keyword", EVERY, "Its name."),
    RecordField("kubernetes.host", "keyword", EVERY, "The node.", FLUENT_BIT),
    RecordField("kubernetes.pod_ip", "keyword", EVERY, "The pod's address, of the API server.", FLUENT_BIT),
    RecordField("kubernetes.container_name", "keyword", EVERY, "The container.", FLUENT_BIT),
    RecordField("kubernetes.docker_id", "keyword", EVERY, "The container's id.", FLUENT_BIT),
    RecordField("kubernetes.container_hash", "keyword", EVERY, "The image's digest.", FLUENT_BIT),
    RecordField("kubernetes.container_image", "keyword", EVERY, "The image.", FLUENT_BIT),
    RecordField("orchestrator.type", "keyword", EVERY, "`kubernetes`."),
    RecordField("orchestrator.namespace", "keyword", EVERY, "The pod's namespace."),
    RecordField("orchestrator.resource.type", "keyword", EVERY, "`pod`."),
    RecordField("orchestrator.resource.name", "keyword", EVERY, "The pod."),
    RecordField("orchestrator.resource.id", "keyword", EVERY, "Its uid."),
)

TOP_LEVEL_KEYS = frozenset(field.name.partition(".")[0] for field in EVENT_FIELDS)
"""Keys that the encoder writes itself. A filter that touches one of them can't be folded into a plan."""

ECS_VERSION = "8.17.0"

_INTRODUCTION = """\
# Records of kernel events

Printed by `make docs` from collector/records.py.

The time of a record is its EventTime (forward protocol), with nanoseconds. Fields are nested maps:
`process.pid` is `{"process": {"pid": 1}}`. Names and types are those of the Elastic Common Schema where it
has any; what it lacks is below `podwitness`.

**Text.** All text is valid UTF-8. A byte that is not part of a UTF-8 character is written as `\\xNN`. So
that this can be undone without doubt, a backslash that is followed by an `x` is itself written as `\\x5c`:
whatever looks like `\\xNN` in a record is one byte.

**Tags.** Process events go to the input's tag with `process` in place of `*`, network events with `network`.
Privileges go with the process events: what a process did stays in one stream, in the order of what happened.
"""


_GROUPS = f"""\
*Process events* are {", ".join(PROCESS)}. *Privileges* are {", ".join(PRIVILEGE)}.
All of these but the last two are *calls*.
"""


def _shown(kinds: tuple[str, ...], every: tuple[str, ...]) -> str:
    names = {every: "all", TASK: "process events, privileges", PRIVILEGE: "privileges", CALLED: "calls"}
    return names.get(kinds, ", ".join(kinds))


def _rows(fields: tuple[RecordField, ...], every: tuple[str, ...]) -> Iterator[str]:
    yield "| field | type | in | meaning | from |"
    yield "|---|---|---|---|---|"
    for field in fields:
        kinds = _shown(field.kinds, every)
        presence = kinds if field.always else f"{kinds} (may lack)"
        yield f"| `{field.name}` | {field.type} | {presence} | {field.meaning} | {field.origin} |"


def page() -> str:
    """docs/records.md."""
    lines = [_INTRODUCTION, "## The event", "", _GROUPS, *_rows(EVENT_FIELDS, EVERY), ""]
    lines += ["## Whose it is", "", *_rows(IDENTITY_FIELDS, EVERY), ""]
    lines += [
        "A host process has none of `container`, `kubernetes` and `orchestrator`, and scope `host`.",
        "",
    ]
    lines += ["## Containers that were there", ""]
    lines += [
        "At the start each container that runs is told, after the processes and connections that were there, "
        "on the tag of process events, with the fields of whose it is.",
        "",
    ]
    lines += [*_rows(CONTAINER_FIELDS, CONTAINER), ""]
    lines += ["## What was lost", "", *_rows(LOSS_FIELDS, LOSS), ""]
    lines += ["## What a container had too much of", ""]
    lines += [
        "On the tag `podwitness.loss`, once a second while it lasts, with the fields of whose it is: events "
        "beyond its limit (`Rate_Limit_Process` and the others of the input), suppressed in the kernel.",
        "",
    ]
    lines += [*_rows(LIMITED_FIELDS, LIMITED), ""]
    lines += ["## When the probes did not work", "", "On the tag `podwitness.loss` too.", ""]
    lines += _rows(PROBES_FIELDS, PROBES)
    return "\n".join(lines) + "\n"

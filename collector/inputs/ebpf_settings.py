"""The keys of the input `ebpf`, and what they mean together."""

from __future__ import annotations

from dataclasses import dataclass

from collector.catalog import EVENTS, STATES, TRACED, Event, chosen
from collector.config.kinds import repeated
from collector.config.schema import boolean, key, seconds, size_bytes
from collector.inputs.event_heartbeat import LISTENER_KINDS, PROCESS_KINDS
from collector.inputs.event_keys import (
    MAX_DNS_PORTS,
    executables_kind,
    folder_kind,
    interval_kind,
    ports_kind,
    ring_kind,
    trace_kind,
    variables_kind,
    witness_kind,
)
from collector.inputs.event_limits import rate_kind
from collector.inputs.watched_names import DEFAULT, WatchedName, watched_kind
from collector.native.event_kinds import WATCHED, Kind
from collector.native.limits import CLASSES, Rate
from probes.catalog import TCP_KINDS as OF_TCP
from probes.catalog import RecordKind

# Keys, in lower case, and the subjects of which Trace has to name one for them to matter.
NEEDED_SUBJECTS = {
    ("flow_interval", "flow_idle", "dns_ports"): ("flow",),
    ("watch_path", "watch_exempt"): ("syscalls",),
    ("flow_ring_size", "rate_limit_network"): ("network", "flow"),
    ("rate_limit_process",): ("process",),
    ("rate_limit_privilege",): ("privilege", "syscalls"),
}
DEFAULT_TRACE = "process network privilege"
TCP_KINDS = frozenset(Kind(kind) for kind in OF_TCP)
OF_PROBES = (
    *(name for names in NEEDED_SUBJECTS for name in names),
    *("heartbeat_interval", "pending_limit", "pending_timeout", "probe_cache", "program", "environment"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    trace: tuple[tuple[str, ...], ...] = key(
        "Trace",
        repeated(trace_kind),
        default=DEFAULT_TRACE,
        help="What to see. `privilege`: signals between containers, new namespaces, out-of-memory kills "
        "and moves between cgroups. `syscalls`: calls that change or use a privilege, for 0.1 us on every "
        "system call of the node. Single events of events.md too, as `exec` or `syscalls.ptrace`, and with "
        "`-` what to leave out: `process, -fork, kill`. Only `-fork`: the default without it.",
    )
    ring_bytes: int = key(
        "Ring_Size", ring_kind, default="4MiB", help="Memory in the kernel for events not yet read."
    )
    flow_ring_bytes: int = key(
        "Flow_Ring_Size",
        ring_kind,
        default="2MiB",
        help="The same for events of connections, which can't push out the others.",
    )
    flow_interval_s: float = key(
        "Flow_Interval",
        interval_kind,
        default="30s",
        help="How often a UDP flow that goes on is reported. `Trace flow` only, as the next two.",
    )
    flow_idle_s: float = key(
        "Flow_Idle", interval_kind, default="60s", help="A UDP flow without a packet for so long is over."
    )
    dns_ports: tuple[int, ...] = key(
        "Dns_Ports", ports_kind, default="53", help="Where DNS is expected, up to four ports."
    )
    process_rate: tuple[int, int] = key(
        "Rate_Limit_Process",
        rate_kind,
        default="5000 2000",
        help="Most process events of one container, a second and at once; 0: no limit. One of several KiB "
        "counts as several. What is suppressed is counted, and told by container.",
    )
    network_rate: tuple[int, int] = key(
        "Rate_Limit_Network",
        rate_kind,
        default="10000 5000",
        help="The same for its events of connections.",
    )
    privilege_rate: tuple[int, int] = key(
        "Rate_Limit_Privilege",
        rate_kind,
        default="1000 1000",
        help="The same for its events of privileges and files.",
    )
    state: bool = key(
        "State",
        boolean,
        default="On",
        help="Whether processes, listeners, connections and containers that are there at the start are told.",
    )
    drain_interval_s: float = key(
        "Drain_Interval", seconds, default="20ms", help="How long events may gather before they are read."
    )
    pending_limit_bytes: int = key(
        "Pending_Limit", size_bytes, default="4MiB", help="Most events that wait for their container's name."
    )
    pending_timeout_s: float = key(
        "Pending_Timeout",
        seconds,
        default="2s",
        help="How long they wait; then they are sent marked `unresolved`.",
    )
    heartbeat_s: float = key(
        "Heartbeat_Interval",
        seconds,
        default="10s",
        help="How often podwitness does what its own probes must report, to see that they do; 0: never.",
    )

    program: bool = key(
        "Program",
        boolean,
        default="On",
        help="Whether all records of a process tell its executable and arguments, or its exec alone.",
    )
    variables: tuple[str, ...] = key(
        "Environment",
        variables_kind,
        default="off",
        help="Environment variables that an exec's record tells, such as SPO_EXEC_REQUEST_UID; no others.",
    )
    witness: str = key(
        "Witness",
        witness_kind,
        default="auto",
        help="`ebpf`, `netlink` (sees less), or `auto`: netlink only where eBPF can't be used.",
    )
    refresh_interval_s: float = key(
        "Refresh_Interval",
        seconds,
        default="1s",
        help="How often the netlink witness looks for new connections.",
    )
    probe_cache: str = key(
        "Probe_Cache",
        folder_kind,
        default="/var/lib/podwitness/probes",
        help="Folder of compiled probes, for a start without the compiler; `off`: compile at each start.",
    )

    watch_paths: tuple[tuple[WatchedName, ...], ...] = key(
        "Watch_Path",
        repeated(watched_kind),
        default=" ".join(DEFAULT),
        help="With `syscalls`: files and sockets to report the use of. The last two names count, wherever "
        "the file is: `/etc/shadow` is watched in every container. `*` stands for any name. `off`: none. "
        "A hard link to one and another name for its folder are told, what is read by these is not. "
        "Of io_uring the path that is passed counts, from Linux 6.4 on; before only who sets one up is told.",
    )

    exempt: tuple[str, ...] = key(
        "Watch_Exempt",
        executables_kind,
        default="off",
        help="Programs of the node, such as /usr/bin/kubelet, whose use of watched files is counted and not "
        "told: those on the host's own mounts, and only with `Program`, `State` and `Trace process`.",
    )

    @property
    def rates(self) -> dict[str, Rate]:
        rates = (self.process_rate, self.network_rate, self.privilege_rate)
        return {name: Rate(*rate) for name, rate in zip(CLASSES, rates, strict=True)}

    @property
    def watched(self) -> tuple[WatchedName, ...]:
        return tuple(name for line in self.watch_paths for name in line)

    def __post_init__(self) -> None:
        if not self.told:
            raise ValueError("Trace leaves out all that it asks for.")

    @property
    def told(self) -> tuple[Event, ...]:
        """The events that are asked for."""
        words = [word for line in self.trace for word in line]
        if all(word.startswith("-") for word in words):
            words += DEFAULT_TRACE.split()
        return chosen(words)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Of which something is asked for."""
        wanted = {event.subject for event in self.told}
        return tuple(subject for subject in TRACED if subject in wanted)

    @property
    def watched_subjects(self) -> tuple[str, ...]:
        """With what is attached unasked: how a new container is known before its first event, and what was
        there before."""
        return (*self.subjects, "cgroup", *(("state",) if self.state else ()))

    @property
    def untold(self) -> frozenset[Kind]:
        """Of which no entry is made."""
        told = {event.kind for event in self.told}
        return frozenset(event.kind for event in EVENTS if event.kind is not None) - told

    @property
    def off(self) -> frozenset[tuple[str, RecordKind]]:
        """Events of the subjects that the probes make no record of."""
        needed = {(event.subject, event.kind) for event in self.told} | self._taught_by
        return frozenset(
            (event.subject, RecordKind(event.kind))
            for event in EVENTS
            if event.kind is not None
            and event.kind not in STATES
            and event.subject in self.subjects
            and (event.subject, event.kind) not in needed
        )

    @property
    def _taught_by(self) -> set[tuple[str, Kind]]:
        """Events whose records the collector needs even if they are not told: for what a process runs, for
        names of addresses, and as its heartbeat."""
        told = {event.kind for event in self.told}
        taught: set[tuple[str, Kind]] = set()
        if self.program:
            taught |= {("process", kind) for kind in PROCESS_KINDS}
        if told & {*TCP_KINDS, Kind.FLOW_START, Kind.FLOW_UPDATE, Kind.FLOW_END}:
            taught.add(("flow", Kind.DNS))
        if self.heartbeat_s and told & TCP_KINDS:
            taught |= {("network", kind) for kind in LISTENER_KINDS}
        return taught

    @property
    def without_effect(self) -> dict[str, str]:
        """Names of keys, in lower case, that this Trace and Witness leave nothing to do for; and why."""
        found: dict[str, str] = {}
        for names, subjects in NEEDED_SUBJECTS.items():
            if not set(subjects) & set(self.subjects):
                reason = f"Trace is without {' and '.join(subjects)}; name it there, or remove the line"
                found |= dict.fromkeys(names, reason)
        if "syscalls" in self.subjects and self.untold.issuperset((*WATCHED, Kind.LINK)):
            reason = "Trace is without the events of files, such as file-read; name them, or remove the line"
            found |= dict.fromkeys(("watch_path", "watch_exempt"), reason)
        if self.witness == "netlink":
            found |= dict.fromkeys(OF_PROBES, "Witness is netlink, which has no probes; remove the line")
        if self.witness != "netlink" and all(event.kind is None for event in self.told):
            found["trace"] = (
                "where eBPF works nothing tells these; name syscalls.setuid and syscalls.setgid, or let "
                "Witness be netlink"
            )
        if self.witness == "ebpf":
            found["refresh_interval"] = "Witness is ebpf; remove the line"
        return found

    @property
    def constants(self) -> dict[str, int]:
        """What the probes are compiled with."""
        environment = {"TELL_ENVIRONMENT": 1} if self.variables else {}
        if "flow" not in self.subjects:
            return environment
        ports = (*self.dns_ports, *(0,) * (MAX_DNS_PORTS - len(self.dns_ports)))
        named = {f"DNS_PORT_{number}": port for number, port in enumerate(ports, 1)}
        return {"FLOW_IDLE_NS": int(self.flow_idle_s * 1e9), **named, **environment}

"""The rows of the metrics table that are about kernel events; a part of table.py."""

from __future__ import annotations

from typing import Final

from collector.service.metrics import Metric

KERNEL: Final = (
    Metric(
        "podwitness_kernel_events_total",
        "counter",
        ("kind",),
        "Kernel events read, by what happened; cgroup-mkdir and cgroup-rmdir are not shipped.",
    ),
    Metric(
        "podwitness_kernel_events_lost_total",
        "counter",
        ("kind", "cause"),
        "Kernel events lost before they were read. Lost records count as podwitness_lost_records_total too.",
        "ring_full: raise Ring_Size or, for connections, Flow_Ring_Size, or look why the outputs are full.",
    ),
    Metric(
        "podwitness_kernel_events_suppressed_total",
        "counter",
        ("kind",),
        "Kernel events beyond the limit of their container; told by container on the tag podwitness.loss.",
        "Look what the container does; raise Rate_Limit_Process, _Network or _Privilege if it should.",
    ),
    Metric(
        "podwitness_kernel_events_exempt_total",
        "counter",
        ("kind",),
        "Uses of watched files by programs of the node that Watch_Exempt names: read, and not told.",
    ),
    Metric(
        "podwitness_kernel_processes_untracked_total",
        "counter",
        (),
        "Times that a process had no room among those that are remembered: its records lack the tree.",
        "Look for a process that forks without end, or spread the pods over more nodes.",
    ),
    Metric(
        "podwitness_kernel_programs_forgotten_total",
        "counter",
        (),
        "Programs of processes that live for which there was no room: their records lack them.",
        "More than 16,384 processes, or 4 MiB of different arguments: spread the pods over more nodes.",
    ),
    Metric(
        "podwitness_kernel_translation_overruns_total",
        "counter",
        (),
        "Times that connection tracking told more than could be read: some records lack destination.nat.",
        "Give the agent more CPU.",
    ),
    Metric(
        "podwitness_kernel_dns_malformed_total",
        "counter",
        (),
        "Packets from or to Dns_Ports that are no DNS. Each is a record of its own, with its first bytes.",
        "Look who sends them: a tunnel, or another protocol on that port.",
    ),
    Metric(
        "podwitness_kernel_dns_streams_lost_total",
        "counter",
        (),
        "Connections of DNS over TCP that could not be read further; told as cause unreadable_dns.",
        "If events are lost too, raise Flow_Ring_Size; else segments came out of order.",
    ),
    Metric(
        "podwitness_kernel_events_unresolved_total",
        "counter",
        (),
        "Kernel events sent without knowing their container.",
        "See the log for cgroups that can't be read; raise Pending_Timeout if the runtime is slow.",
    ),
    Metric(
        "podwitness_kernel_pending_bytes", "gauge", (), "Kernel events that wait for their container's name."
    ),
    Metric(
        "podwitness_kernel_ring_bytes",
        "gauge",
        ("ring",),
        "Kernel events that wait in the ring; bounds: Ring_Size for `security`, Flow_Ring_Size for `flow`.",
    ),
    Metric(
        "podwitness_kernel_hook_attached",
        "gauge",
        ("hook", "name"),
        "1 where the probe of a tracepoint is attached for an input, 0 where it could not be.",
        "The log has the kernel's reason, and what is not seen without it.",
    ),
    Metric(
        "podwitness_heartbeat_age_seconds",
        "gauge",
        ("kind",),
        "Since when a record of what podwitness itself does has not arrived, by its kind.",
        "Beyond three times Heartbeat_Interval the probe does not work; it is attached again by itself. Or a "
        "limit keeps it back (podwitness_kernel_events_suppressed_total, of its own cgroup).",
    ),
    Metric(
        "podwitness_heartbeat_latency_seconds",
        "gauge",
        (),
        "How long the records of the last heartbeat took to be read.",
        "Usually below Drain_Interval and some ms; more means that this node has too little CPU.",
    ),
    Metric(
        "podwitness_heartbeats_missed_total",
        "counter",
        ("kind",),
        "Heartbeats of which no record arrived, by the record's kind.",
        "A single one may be lost with others; three in a row have the probes attached again.",
    ),
    Metric(
        "podwitness_probes_reattached_total",
        "counter",
        ("cause",),
        "Times that probes had to be attached again.",
        "Somebody or something on the node detaches them: the records on podwitness.loss tell since when.",
    ),
)

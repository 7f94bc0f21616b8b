"""What records have that podwitness makes itself: of containers, losses, limits and its probes."""

from __future__ import annotations

from collector.record_field import OWN, RecordField, always

CONTAINER = ("container-running",)
CONTAINER_FIELDS = (
    always("event.kind", "keyword", CONTAINER, "`state`."),
    always("event.category", "keyword[]", CONTAINER, "`process`."),
    always("event.type", "keyword[]", CONTAINER, "`info`."),
    always("event.action", "keyword", CONTAINER, "`container-running`."),
    always("event.provider", "keyword", CONTAINER, "`ebpf`."),
    always("event.outcome", "keyword", CONTAINER, "`success`."),
    always("podwitness.scope", "keyword", CONTAINER, "`container`.", OWN),
    always("podwitness.cgroup_id", "long", CONTAINER, "The cgroup (v2) of its first process.", OWN),
)

LOSS = ("loss",)
LOSS_FIELDS = (
    always("event.kind", "keyword", LOSS, "`pipeline_error`."),
    always("event.action", "keyword", LOSS, "`loss`."),
    always("event.start", "date", LOSS, "When the oldest of the lost records was made or read."),
    always("event.end", "date", LOSS, "The same of the newest."),
    always("host.name", "keyword", LOSS, "The node."),
    always(
        "podwitness.loss.cause",
        "keyword",
        LOSS,
        "Why: `ring_full_KIND` is a kernel event that found the ring full, others name what happened on the "
        "way out.",
        OWN,
    ),
    always("podwitness.loss.records", "long", LOSS, "How many.", OWN),
    always(
        "podwitness.loss.bytes", "long", LOSS, "Their size, encoded; 0 where they were not encoded yet.", OWN
    ),
    always("podwitness.loss.stream", "keyword", LOSS, "The tag that they would have had.", OWN),
    always("podwitness.loss.output", "keyword", LOSS, "The output that lost them; empty when all did.", OWN),
    always("podwitness.loss.source", "keyword", LOSS, "The input that they came from.", OWN),
    RecordField("podwitness.loss.path", "keyword", LOSS, "The file that they were read from.", OWN),
    RecordField("podwitness.loss.from", "long", LOSS, "Offset in the file of the first lost byte.", OWN),
    RecordField("podwitness.loss.to", "long", LOSS, "Offset behind the last.", OWN),
)

LIMITED = ("rate-limited",)
LIMITED_FIELDS = (
    always("event.kind", "keyword", LIMITED, "`pipeline_error`."),
    always("event.action", "keyword", LIMITED, "`rate-limited`."),
    always("event.start", "date", LIMITED, "The first was suppressed after this,"),
    always("event.end", "date", LIMITED, "and the last before this."),
    always(
        "podwitness.scope",
        "keyword",
        LIMITED,
        "As above; `unresolved` with cgroup 0: of cgroups that share one limit, as more than 2048 are busy.",
        OWN,
    ),
    always("podwitness.cgroup_id", "long", LIMITED, "The cgroup (v2).", OWN),
    always("podwitness.suppressed.records", "long", LIMITED, "Events that are not reported.", OWN),
    always("podwitness.suppressed.by_kind", "object", LIMITED, "How many of each `event.action`.", OWN),
)

PROBES = ("probes-detached", "heartbeat-missing", "probes-reattached", "programs-forgotten")
PROBES_FIELDS = (
    always("event.kind", "keyword", PROBES, "`pipeline_error`."),
    always(
        "event.action",
        "keyword",
        PROBES,
        "`probes-detached`: somebody detached them. `heartbeat-missing`: what podwitness did itself was not "
        "reported three times in a row. `probes-reattached`: they are attached again. `programs-forgotten`: "
        "there are more processes than are remembered, and records of some lack `process.executable` and "
        "`process.args`.",
    ),
    always("event.reason", "keyword", PROBES, "The same in words."),
    always("event.start", "date", PROBES, "Until then they are known to have worked."),
    always(
        "event.end",
        "date",
        PROBES,
        "When that was noticed, or when they were attached again.",
    ),
    always("host.name", "keyword", PROBES, "The node."),
    always("podwitness.probes.input", "keyword", PROBES, "The input that they belong to.", OWN),
    always("podwitness.probes.hooks", "keyword[]", PROBES, "Tracepoints of the kernel concerned.", OWN),
)

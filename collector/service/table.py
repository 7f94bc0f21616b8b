"""The rows of the metrics table. A room that counts something adds its rows here, and counts nowhere else.

`name` is the instance's name or Alias.
"""

from __future__ import annotations

from typing import Final

from collector.service.fluent_bit_metrics import FLUENT_BIT
from collector.service.kernel_table import KERNEL
from collector.service.metrics import Metric

DELIVERY: Final = (
    Metric(
        "podwitness_reload_failures_total",
        "counter",
        (),
        "Reloads that changed nothing because the configuration can't be run.",
        "The log and the answer of POST /api/v2/reload say what is wrong with it.",
    ),
    Metric(
        "podwitness_lost_records_total",
        "counter",
        ("cause",),
        "Records that will not reach an output, by cause.",
        "The loss records on the tag podwitness.loss name stream, output and range.",
    ),
    Metric("podwitness_lost_bytes_total", "counter", ("cause",), "Bytes of these records, encoded."),
    Metric(
        "podwitness_unrouted_records_total",
        "counter",
        (),
        "Records whose tag no output matches; they are discarded, as by Fluent Bit.",
        "Add an output whose Match covers the tag that the log names.",
    ),
    Metric(
        "podwitness_delivery_bytes",
        "gauge",
        ("name",),
        "Bytes that wait for an output or are being sent.",
        "When it stays at podwitness_delivery_share_bytes, the receiver is slower than the node.",
    ),
    Metric("podwitness_delivery_share_bytes", "gauge", ("name",), "Bound of podwitness_delivery_bytes."),
    Metric(
        "podwitness_delivery_waiting",
        "gauge",
        (),
        "Chunks that inputs hold back because their outputs' shares are full.",
        "Files wait on disk meanwhile; look at the slow output.",
    ),
    Metric(
        "podwitness_oldest_undelivered_seconds",
        "gauge",
        (),
        "Age of the oldest chunk that not all of its outputs have.",
        "A value that only grows means that an output makes no progress.",
    ),
    Metric(
        "podwitness_stalled_seconds",
        "gauge",
        ("name",),
        "For how long an output has something to send, or an input something to read, that stays as it is.",
        "/readyz has the reason from Stall_Timeout on.",
    ),
    Metric(
        "podwitness_position_commits_total",
        "counter",
        (),
        "Times that the positions of files were written to a database.",
    ),
    Metric(
        "podwitness_position_commit_failures_total",
        "counter",
        (),
        "Times that a position database could not be written.",
        "See the log for the reason; until it is mended, a restart sends records again.",
    ),
    Metric("podwitness_positions", "gauge", ("database",), "Files whose position is known."),
)

SPOOL: Final = (
    Metric(
        "podwitness_spool_bytes",
        "gauge",
        ("name",),
        "Bytes that wait in the spool for an output.",
        "At podwitness_spool_limit_bytes chunks are dropped: see why the output does not take them.",
    ),
    Metric("podwitness_spool_limit_bytes", "gauge", ("name",), "Its bound, storage.total_limit_size."),
    Metric(
        "podwitness_spool_chunks", "gauge", ("name",), "Chunks in the spool that were not read back so far."
    ),
    Metric(
        "podwitness_spool_oldest_seconds",
        "gauge",
        ("name",),
        "Age of the oldest chunk that waits in the spool for an output.",
        "A value that only grows means that the output makes no progress.",
    ),
    Metric("podwitness_spool_chunks_up", "gauge", (), "Chunks read back from the spool and not delivered."),
    Metric(
        "podwitness_spool_staged_bytes",
        "gauge",
        (),
        "Bytes that wait in memory to be written to the spool.",
        "More than 0 for longer than a second: the disk is full or slow.",
    ),
    Metric("podwitness_spool_file_bytes", "gauge", (), "What the spool takes on disk."),
    Metric("podwitness_spool_written_bytes_total", "counter", (), "Bytes written to the spool."),
    Metric("podwitness_spool_read_bytes_total", "counter", (), "Bytes read back from the spool."),
    Metric(
        "podwitness_spool_failures_total",
        "counter",
        (),
        "Times that the spool could not be written or read.",
        "See the log for the reason; until it is mended, chunks stay in memory as far as there is room.",
    ),
    Metric(
        "podwitness_rejected_kept_total",
        "counter",
        (),
        "Chunks given up that were kept in storage.rejected.path.",
    ),
    Metric(
        "podwitness_rejected_not_kept_total",
        "counter",
        (),
        "Chunks given up that could not be kept there.",
        "The folder is at storage.rejected.limit, or can't be written: look at what is there and remove it.",
    ),
    Metric("podwitness_rejected_bytes", "gauge", (), "What is kept there, as of the last chunk given up."),
)

TAIL: Final = (
    Metric(
        "podwitness_tail_files_truncated_total",
        "counter",
        ("name",),
        "Files that were cut off or written anew in place, and are read from their start again.",
        "What was not read before is read in the copy beside it (copytruncate); without one it is lost.",
    ),
    Metric(
        "podwitness_tail_files_refused_total",
        "counter",
        ("name",),
        "Names in Path that are no log files: links out of the log directories, devices, folders.",
        "The log says why: the first at once, then every 10 s how many more, and the last of them.",
    ),
    Metric(
        "podwitness_tail_files_missed_total",
        "counter",
        ("name",),
        "Files, or directories of one, that were deleted before they could be opened; their logs are lost.",
        "The log names some. See whether the node has too little CPU, or raise fs.inotify.max_queued_events.",
    ),
    Metric(
        "podwitness_tail_unparsed_lines_total",
        "counter",
        ("name",),
        "Lines that the parser does not fit; they are kept as they are.",
        "Check Parser and multiline.parser of the input.",
    ),
    Metric(
        "podwitness_tail_cut_records_total",
        "counter",
        ("name",),
        "Records longer than Buffer_Max_Size; they are cut and marked `truncated`.",
        "Raise Buffer_Max_Size.",
    ),
    Metric(
        "podwitness_tail_read_errors_total",
        "counter",
        ("name",),
        "Reads of log files that failed; the file is tried again at the next Refresh_Interval.",
        "The log has the error; look at the disk.",
    ),
    Metric(
        "podwitness_tail_skipped_lines_total",
        "counter",
        ("name",),
        "Lines longer than Buffer_Max_Size that Skip_Long_Lines left out.",
        "Raise Buffer_Max_Size, or set Skip_Long_Lines Off to have them cut and marked.",
    ),
    Metric(
        "podwitness_tail_damaged_files_total",
        "counter",
        ("name",),
        "Compressed rotated files that could not be read to their end; what came before the damage was sent.",
        "The log names each; see whether the node's disk was full when they were compressed.",
    ),
    Metric(
        "podwitness_tail_deleted_bytes",
        "gauge",
        ("name",),
        "What deleted files take on disk that are held open, as no output has taken them so far.",
        "At Deleted_Limit the oldest are lost: see why the output does not take them, or set storage.path.",
    ),
    Metric("podwitness_tail_skipped_bytes_total", "counter", ("name",), "Bytes of these lines."),
    Metric("podwitness_tail_cut_bytes_total", "counter", ("name",), "Bytes that these records lost."),
)

HTTP: Final = (
    Metric(
        "podwitness_http_refused_total",
        "counter",
        ("name", "cause"),
        "Requests to an input http that were refused: `body` could not be read, `connections`, `tls`.",
        "The answer tells the client why; `connections` means that there are too many of them.",
    ),
)

CRI: Final = (
    Metric(
        "podwitness_cri_calls_total",
        "counter",
        ("call", "result"),
        "Calls to the node's container runtime: `ok` or `failed`.",
        "The log and /api/v2/health have the reason; labels and image ids are missing meanwhile.",
    ),
    Metric(
        "podwitness_cri_events_total",
        "counter",
        (),
        "Events of containers that the runtime has sent. None where it has no GetContainerEvents.",
    ),
    Metric(
        "podwitness_cri_containers",
        "gauge",
        (),
        "Containers and sandboxes that the runtime has told of, those of the last minutes too.",
    ),
    Metric(
        "podwitness_cri_refused_total",
        "counter",
        (),
        "What the runtime told and was not kept: larger than 1 MiB, or beyond 8 MiB in all.",
        "Look for pods with very large labels or annotations.",
    ),
)

KUBERNETES: Final = (
    Metric(
        "podwitness_kubernetes_requests_total",
        "counter",
        ("name", "request", "result"),
        "Requests to the API server or the kubelet: `ok`, a status that refused, or `unavailable`; "
        "`unreadable` is a change of a watch.",
        "See the log for the server's reason; check Kube_URL, the token and the account's rights.",
    ),
    Metric(
        "podwitness_kubernetes_misses_total",
        "counter",
        ("name", "cause"),
        "Metadata that could not be put to a log when it was asked for: the `pod` or the `container` was "
        "not known, the `parser` that a pod asks for is not there; and records with keys that had to be "
        "`renamed`.",
        "A pod that stays unknown: check that the API server answers and that the account may list pods.",
    ),
)

JOURNAL: Final = (
    Metric(
        "podwitness_journal_read_errors_total",
        "counter",
        ("name",),
        "Entries of the journal that could not be read; they are left out.",
        "Run `journalctl --verify`; look at the disk.",
    ),
    Metric(
        "podwitness_journal_cut_fields_total",
        "counter",
        ("name",),
        "Values of journal fields longer than 2 MiB; they are cut.",
    ),
)

FORWARD: Final = (
    Metric(
        "podwitness_forward_clients", "gauge", ("name",), "Clients that are connected to a forward input."
    ),
    Metric(
        "podwitness_forward_refused_total",
        "counter",
        ("name", "cause"),
        "Connections that a forward input closed or did not let in, by cause.",
        "The log has the client and the reason; too_large: raise Buffer_Max_Size.",
    ),
    Metric(
        "podwitness_forward_malformed_records_total",
        "counter",
        ("name",),
        "What clients sent as entries and are none; each is kept raw as `log` of a record.",
        "Look for the sender by the records' tag.",
    ),
)

GROUPS: Final = {
    "Inputs, filters and outputs": FLUENT_BIT,
    "Delivery": DELIVERY,
    "Spool": SPOOL,
    "Kernel events": KERNEL,
    "Log files": TAIL,
    "Forward clients": FORWARD,
    "Journal": JOURNAL,
    "HTTP clients": HTTP,
    "Kubernetes": KUBERNETES,
    "Container runtime": CRI,
}
TABLE: Final = tuple(metric for group in GROUPS.values() for metric in group)

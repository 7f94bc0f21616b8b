"""The `[SERVICE]` section: what is set for all of podwitness."""

from __future__ import annotations

from dataclasses import dataclass

from collector.config.kinds import Kind, binary_bytes
from collector.config.schema import boolean, choice, integer, key, repeated, seconds, size_bytes, text

LEAST_RECORD_BYTES = 1_000
LOG_LEVELS = ("off", "error", "warn", "info", "debug", "trace")


_log_level = choice(*LOG_LEVELS)
# Fluent Bit takes `warning` for warn.
level_kind = Kind(
    _log_level.name, lambda written: _log_level.read("warn" if written.lower() == "warning" else written)
)


def _read_daemon(written: str) -> bool:
    if boolean.read(written):
        raise ValueError("expected Off: podwitness stays in the foreground, where its supervisor can see it.")
    return False


_storage_type = choice("filesystem", "memory", "memrb")
# Of Fluent Bit's ring in memory only the place is meant: nothing is dropped for what comes later.
storage_type_kind = Kind(
    _storage_type.name,
    lambda written: "memory" if _storage_type.read(written) == "memrb" else _storage_type.read(written),
)

_foreground = Kind("Off", _read_daemon, show=boolean.show)


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Times in seconds."""

    flush_s: float = key("Flush", seconds, default="1", help="Longest time that records wait to be sent.")
    grace_s: float = key(
        "Grace", seconds, default="5", help="Longest time to deliver what is left when stopping."
    )
    daemon: bool = key(
        "Daemon", _foreground, default="Off", help="Only Off: podwitness stays in the foreground."
    )
    log_level: str = key("Log_Level", level_kind, default="info", help="What is logged.")
    log_file: str = key("Log_File", text, default="", help="Where it is logged; standard error when empty.")
    parsers_files: tuple[str, ...] = key(
        "Parsers_File",
        repeated(text),
        default=(),
        help="Files with [PARSER] sections, relative to this file. Without `parsers.conf` and "
        "`custom_parsers.conf` the built-in parsers cri, docker and json are used.",
    )
    http_server: bool = key("HTTP_Server", boolean, default="Off", help="Whether HTTP is answered.")
    http_listen: str = key("HTTP_Listen", text, default="0.0.0.0", help="Address to answer on.")
    http_port: int = key("HTTP_Port", integer(0, 65535), default="2020", help="Port to answer on.")
    health_check: bool = key("Health_Check", boolean, default="Off", help="Whether /api/v1/health exists.")
    hc_errors_count: int = key(
        "HC_Errors_Count",
        integer(0),
        default="5",
        help="Unhealthy above this many output errors in HC_Period.",
    )
    hc_retry_failure_count: int = key(
        "HC_Retry_Failure_Count",
        integer(0),
        default="5",
        help="Unhealthy above this many given up retries in HC_Period.",
    )
    hc_period_s: float = key("HC_Period", seconds, default="60", help="The time over which they are counted.")
    stall_timeout_s: float = key(
        "Stall_Timeout",
        seconds,
        default="120",
        help="/readyz fails when something has not gone on for this time: a chunk that waits for an output, "
        "a file that is not read, probes that are not listened to. /livez fails after three times as long, "
        "and only for what nothing outside podwitness can be the reason of.",
    )
    hot_reload: bool = key(
        "Hot_Reload",
        boolean,
        default="Off",
        help="Whether POST /api/v2/reload reads the configuration anew; SIGHUP always does.",
    )
    host_root: str = key(
        "Host_Root",
        text,
        default="/",
        help="Where the host's root directory is mounted: logs and the runtime's files are below it.",
    )
    cri_socket: str = key(
        "Cri_Socket",
        text,
        default="auto",
        help="Socket of the container runtime, below Host_Root: asked for images, image ids and labels of "
        "pods. `auto`: /run/containerd/containerd.sock, /run/k3s/containerd/containerd.sock or "
        "/run/crio/crio.sock, where one is there; `off`: it is not asked.",
    )
    retry_base_s: float = key(
        "scheduler.base", seconds, default="5", help="The least time before a failed chunk is tried again."
    )
    retry_cap_s: float = key("scheduler.cap", seconds, default="2000", help="The longest such time.")

    multiline_buffer_limit_bytes: int = key(
        "multiline_buffer_limit",
        binary_bytes,
        default="2M",
        help="Longest record that is joined of several lines or parts, by `tail` and by the filter "
        "`multiline`; a longer one is cut and marked. A larger Buffer_Max_Size counts for its input.",
    )

    storage_path: str = key(
        "storage.path",
        text,
        default="",
        help="Folder of the spool: what could not be read again waits there while an output can't take it. "
        "Without it, it waits in memory only.",
    )
    storage_sync: str = key(
        "storage.sync",
        choice("normal", "full"),
        default="normal",
        help="`full` waits for the disk at each write, so that a power cut takes nothing of it.",
    )
    storage_checksum: bool = key(
        "storage.checksum", boolean, default="Off", help="Whether chunks of the spool get a CRC32."
    )
    storage_max_chunks_up: int = key(
        "storage.max_chunks_up",
        integer(1),
        default="128",
        help="Most chunks that were read back from the spool and are not delivered.",
    )
    storage_backlog_bytes: int = key(
        "storage.backlog.mem_limit", size_bytes, default="5M", help="Most bytes of these chunks."
    )
    storage_keep_rejected: bool = key(
        "storage.keep.rejected",
        boolean,
        default="Off",
        help="Whether chunks that an output gives up are kept as files, see `podwitness rejected --help`.",
    )
    storage_rejected_path: str = key(
        "storage.rejected.path", text, default="rejected", help="Their folder, below `storage.path`."
    )
    storage_rejected_bytes: int = key(
        "storage.rejected.limit",
        size_bytes,
        default="100M",
        help="Most bytes of that folder; what goes beyond is not kept.",
    )

    storage_type: str = key(
        "storage.type",
        storage_type_kind,
        default="filesystem",
        help="With storage.inherit: what inputs without a storage.type of their own have.",
    )
    storage_inherit: bool = key("storage.inherit", boolean, default="Off", help="Whether they have it.")
    storage_metrics: bool = key(
        "storage.metrics", boolean, default="On", help="Whether /api/v1/storage exists."
    )

    def __post_init__(self) -> None:
        if self.stall_timeout_s <= 0:
            raise ValueError("Stall_Timeout must be more than 0.")
        if self.retry_base_s > self.retry_cap_s:
            raise ValueError("scheduler.base must not be larger than scheduler.cap.")
        if self.multiline_buffer_limit_bytes < LEAST_RECORD_BYTES:
            raise ValueError("multiline_buffer_limit must be 1k or more.")
        if self.flush_s <= 0:
            raise ValueError("Flush must be more than 0.")
        if self.storage_keep_rejected and not self.storage_path:
            raise ValueError("storage.keep.rejected needs storage.path.")

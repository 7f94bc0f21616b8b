"""`[FILTER] Name kubernetes`: whose log it is, and JSON logs lifted into the record.

As Fluent Bit's plugins/filter_kubernetes, except for where the identity comes from: not from the API server
but from log paths, cgroups and the runtime (collector/identity). So it is there from the first line on, and
when the API server is not; labels and annotations are not there yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from collector.accessor import names
from collector.config.kinds import Kind, boolean, integer, seconds, size_bytes, text
from collector.config.schema import key, keys_of
from collector.identity.identity import Identity
from collector.identity.paths import read_tag
from collector.native.logs import json_pairs
from collector.plan import EventPlan, Field, Framing, LogPlan, Merge, Op, Step
from collector.plugin import Filter, LogSource, Pairs

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Adds the pod that a log line is from, and lifts JSON logs into the record."
KUBERNETES = "kubernetes"
_LOG = "log"  # Merge_Log looks at this key and no other
_UNUSED = "Not used yet, the identity comes from paths and cgroups. "


def _unused(name: str, kind: Kind[Any], default: str, meaning: str) -> Any:
    """A key of Fluent Bit that asks for something of the API server or the kubelet."""
    return key(name, kind, default=default, help=_UNUSED + meaning)


@dataclass(frozen=True, slots=True)
class Settings:
    merge_log: bool = key("Merge_Log", boolean, default="Off", help="Lift a JSON object in `log`.")
    merge_log_key: str = key("Merge_Log_Key", text, default="", help="Put what is lifted under this key.")
    merge_log_trim: bool = key(
        "Merge_Log_Trim", boolean, default="On", help="Cut newlines at the end of texts that are lifted."
    )
    keep_log: bool = key("Keep_Log", boolean, default="On", help="Keep `log` when it was lifted.")
    kube_tag_prefix: str = key(
        "Kube_Tag_Prefix",
        text,
        default="kube.var.log.containers.",
        help="What stands before a link's name in the tag; used where the path names no container.",
    )
    k8s_logging_parser: bool = _unused(
        "K8S-Logging.Parser", boolean, "Off", "Pods choose a parser by annotation."
    )
    k8s_logging_exclude: bool = _unused(
        "K8S-Logging.Exclude", boolean, "Off", "Pods keep their logs out by annotation."
    )
    labels: bool = _unused("Labels", boolean, "On", "The pod's labels.")
    annotations: bool = _unused("Annotations", boolean, "On", "The pod's annotations.")
    kube_url: str = _unused("Kube_URL", text, "https://kubernetes.default.svc:443", "The API server.")
    kube_ca_file: str = _unused(
        "Kube_CA_File", text, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", "Its certificates."
    )
    kube_ca_path: str = _unused("Kube_CA_Path", text, "", "A folder of them.")
    kube_token_file: str = _unused(
        "Kube_Token_File", text, "/var/run/secrets/kubernetes.io/serviceaccount/token", "The token for it."
    )
    kube_token_ttl_s: float = _unused(
        "Kube_Token_TTL", seconds, "10m", "How long the token is not read again."
    )
    kube_meta_cache_ttl_s: float = _unused(
        "Kube_Meta_Cache_TTL", seconds, "0", "How long its answers are kept."
    )
    kube_meta_namespace_cache_ttl_s: float = _unused(
        "Kube_Meta_Namespace_Cache_TTL", seconds, "15m", "The same for namespaces."
    )
    buffer_size_bytes: int = _unused("Buffer_Size", size_bytes, "32k", "The longest answer.")
    cache_use_docker_id: bool = _unused(
        "Cache_Use_Docker_Id", boolean, "Off", "Ask again when the container's id changes."
    )
    use_kubelet: bool = _unused("Use_Kubelet", boolean, "Off", "Ask the kubelet instead.")
    kubelet_host: str = _unused("Kubelet_Host", text, "127.0.0.1", "Where it is.")
    kubelet_port: int = _unused("Kubelet_Port", integer(1, 65535), "10250", "Its port.")
    dns_retries: int = _unused("DNS_Retries", integer(0), "6", "How often its name is looked up.")
    dns_wait_time_s: float = _unused("DNS_Wait_Time", seconds, "30", "The time between.")
    tls_verify: bool = _unused("tls.verify", boolean, "On", "Check its certificate.")
    tls_verify_hostname: bool = _unused("tls.verify_hostname", boolean, "Off", "Check the name in it.")
    tls_vhost: str = _unused("tls.vhost", text, "", "The name to ask for.")
    tls_debug: int = _unused("tls.debug", integer(0, 4), "0", "What is logged of TLS.")


class Kubernetes:
    """The filter of one section. `fold_log` and `apply` make the same records."""

    def __init__(self, settings: Settings, node: str, matches: Callable[[str], bool]) -> None:
        self.matches = matches
        self._node = node
        self._prefix_length = len(settings.kube_tag_prefix)
        self._merge: Merge | None = None
        if settings.merge_log:
            under, keep, trim = settings.merge_log_key, settings.keep_log, settings.merge_log_trim
            self._merge = Merge(_LOG, under, keep, trim)

    def fold_log(self, plan: LogPlan, source: LogSource) -> LogPlan | None:
        """None where another filter of the stream merges already: a plan has one Merge."""
        kubernetes = self._kubernetes(source.tag, source.identity)
        if not kubernetes:
            return plan
        steps: tuple[Step, ...] = ()
        if self._merge is not None and _may_have_log(plan):
            if plan.merges:
                return None
            steps += (self._merge,)
        own = Field(Op.APPEND, KUBERNETES, kubernetes)
        return plan.then(*steps) if own in plan.steps else plan.then(*steps, own)

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        """Events have their identity from the input."""
        return plan

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        kubernetes = self._kubernetes(tag, identity)
        if not kubernetes:
            return record
        # Events come with it.
        is_there = any(names(one, KUBERNETES) and value == kubernetes for one, value in record)
        if self._merge is not None:
            record = _merged(record, self._merge)
        return record if is_there else [*record, (KUBERNETES, kubernetes)]

    def _kubernetes(self, tag: str, identity: Identity | None) -> dict[str, Any]:
        """The map of the pod; {} for what is of none: it passes as it is."""
        if identity is not None:
            return identity.kubernetes()
        name = read_tag(tag, self._prefix_length)
        if name is None:
            return {}
        return Identity(
            self._node,
            name.container_id,
            namespace=name.namespace,
            pod_name=name.pod_name,
            container_name=name.container_name,
        ).kubernetes()


def _may_have_log(plan: LogPlan) -> bool:
    # Without a content key, a line that doesn't fit the framing is kept under `log`.
    if plan.framing is Framing.JSON or plan.layout.content in (_LOG, ""):
        return True
    return any(isinstance(step, Merge) or step.key == _LOG for step in plan.steps)


def _merged(record: Pairs, merge: Merge) -> Pairs:
    """As collector.plan.Merge says. Of keys that repeat inside a nested map, the last is kept."""
    index = next((i for i, (one, _) in enumerate(record) if names(one, merge.key)), None)
    lifted = None if index is None else _lifted(record[index][1], trim=merge.trim)
    if index is None or lifted is None:
        return record
    kept = record if merge.keep else record[:index] + record[index + 1 :]
    if merge.under and lifted:
        return [*kept, (merge.under, dict(lifted))]
    return [*kept, *lifted]


def _lifted(value: Any, *, trim: bool) -> Pairs | None:
    """The pairs of a map, or of a text that is exactly one JSON object."""
    if isinstance(value, dict):
        return list(value.items())
    if not isinstance(value, str):
        return None
    found = json_pairs(value.encode("utf-8", "surrogateescape"), trim=trim)
    if found is None:
        return None
    count, packed = found
    unpacker = msgpack.Unpacker(unicode_errors="surrogateescape", max_buffer_size=max(len(packed), 1))
    unpacker.feed(packed)
    return [(unpacker.unpack(), unpacker.unpack()) for _ in range(count)]


def make(settings: Settings, context: Context) -> Filter:
    """Says in one line which keys of the section are without effect."""
    used = {one.name.lower() for one in keys_of(Settings) if not one.help.startswith(_UNUSED)}
    known = {one.name.lower() for one in keys_of(Settings)} - used
    without_effect = [entry.key for entry in context.plugin.section.entries if entry.key.lower() in known]
    if without_effect:
        context.log.info(
            "%s: pods are known by log paths, cgroups and the runtime, without the API server. Labels, "
            "annotations and what pods ask for by annotation are not there yet: %s have no effect.",
            context.name,
            ", ".join(dict.fromkeys(without_effect)),
        )
    return Kubernetes(settings, context.node, context.plugin.matches)

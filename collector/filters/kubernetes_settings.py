"""The configuration of the filter kubernetes: Fluent Bit's keys, and Compat."""

from __future__ import annotations

from dataclasses import dataclass

from collector.config.kinds import boolean, choice, integer, seconds, size_bytes, text
from collector.config.schema import key
from collector.kubernetes.access import ServerSettings


@dataclass(frozen=True, slots=True)
class Settings(ServerSettings):
    """Keys of [FILTER] Name kubernetes."""

    compat: str = key(
        "Compat",
        choice("strict", "safe"),
        default="strict",
        help="`strict`: records byte for byte as Fluent Bit's, which have no `kubernetes` while the API "
        "server has not told of the pod. `safe`: what the log's path says is there in any case, ephemeral "
        "containers, the workload and the image's id too, and no key comes twice.",
    )
    merge_log: bool = key("Merge_Log", boolean, default="Off", help="Lift a JSON object in `log`.")
    merge_log_key: str = key("Merge_Log_Key", text, default="", help="Put what is lifted under this key.")
    merge_log_trim: bool = key(
        "Merge_Log_Trim", boolean, default="On", help="Cut newlines at the end of texts that are lifted."
    )
    merge_parser: str = key(
        "Merge_Parser", text, default="", help="A parser that takes `log` apart, instead of JSON."
    )
    keep_log: bool = key("Keep_Log", boolean, default="On", help="Keep `log` when it was lifted.")
    kube_tag_prefix: str = key(
        "Kube_Tag_Prefix",
        text,
        default="kube.var.log.containers.",
        help="What stands before a link's name in the tag; only its length counts.",
    )
    regex_parser: str = key(
        "Regex_Parser",
        text,
        default="",
        help="A parser with Format regex that finds pod_name, namespace_name, container_name and docker_id "
        "in the rest of the tag, or in CONTAINER_NAME.",
    )
    use_journal: bool = key(
        "Use_Journal",
        boolean,
        default="Off",
        help="Names are in the record's CONTAINER_NAME, as docker wrote.",
    )
    k8s_logging_parser: bool = key(
        "K8S-Logging.Parser", boolean, default="Off", help="Pods choose a parser by annotation."
    )
    k8s_logging_exclude: bool = key(
        "K8S-Logging.Exclude", boolean, default="Off", help="Pods keep their logs out by annotation."
    )
    namespace_exclude: bool = key(
        "Namespace_Exclude", boolean, default="Off", help="Namespaces do so for their pods."
    )
    labels: bool = key("Labels", boolean, default="On", help="The pod's labels.")
    annotations: bool = key("Annotations", boolean, default="On", help="The pod's annotations.")
    owner_references: bool = key("Owner_References", boolean, default="Off", help="What owns the pod.")
    namespace_labels: bool = key(
        "Namespace_Labels", boolean, default="Off", help="The namespace's labels, in `kubernetes_namespace`."
    )
    namespace_annotations: bool = key(
        "Namespace_Annotations", boolean, default="Off", help="Its annotations, there too."
    )
    namespace_metadata_only: bool = key(
        "Namespace_Metadata_Only", boolean, default="Off", help="Nothing of the pod."
    )
    use_tag_for_meta: bool = key(
        "Use_Tag_For_Meta", boolean, default="Off", help="Only what the tag says; nobody is asked."
    )
    dummy_meta: bool = key("Dummy_Meta", boolean, default="Off", help="The time instead, for trying out.")
    kube_url: str = key(
        "Kube_URL",
        text,
        default="https://kubernetes.default.svc:443",
        help="The API server. It is asked when this is set or Kube_Token_File exists; otherwise pods are "
        "known by log paths, cgroups and the runtime.",
    )
    kube_token_command: str = key(
        "Kube_Token_Command", text, default="", help="A command that prints the token instead."
    )
    kube_meta_preload_cache_dir: str = key(
        "Kube_Meta_Preload_Cache_Dir",
        text,
        default="",
        help="A folder with <namespace>_<pod>.meta and <namespace>.namespace_meta, which come first.",
    )
    kube_meta_cache_ttl_s: float = key(
        "Kube_Meta_Cache_TTL",
        seconds,
        default="0",
        help="Accepted; the watch says when something becomes another.",
    )
    kube_meta_namespace_cache_ttl_s: float = key(
        "Kube_Meta_Namespace_Cache_TTL",
        seconds,
        default="15m",
        help="How long a namespace is not asked for again; 0: never.",
    )
    buffer_size_bytes: int = key(
        "Buffer_Size", size_bytes, default="32k", help="Accepted; answers are read up to 4 MiB."
    )
    cache_use_docker_id: bool = key(
        "Cache_Use_Docker_Id", boolean, default="Off", help="Accepted; a new container is always seen as one."
    )
    use_kubelet: bool = key(
        "Use_Kubelet", boolean, default="Off", help="Ask the kubelet for its pods, not the API server."
    )
    kubelet_host: str = key("Kubelet_Host", text, default="127.0.0.1", help="Where it is.")
    kubelet_port: int = key("Kubelet_Port", integer(1, 65535), default="10250", help="Its port.")
    tls_debug: int = key(
        "tls.debug", integer(0, 4), default="0", help="Accepted; what is wrong with TLS is in the log."
    )

    @property
    def wants_namespace(self) -> bool:
        """Whether a record has `kubernetes_namespace`."""
        return self.namespace_labels or self.namespace_annotations

"""Keys of Fluent Bit that podwitness does not use: accepted with a reason, or refused by name."""

from __future__ import annotations

_OWN_BUFFER = "a followed file is its own buffer, its position moves when the output has acknowledged"
_NO_THREADS = "there are no worker threads to set up"
_SYSTEM_RESOLVER = "names are looked up by the system's resolver"

# Kind of section -> key (lower case) -> why leaving it out changes nothing for the operator.
IGNORED: dict[str, dict[str, str]] = {
    "service": {
        "coro_stack_size": "podwitness has no coroutine stacks",
        "hot_reload.ensure_thread_safety": "a reload needs no such precaution",
        "hot_reload.timeout": "a reload stops nothing that could hang; a stopped input has Grace",
        "plugins_file": "podwitness loads no plugins from files; one that is used is refused by name",
        "storage.backlog.flush_on_shutdown": "the spool is delivered from until the end of Grace",
        "storage.delete_irrecoverable_chunks": "a chunk that can't be read is removed, counted and told",
        "storage.inherit": "storage.type is filesystem unless an input says otherwise",
        "storage.metrics": "the numbers of the spool are always among the metrics",
        "storage.trim_files": "the spool gives its room back when it is emptied",
    },
    "input": {
        "storage.pause_on_chunks_overlimit": _OWN_BUFFER,
        "threaded": _NO_THREADS,
        "tls.debug": "what is wrong with TLS is in the log",
    },
    "filter": {},
    "processor": {
        "match": "a processor gets all records of its input",
        "match_regex": "a processor gets all records of its input",
    },
    "output": {
        "buffer_size": "answers of servers are read up to 16 MiB",
        "fluentd_compat": "it is about metrics and traces, which podwitness does not send",
        "net.connect_timeout_log_error": "a failure is logged when it is news, not each time",
        "net.dns.mode": _SYSTEM_RESOLVER,
        "net.dns.resolver": _SYSTEM_RESOLVER,
        "tls.debug": "what is wrong with TLS is in the log",
        "workers": _NO_THREADS,
    },
}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TLS_AND_NET = _names("""
    net.connect_timeout net.connect_timeout_log_error net.dns.mode net.dns.prefer_ipv4
    net.dns.prefer_ipv6 net.dns.resolver net.io_timeout net.keepalive net.keepalive_idle_timeout
    net.keepalive_max_recycle net.max_worker_connections net.proxy_env_ignore net.source_address
    net.tcp_keepalive net.tcp_keepalive_interval net.tcp_keepalive_probes net.tcp_keepalive_time tls
    tls.ca_file tls.ca_path tls.ciphers tls.crt_file tls.debug tls.key_file tls.key_passwd
    tls.max_version tls.min_version tls.verify tls.verify_hostname tls.vhost
""")
_SERVER_TLS = _names("""
    net.backlog net.io_timeout net.keepalive net.share_port tls tls.ca_file tls.ca_path tls.ciphers
    tls.crt_file tls.debug tls.key_file tls.key_passwd tls.max_version tls.min_version tls.verify
    tls.verify_client_cert tls.verify_hostname tls.vhost
""")
_AWS = _names("""
    aws_auth aws_external_id aws_profile aws_region aws_role_arn aws_service aws_service_name
    aws_sts_endpoint
""")
_OAUTH2 = _names("""
    oauth2.audience oauth2.auth_method oauth2.client_id oauth2.client_secret oauth2.connect_timeout
    oauth2.enable oauth2.jwt_aud oauth2.jwt_cert_file oauth2.jwt_header oauth2.jwt_key_file
    oauth2.jwt_ttl_seconds oauth2.refresh_skew_seconds oauth2.resource oauth2.scope oauth2.timeout
    oauth2.token_url oauth2.user_agent
""")
_BULK = _names("""
    cloud_auth cloud_id compress current_time_index generate_id header host http_api_key
    http_passwd http_user id_key include_tag_key index logstash_dateformat logstash_format
    logstash_prefix logstash_prefix_key logstash_prefix_separator path pipeline port replace_dots
    suppress_type_name tag_key target_index time_key time_key_format time_key_nanos trace_error
    trace_output type upstream write_operation
""")

# Plugin -> keys that Fluent Bit 5 knows for it. Those that podwitness declares too are supported.
FLUENT_BIT: dict[tuple[str, str], frozenset[str]] = {
    ("service", ""): _names("""
        config_watch dns.mode dns.prefer_ipv4 dns.prefer_ipv6 dns.resolver enable_chunk_trace
        http_proxy
        json.convert_nan_to_null json.escape_unicode sp.convert_from_str_to_num streams_file
    """),
    ("input", "tail"): _names("""
        buffer_chunk_size buffer_max_size db db.compare_filename db.journal_mode db.locking db.sync
        docker_mode docker_mode_flush docker_mode_parser exclude_path exit_on_eof file_cache_advise
        generic.encoding ignore_active_older_files ignore_older inotify_watcher key keep_file_handle
        multiline multiline.parser multiline_flush offset_key parser parser_firstline path path_key
        progress_check_interval progress_check_interval_nsec read_from_head
        read_newly_discovered_files_from_head refresh_interval rotate_wait skip_empty_lines
        skip_long_lines static_batch_size tag_regex truncate_long_lines unicode.encoding
        watcher_interval
    """),
    ("input", "systemd"): _names("""
        db db.sync lowercase max_entries max_fields path read_from_tail strip_underscores
        systemd_filter systemd_filter_type
    """),
    ("filter", "kubernetes"): _names("""
        annotations aws_pod_association_host aws_pod_association_port aws_use_pod_association
        buffer_size cache_use_docker_id dns_retries dns_wait_time dummy_meta k8s-logging.exclude
        k8s-logging.parser keep_log kube_ca_file kube_ca_path kube_meta_cache_ttl
        kube_meta_namespace_cache_ttl kube_meta_preload_cache_dir kube_tag_prefix
        kube_token_command kube_token_file kube_token_ttl kube_url kubelet_host kubelet_port labels
        merge_log merge_log_key merge_log_trim merge_parser namespace_annotations namespace_labels
        namespace_metadata_only owner_references regex_parser tls.debug tls.verify
        tls.verify_hostname tls.vhost use_journal use_kubelet use_tag_for_meta
    """),
    ("input", "dummy"): _names("test_hang_on_exit"),
    ("input", "cpu"): _names("pid"),
    ("input", "mem"): _names("pid"),
    ("output", "forward"): _TLS_AND_NET
    | _names("""
        add_option compress empty_shared_key fluentd_compat host password port require_ack_response
        retain_metadata_in_forward_mode self_hostname send_options shared_key tag time_as_integer
        unix_path upstream username
    """),
    ("input", "forward"): _SERVER_TLS
    | _names("""
        buffer_chunk_size buffer_max_size empty_shared_key security.users self_hostname shared_key tag
        tag_prefix unix_path unix_perm
    """),
    ("output", "http"): _TLS_AND_NET
    | _AWS
    | _OAUTH2
    | _names("""
        allow_duplicated_headers body_key compress format gelf_full_message_key gelf_host_key
        gelf_level_key gelf_short_message_key gelf_timestamp_key header header_tag headers_key host
        http.read_idle_timeout http.response_timeout http_method http_passwd http_user json_date_format
        json_date_key log_response_payload port proxy uri
    """),
    ("output", "es"): _TLS_AND_NET | _AWS | _BULK,
    ("output", "opensearch"): _TLS_AND_NET | _AWS | _BULK,
    ("output", "loki"): _TLS_AND_NET
    | _names("""
        auto_kubernetes_labels bearer_token buffer_size compress drop_single_key header host http_passwd
        http_user label_keys label_map_path labels line_format port remove_keys structured_metadata
        structured_metadata_map_keys tenant_id tenant_id_key uri
    """),
    ("output", "opentelemetry"): _TLS_AND_NET
    | _AWS
    | _OAUTH2
    | _names("""
        add_label batch_size compress grpc grpc_logs_uri grpc_metrics_uri grpc_profiles_uri
        grpc_traces_uri header host http2 http_passwd http_user log_response_payload
        logs_attributes_metadata_key logs_body_key logs_body_key_attributes
        logs_instrumentation_scope_metadata_key logs_max_resources logs_max_scopes logs_metadata_key
        logs_observed_timestamp_metadata_key logs_resource_metadata_key
        logs_severity_number_message_key logs_severity_number_metadata_key
        logs_severity_text_message_key logs_severity_text_metadata_key logs_span_id_message_key
        logs_span_id_metadata_key logs_timestamp_metadata_key logs_trace_flags_metadata_key
        logs_trace_id_message_key logs_trace_id_metadata_key logs_uri metrics_uri port profiles_uri
        proxy traces_uri
    """),
    ("output", "kafka"): _names("""
        brokers client_id dynamic_topic format gelf_full_message_key gelf_host_key gelf_level_key
        gelf_short_message_key gelf_timestamp_key group_id message_key message_key_field
        queue_full_retries raw_log_key schema_id schema_str timestamp_format timestamp_key topic_key topics
    """),
    ("output", "stdout"): _names("format json_date_format json_date_key"),
    ("output", "file"): _names("csv_column_names delimiter file format label_delimiter mkdir path template"),
}
FLUENT_BIT_COMMON: dict[str, frozenset[str]] = {
    "input": _names("host listen log_suppress_interval mem_buf_limit port routable"),
    "filter": _names("log_suppress_interval"),
    "output": _names("log_suppress_interval storage.inherit"),
}


# Plugins of Fluent Bit that podwitness has not, where something else does their work.
INSTEAD: dict[tuple[str, str], str] = {
    ("filter", "lua"): "podwitness runs no scripts: modify, record_modifier, nest, grep, parser and "
    "rewrite_tag do what most of them are for.",
    ("filter", "wasm"): "podwitness runs no code of others: modify, record_modifier, nest, grep, parser and "
    "rewrite_tag do what most of it is for.",
    ("filter", "aws"): "Add the node's labels by the filter kubernetes, or fixed values by record_modifier.",
    ("filter", "type_converter"): "Give the types to the parser, by its key Types.",
    ("processor", "content_modifier"): "Use the filter modify: add for insert, set for upsert, and remove, "
    "rename; parser for extract.",
    ("processor", "sql"): "Use the filters grep, modify and record_modifier.",
    ("processor", "opentelemetry_envelope"): "The output opentelemetry makes the envelope by itself.",
    ("input", "docker_events"): "The input ebpf tells of containers and their processes.",
    ("input", "netif"): "The input ebpf tells of connections.",
    ("input", "syslog"): "Let the journal take it, and read that by the input systemd.",
    ("input", "exec"): "podwitness starts no programs: write to a file, and follow it by the input tail.",
    ("output", "splunk"): "Send by the output http, to the collector's raw endpoint.",
    ("output", "elasticsearch"): "It is called es.",
    ("output", "prometheus_exporter"): "Metrics are served at /metrics when HTTP_Server is On.",
}


def unsupported(kind: str, plugin: str) -> frozenset[str]:
    """Names, in lower case, of what Fluent Bit knows in a section of this plugin."""
    return FLUENT_BIT.get((kind, plugin), frozenset()) | FLUENT_BIT_COMMON.get(kind, frozenset())

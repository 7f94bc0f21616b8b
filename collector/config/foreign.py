"""Keys of Fluent Bit that podwitness does not use: accepted with a reason, or refused by name.

A test holds these tables against the keys that each plugin declares: every key of Fluent Bit is
one of ours, or ignored with a reason, or refused with what to do instead.
"""

from __future__ import annotations

_OWN_BUFFER = "a followed file is its own buffer, its position moves when the output has acknowledged"
_NO_THREADS = "there are no worker threads to set up"
_SYSTEM_RESOLVER = "names are looked up by the system's resolver"
_WATCHED = "files are watched, and read as they grow"
_PORTIONS = "a file is read in portions of bounded size, in turns with others"
_LISTENING = "clients have time limits of our own, and a port is of one process"
_FLUSH = "a chunk that is full is sent at once, others when Flush is over"
_REPEATED = "what goes on is logged when it begins and when it ends"

# Kind of section, or kind and plugin -> key (lower case) -> why leaving it out changes nothing.
IGNORED: dict[str, dict[str, str]] = {
    "service": {
        "coro_stack_size": "podwitness has no coroutine stacks",
        "dns.mode": _SYSTEM_RESOLVER,
        "dns.resolver": _SYSTEM_RESOLVER,
        "enable_chunk_trace": "chunks can't be traced; Log_Level trace names them",
        "flush.adaptive": _FLUSH,
        "flush.adaptive.down_steps": _FLUSH,
        "flush.adaptive.high_pressure": _FLUSH,
        "flush.adaptive.low_pressure": _FLUSH,
        "flush.adaptive.max_interval": _FLUSH,
        "flush.adaptive.medium_pressure": _FLUSH,
        "flush.adaptive.min_interval": _FLUSH,
        "flush.adaptive.up_steps": _FLUSH,
        "json.convert_nan_to_null": "what is no number is null in JSON",
        "json.escape_unicode": "JSON is written in UTF-8, which reads the same",
        "hot_reload.ensure_thread_safety": "a reload needs no such precaution",
        "hot_reload.timeout": "a reload stops nothing that could hang; a stopped input has Grace",
        "plugins_file": "podwitness loads no plugins from files; one that is used is refused by name",
        "storage.backlog.flush_on_shutdown": "the spool is delivered from until the end of Grace",
        "storage.delete_irrecoverable_chunks": "a chunk that can't be read is removed, counted and told",
        "sp.convert_from_str_to_num": "podwitness has no stream processor",
        "storage.trim_files": "the spool gives its room back when it is emptied",
        "windows.maxstdio": "this is not Windows",
    },
    "input": {
        "log_suppress_interval": _REPEATED,
        "storage.pause_on_chunks_overlimit": _OWN_BUFFER,
        "thread.ring_buffer.capacity": _NO_THREADS,
        "thread.ring_buffer.window": _NO_THREADS,
        "threaded": _NO_THREADS,
        "tls.debug": "what is wrong with TLS is in the log",
    },
    "input tail": {
        "event_batch_size": _PORTIONS,
        "fstat_interval": _WATCHED,
        "file_cache_advise": "what was read is left to the kernel's own judgement",
        "keep_file_handle": "a followed file is held open",
        "progress_check_interval": _WATCHED,
        "progress_check_interval_nsec": _WATCHED,
        "read_newly_discovered_files_from_head": "files that appear later are read from their head",
        "static_batch_size": _PORTIONS,
        "watcher_interval": _WATCHED,
    },
    "input forward": {
        "net.backlog": _LISTENING,
        "net.io_timeout": _LISTENING,
        "net.keepalive": _LISTENING,
        "net.share_port": _LISTENING,
        "tls.verify_hostname": "clients have no host name to be checked",
        "tls.vhost": "clients say by themselves which name they ask for",
    },
    "input http": {
        "http_server.idle_timeout": _LISTENING,
        "http_server.ingress_queue_byte_limit": _NO_THREADS,
        "http_server.ingress_queue_event_limit": _NO_THREADS,
        "http_server.workers": _NO_THREADS,
        "net.backlog": _LISTENING,
        "net.io_timeout": _LISTENING,
        "net.keepalive": _LISTENING,
        "net.share_port": _LISTENING,
        "tls.verify_hostname": "clients have no host name to be checked",
        "tls.vhost": "clients say by themselves which name they ask for",
        "workers": _NO_THREADS,
    },
    "input dummy": {"test_hang_on_exit": "it is for tests of Fluent Bit itself"},
    "filter": {"log_suppress_interval": _REPEATED},
    "filter kubernetes": {
        "kube_meta_io_timeout": "no record waits for an answer for longer than 5 s",
        "kube_meta_negative_cache_ttl": "a pod that is not there is not asked for again for a minute",
        "kube_namespace_file": "pods are found by their node, and not by the agent's own namespace",
    },
    "filter multiline": {"debug_flush": "an output stdout shows what was joined"},
    "filter parser": {"unescape_key": "Fluent Bit does nothing with it either"},
    "filter rewrite_tag": {"recursion_action": "no record comes to the same filter twice"},
    "filter throttle": {"retain": "Fluent Bit only prints it"},
    "processor": {
        "match": "a processor gets all records of its input or output",
        "match_regex": "a processor gets all records of its input or output",
    },
    "output": {
        "buffer_size": "answers of servers are read up to 16 MiB",
        "log_suppress_interval": _REPEATED,
        "storage.inherit": "storage.type is filesystem unless an input says otherwise",
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
_EMITTER = _names("emitter_mem_buf_limit emitter_name emitter_storage.type")
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
        config_watch coro_stack_size daemon dns.mode dns.prefer_ipv4 dns.prefer_ipv6 dns.resolver
        enable_chunk_trace flush flush.adaptive flush.adaptive.down_steps flush.adaptive.high_pressure
        flush.adaptive.low_pressure flush.adaptive.max_interval flush.adaptive.medium_pressure
        flush.adaptive.min_interval flush.adaptive.up_steps grace hc_errors_count hc_period
        hc_retry_failure_count health_check hot_reload hot_reload.ensure_thread_safety hot_reload.timeout
        http_listen http_port http_proxy http_server json.convert_nan_to_null json.escape_unicode log_file
        log_level multiline_buffer_limit parsers_file plugins_file scheduler.base scheduler.cap
        security.fips_mode sp.convert_from_str_to_num storage.backlog.flush_on_shutdown
        storage.backlog.mem_limit storage.checksum storage.delete_irrecoverable_chunks storage.inherit
        storage.keep.rejected storage.max_chunks_up storage.metrics storage.path storage.rejected.limit
        storage.rejected.path storage.sync storage.trim_files storage.type streams_file
        telemetry.metrics.logs.tag_records.enabled telemetry.metrics.logs.tag_records.max_series
        telemetry.metrics.logs.tag_records.max_tag_length windows.maxstdio
    """),
    ("input", "tail"): _names("""
        buffer_chunk_size buffer_max_size db db.compare_filename db.journal_mode db.locking db.sync
        docker_mode docker_mode_flush docker_mode_parser event_batch_size exclude_path exit_on_eof
        file_cache_advise fstat_interval generic.encoding ignore_active_older_files ignore_older
        inotify_watcher keep_file_handle key multiline multiline.parser multiline_flush offset_key parser
        parser_firstline parser_{number} path path_key progress_check_interval progress_check_interval_nsec
        read_from_head read_newly_discovered_files_from_head refresh_interval rotate_wait
        skip_empty_lines skip_long_lines static_batch_size tag_regex truncate_long_lines
        unicode.encoding watcher_interval
    """),
    ("input", "systemd"): _names("""
        db db.sync lowercase max_entries max_fields path read_from_tail read_since_minutes_ago
        strip_underscores systemd_filter systemd_filter_type
    """),
    ("filter", "kubernetes"): _names("""
        annotations aws_pod_association_endpoint aws_pod_association_host
        aws_pod_association_host_client_cert_file aws_pod_association_host_client_key_file
        aws_pod_association_host_server_ca_file aws_pod_association_host_tls_debug
        aws_pod_association_host_tls_verify aws_pod_association_port
        aws_pod_service_map_refresh_interval aws_pod_service_map_ttl
        aws_pod_service_preload_cache_dir aws_use_pod_association set_platform use_pod_association
        buffer_size cache_use_docker_id dns_retries dns_wait_time dummy_meta k8s-logging.exclude
        k8s-logging.parser keep_log kube_ca_file kube_ca_path kube_meta_cache_ttl kube_meta_io_timeout
        kube_meta_namespace_cache_ttl kube_meta_negative_cache_ttl kube_meta_preload_cache_dir
        kube_namespace_file kube_tag_prefix
        kube_token_command kube_token_file kube_token_ttl kube_url kubelet_host kubelet_port labels
        merge_log merge_log_key merge_log_trim merge_parser namespace_annotations namespace_exclude
        namespace_labels namespace_metadata_only owner_references regex_parser tls.debug tls.verify
        tls.verify_hostname tls.vhost use_journal use_kubelet use_tag_for_meta
    """),
    ("input", "dummy"): _names("""
        copies dummy fixed_timestamp flush_on_startup interval_nsec interval_sec metadata rate samples
        start_time_nsec start_time_sec test_hang_on_exit
    """),
    ("input", "kubernetes_events"): _names("""
        db db.journal_mode db.locking db.sync dns_retries dns_wait_time interval_nsec interval_sec
        kube_ca_file kube_ca_path kube_namespace kube_request_limit kube_retention_time kube_token_file
        kube_token_ttl kube_url timestamp_key tls.debug tls.verify tls.verify_hostname tls.vhost
    """),
    ("input", "cpu"): _names("interval_nsec interval_sec pid"),
    ("input", "mem"): _names("interval_nsec interval_sec pid"),
    ("input", "http"): _SERVER_TLS
    | _names("""
        add_remote_addr buffer_chunk_size buffer_max_size http2 http_server.buffer_chunk_size
        http_server.buffer_max_size http_server.http2 http_server.idle_timeout
        http_server.ingress_queue_byte_limit http_server.ingress_queue_event_limit
        http_server.max_connections http_server.workers
        max_connections oauth2.allowed_audience oauth2.allowed_clients oauth2.issuer
        oauth2.jwks_refresh_interval oauth2.jwks_url oauth2.validate remote_addr_key success_header
        successful_response_code tag_key workers
    """),
    ("filter", "modify"): _names("""
        add condition copy hard_copy hard_rename move_to_end move_to_start remove remove_regex
        remove_wildcard rename set
    """),
    ("filter", "parser"): _names("key_name nest_under parser preserve_key reserve_data unescape_key"),
    ("filter", "grep"): _names("exclude logical_op regex"),
    ("filter", "record_modifier"): _names("allowlist_key record remove_key uuid_key whitelist_key"),
    ("filter", "nest"): _names("add_prefix nest_under nested_under operation remove_prefix wildcard"),
    ("filter", "rewrite_tag"): _EMITTER | _names("recursion_action rule"),
    ("filter", "throttle"): _names("interval print_status rate retain window"),
    ("filter", "multiline"): _EMITTER
    | _names("buffer debug_flush flush_ms mode multiline.key_content multiline.parser"),
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
        queue_full_retries raw_log_key rdkafka.{property} schema_id schema_str timestamp_format
        timestamp_key topic_key topics
    """),
    ("output", "stdout"): _names("format json_date_format json_date_key"),
    ("output", "null"): _names("format"),
    ("output", "file"): _names("csv_column_names delimiter file format label_delimiter mkdir path template"),
}
# Refused keys whose Off is no default, and so changes something.
ON_UNLESS_TOLD = frozenset({"routable"})
FLUENT_BIT_COMMON: dict[str, frozenset[str]] = {
    "input": _names("""
        alias host listen log_level log_suppress_interval mem_buf_limit name port routable
        storage.pause_on_chunks_overlimit storage.type tag thread.ring_buffer.capacity
        thread.ring_buffer.window threaded
    """),
    "filter": _names("alias log_level log_suppress_interval match match_regex name"),
    "output": _names("""
        alias log_level log_suppress_interval match match_regex name retry_limit storage.inherit
        storage.total_limit_size workers
    """),
}

_SIGNING = "Send through a proxy that signs requests, such as aws-sigv4-proxy."
_TOKENS = "Give a token by Header (Authorization Bearer ...), or send through a proxy that fetches tokens."
_CLIENT_CERTIFICATES = "Ask clients for certificates, by tls.verify_client_cert."
_FIXED_LABELS = "Add fixed labels by the filter record_modifier."
_ELASTIC_CLOUD = "Use the output es for Elastic Cloud."
_MULTILINE = "Write a [MULTILINE_PARSER] and name it in multiline.parser."
_GELF = "Choose another Format: GELF is not written."
_EBPF = "The input ebpf tells of single processes."
_LOGS_ONLY = "Remove the line: podwitness sends logs only."
_METADATA = "Remove the line: records have no metadata; logs_body_key_attributes makes attributes."

# Plugin -> what a key begins with, or is -> what to do instead of it. The first that fits counts.
REFUSED: dict[tuple[str, str], dict[str, str]] = {
    ("service", ""): {
        "config_watch": "Reload by SIGHUP, or by POST /api/v2/reload with Hot_Reload On.",
        "dns.prefer_": "Set net.dns.prefer_ipv4 or net.dns.prefer_ipv6 in the outputs.",
        "http_proxy": "Set Proxy in the outputs, or HTTP_PROXY in the environment.",
        "security.fips_mode": "Set FIPS up for the whole system, in the OpenSSL configuration.",
        "telemetry.": "Remove it: records are counted by input and by output, not by tag.",
        "streams_file": "Remove the line; podwitness has no stream processor.",
    },
    ("input", ""): {
        "host": "Remove the line, or write Listen in an input that listens.",
        "listen": "Remove the line; this input does not listen.",
        "port": "Remove the line; this input does not listen.",
        "routable": "Leave the input's tag out of the Match of outputs.",
    },
    ("input", "tail"): {
        "docker_mode_parser": _MULTILINE,
        "generic.encoding": "Let the writer write UTF-8; other bytes are kept as they are.",
        "unicode.encoding": "Let the writer write UTF-8; other bytes are kept as they are.",
        "ignore_active_older_files": "Remove the line: Ignore_Older is about files when they are found.",
    },
    ("input", "cpu"): {"pid": _EBPF},
    ("input", "mem"): {"pid": _EBPF},
    ("input", "http"): {
        "oauth2.": _CLIENT_CERTIFICATES,
    },
    ("filter", "kubernetes"): {
        "aws_": _FIXED_LABELS,
        "use_pod_association": _FIXED_LABELS,
        "set_platform": "Remove the line: it is for tests of Fluent Bit itself.",
    },
    ("output", "http"): {
        "aws_": _SIGNING,
        "oauth2.": _TOKENS,
        "gelf_": _GELF,
        "body_key": "Choose a Format; the record as a whole is the body.",
        "headers_key": "Name fixed headers in Header.",
        "http.read_idle_timeout": "Set http.response_timeout.",
    },
    ("output", "es"): {"aws_": _SIGNING, "trace_output": "Use an output stdout beside it."},
    ("output", "opensearch"): {
        "aws_": _SIGNING,
        "cloud_": _ELASTIC_CLOUD,
        "http_api_key": _ELASTIC_CLOUD,
        "trace_output": "Use an output stdout beside it.",
        "upstream": "Name one Host, which may be that of a load balancer.",
    },
    ("output", "opentelemetry"): {
        "aws_": _SIGNING,
        "oauth2.": _TOKENS,
        "grpc": "Send over HTTP: receivers have it on port 4318.",
        "http2": "Remove the line: receivers take HTTP/1.1 on port 4318.",
        "logs_max_": "Set Batch_Size.",
        "logs_": _METADATA,
        "metrics_uri": _LOGS_ONLY,
        "profiles_uri": _LOGS_ONLY,
        "traces_uri": _LOGS_ONLY,
    },
    ("output", "kafka"): {
        "gelf_": _GELF,
        "group_id": "Remove the line: only who reads has a group.",
        "schema_": "Choose Format json or msgpack: Avro is not written.",
    },
    ("output", "null"): {"format": "Remove the line: nothing is written."},
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
    ("input", "fluentbit_logs"): "podwitness's own log goes to standard error, and from there where those of "
    "all pods go.",
    ("input", "fluentbit_metrics"): "podwitness's own metrics are served at /metrics when HTTP_Server is On.",
    ("input", "node_exporter_metrics"): "Run the node exporter for the node's metrics.",
    ("input", "exec"): "podwitness starts no programs: write to a file, and follow it by the input tail.",
    ("output", "splunk"): "Send by the output http, to the collector's raw endpoint.",
    ("output", "elasticsearch"): "It is called es.",
    ("output", "prometheus_exporter"): "Metrics are served at /metrics when HTTP_Server is On.",
}
_BY_FORWARD = {
    "input": "Receive it by a Fluent Bit, which sends it here: the input forward takes it.",
    "filter": "A Fluent Bit behind the output forward has it.",
    "processor": "A Fluent Bit behind the output forward has it.",
    "output": "Send by the output forward to a Fluent Bit or Fluentd that has it, or by opentelemetry to a "
    "collector.",
}
# The others of Fluent Bit 5, so that nobody looks for a slip of the pen.
OTHERS = {
    "input": _names("""
        blob collectd disk docker elasticsearch etw event_test event_type exec_wasi gpu_metrics head health
        kafka kmsg mqtt nginx_metrics opentelemetry podman_metrics proc process_exporter_metrics
        prometheus_remote_write prometheus_scrape prometheus_textfile random serial splunk statsd stdin
        stream_processor tcp thermal udp unix_socket windows_exporter_metrics winevtlog winlog winstat
    """),
    "filter": _names("""
        alter_size checklist ecs expect geoip2 log_to_metrics lookup nightfall stdout sysinfo tensorflow
    """),
    "processor": _names("cumulative_to_delta labels metrics_selector sampling tda"),
    "output": _names("""
        azure azure_blob azure_kusto azure_logs_ingestion bigquery chronicle cloudwatch
        cloudwatch_logs counter datadog exit firehose flowcounter gelf influxdb kafka-rest kinesis
        kinesis_firehose kinesis_streams logdna nats nrlogs oracle_log_analytics pgsql plot
        prometheus_remote_write retry s3 skywalking slack stackdriver syslog tcp td udp
        vivo_exporter websocket
    """),
}


def instead(kind: str, name: str) -> str:
    """What to do without a plugin that Fluent Bit has; "" for what it has not either."""
    return INSTEAD.get((kind, name)) or (_BY_FORWARD[kind] if name in OTHERS.get(kind, ()) else "")


def ignored(kind: str, plugin: str) -> dict[str, str]:
    """Names, in lower case, of keys without effect in a section of this plugin, and why."""
    return IGNORED.get(kind, {}) | IGNORED.get(f"{kind} {plugin}", {})


def unsupported(kind: str, plugin: str) -> dict[str, str]:
    """Names, in lower case, of what Fluent Bit knows in such a section, and what to do instead."""
    names = FLUENT_BIT.get((kind, plugin), frozenset()) | FLUENT_BIT_COMMON.get(kind, frozenset())
    return {name: remedy(kind, plugin, name) for name in names}


def remedy(kind: str, plugin: str, name: str) -> str:
    """What to do instead of a key; "" where there is nothing to be said."""
    refused = REFUSED.get((kind, plugin), {}) | REFUSED.get((kind, ""), {})
    return next((what for beginning, what in refused.items() if name.startswith(beginning)), "")

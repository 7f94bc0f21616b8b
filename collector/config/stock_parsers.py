"""The parsers that may be named without a parsers file, under the names of Fluent Bit's stock file.

Written from the formats' own descriptions: Apache's and nginx's log formats, ingress-nginx's
`log_format upstreaminfo`, RFC 3164 and RFC 5424, MongoDB's log before 4.4, the container runtime interface.
The fields are called as in Fluent Bit's file, so that dashboards stay valid.
"""

from __future__ import annotations

from collector.config.parsers import Parser

_CLF_TIME = "%d/%b/%Y:%H:%M:%S %z"
_ISO_TIME = "%Y-%m-%dT%H:%M:%S.%L"
_BSD_TIME = "%b %d %H:%M:%S"

_REQUEST = r'"(?<method>[^ "]+)(?: +(?<path>[^"]*?)(?: +[^ "]*)?)?"'
_COMBINED = r' (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^"]*)" "(?<agent>[^"]*)")?$'
_APACHE = r"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] " + _REQUEST + _COMBINED
_NGINX = r"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] " + _REQUEST + _COMBINED
_INGRESS = (
    r"^(?<host>[^ ]*) - (?:\[(?<real_ip>[^ ]*)\] - )?(?<user>[^ ]*) \[(?<time>[^\]]*)\] "
    + _REQUEST
    + r' (?<code>[^ ]*) (?<size>[^ ]*) "(?<referer>[^"]*)" "(?<agent>[^"]*)" (?<request_length>[^ ]*)'
    r" (?<request_time>[^ ]*) \[(?<proxy_upstream_name>[^ \]]*)\]"
    r"(?: \[(?<proxy_alternative_upstream_name>[^ \]]*)\])?"
    r" (?<upstream_addr>[^ ]*) (?<upstream_response_length>[^ ]*) (?<upstream_response_time>[^ ]*)"
    r" (?<upstream_status>[^ ]*) (?<reg_id>[^ ]*).*$"
)
_APACHE_ERROR = (
    r"^\[[^ ]* (?<time>[^\]]*)\] \[(?<level>[^\]]*)\](?: \[pid (?<pid>[^\]]*)\])?"
    r"(?: \[client (?<client>[^\]]*)\])? (?<message>.*)$"
)
_RFC5424 = (
    r"^<(?<pri>[0-9]{1,3})>[1-9][0-9]{0,2} (?<time>[^ ]+) (?<host>[^ ]+) (?<ident>[^ ]+) (?<pid>[^ ]+)"
    r" (?<msgid>[^ ]+) (?<extradata>-|(?:\[(?:[^\]\\]|\\.)*\])+) ?(?<message>.*)$"
)
_BSD_TAG = r"(?<ident>[a-zA-Z0-9_/.\-]*)(?:\[(?<pid>[0-9]+)\])?(?:[^:]*:)? *(?<message>.*)$"
_RFC3164 = r"^<(?<pri>[0-9]+)>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) " + _BSD_TAG
_RFC3164_LOCAL = r"^<(?<pri>[0-9]+)>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) " + _BSD_TAG
_MONGODB = (
    r"^(?<time>[^ ]*)\s+(?<severity>[A-Z][0-9]?)\s+(?<component>[^ ]+)\s+\[(?<context>[^\]]+)\]\s+"
    r"(?<message>.*?)(?: (?<ms>[0-9]+)ms)?$"
)
_ENVOY = (
    r"^\[(?<start_time>[^\]]*)\] " + r'"(?<method>[^ "]+)(?: +(?<path>[^"]*?)(?: +(?<protocol>[^ "]*))?)?"'
    r" (?<code>[^ ]*) (?<response_flags>[^ ]*) (?<bytes_received>[^ ]*) (?<bytes_sent>[^ ]*)"
    r' (?<duration>[^ ]*) (?<x_envoy_upstream_service_time>[^ ]*) "(?<x_forwarded_for>[^"]*)"'
    r' "(?<user_agent>[^"]*)"'
    r' "(?<request_id>[^"]*)" "(?<authority>[^"]*)" "(?<upstream_host>[^"]*)"'
)
_ISTIO = (
    r"^\[(?<start_time>[^\]]*)\] " + r'"(?<method>[^ "]+)(?: +(?<path>[^"]*?)(?: +(?<protocol>[^ "]*))?)?"'
    r" (?<response_code>[^ ]*) (?<response_flags>[^ ]*) (?<response_code_details>[^ ]*)"
    r' (?<connection_termination_details>[^ ]*) "(?<upstream_transport_failure_reason>[^"]*)"'
    r" (?<bytes_received>[^ ]*) (?<bytes_sent>[^ ]*) (?<duration>[^ ]*)"
    r" (?<x_envoy_upstream_service_time>[^ ]*)"
    r' "(?<x_forwarded_for>[^"]*)" "(?<user_agent>[^"]*)" "(?<x_request_id>[^"]*)" "(?<authority>[^"]*)"'
    r' "(?<upstream_host>[^"]*)" (?<upstream_cluster>[^ ]*) (?<upstream_local_address>[^ ]*)'
    r" (?<downstream_local_address>[^ ]*) (?<downstream_remote_address>[^ ]*) (?<requested_server_name>[^ ]*)"
    r" (?<route_name>[^ ]*)"
)
_CONTAINER_LOG = (
    r"(?<tag>[^.]+)?\.?(?<pod_name>[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)_(?<namespace_name>[^_]+)_"
    r"(?<container_name>.+)-(?<docker_id>[a-z0-9]{64})\.log$"
)


def _regex(
    name: str, regex: str, time_format: str = "", *, keep: bool = False, time_key: str = "time"
) -> Parser:
    return Parser(name, "regex", regex, time_key if time_format else "", time_format, keep)


STOCK = {
    parser.name: parser
    for parser in (
        _regex("apache", _APACHE, _CLF_TIME),
        _regex("apache2", _APACHE, _CLF_TIME),
        _regex("apache_error", _APACHE_ERROR),
        _regex("nginx", _NGINX, _CLF_TIME),
        _regex("k8s-nginx-ingress", _INGRESS, _CLF_TIME),
        Parser("json", "json", time_key="time", time_format=_CLF_TIME),
        Parser("logfmt", "logfmt"),
        Parser("docker", "json", time_key="time", time_format=_ISO_TIME, time_keep=True),
        _regex(
            "docker-daemon",
            r'time="(?<time>[^ ]*)" level=(?<level>[^ ]*) msg="(?<msg>[^ ].*)"',
            _ISO_TIME,
            keep=True,
        ),
        _regex("syslog-rfc5424", _RFC5424, _ISO_TIME, keep=True),
        _regex("syslog-rfc3164", _RFC3164, _BSD_TIME, keep=True),
        _regex("syslog-rfc3164-local", _RFC3164_LOCAL, _BSD_TIME, keep=True),
        _regex("mongodb", _MONGODB, _ISO_TIME, keep=True),
        _regex("envoy", _ENVOY, _ISO_TIME, keep=True, time_key="start_time"),
        _regex("istio-envoy-proxy", _ISTIO, _ISO_TIME, keep=True, time_key="start_time"),
        _regex(
            "cri",
            r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<message>.*)$",
            "%Y-%m-%dT%H:%M:%S.%L%z",
            keep=True,
        ),
        _regex("kube-custom", _CONTAINER_LOG),
    )
}
"""By name. `docker` without the stock file's decoders, which undo escapes that the JSON reader has undone."""

"""The built-in parsers on lines of the programs that they are for."""

from __future__ import annotations

import calendar

import pytest

from collector.config.stock_parsers import STOCK
from collector.parsers.line import text_parser

NOW_NS = calendar.timegm((2026, 11, 28, 12, 0, 0)) * 10**9

LINES: dict[str, tuple[str, dict[str, str], tuple[int, ...] | None]] = {
    "apache": (
        '192.168.2.20 - - [28/Jul/2006:10:27:10 -0300] "GET /try/ HTTP/1.0" 200 3395',
        {"host": "192.168.2.20", "user": "-", "method": "GET", "path": "/try/", "code": "200",
         "size": "3395"},
        (2006, 7, 28, 13, 27, 10),
    ),
    "apache2": (
        '127.0.0.1 - bob [10/Oct/2000:13:55:36 -0700] "POST /a HTTP/1.1" 403 12 "http://e/?q=a b" "M (X; Y)"',
        {
            "host": "127.0.0.1", "user": "bob", "method": "POST", "path": "/a", "code": "403", "size": "12",
            "referer": "http://e/?q=a b", "agent": "M (X; Y)",
        },
        (2000, 10, 10, 20, 55, 36),
    ),
    "apache_error": (
        "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708] [client 72.15.99.187] No file: /f",
        {
            "time": "Sep 09 10:42:29.902022 2011", "level": "core:error", "pid": "35708",
            "client": "72.15.99.187", "message": "No file: /f",
        },
        None,
    ),
    "nginx": (
        '1.2.3.4 - - [28/Nov/2026:08:00:00 +0000] "GET /x?y=z HTTP/2.0" 404 153 "-" "curl/8.0"',
        {
            "remote": "1.2.3.4", "host": "-", "user": "-", "method": "GET", "path": "/x?y=z", "code": "404",
            "size": "153", "referer": "-", "agent": "curl/8.0",
        },
        (2026, 11, 28, 8),
    ),
    "k8s-nginx-ingress": (
        '10.0.0.1 - - [28/Nov/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 7 "-" "curl" 75 0.002 [shop-web-80]'
        " [] 10.1.0.5:8080 7 0.001 200 6a1f",
        {
            "host": "10.0.0.1", "user": "-", "method": "GET", "path": "/", "code": "200", "size": "7",
            "referer": "-", "agent": "curl", "request_length": "75", "request_time": "0.002",
            "proxy_upstream_name": "shop-web-80", "upstream_addr": "10.1.0.5:8080",
            "upstream_response_length": "7", "upstream_response_time": "0.001", "upstream_status": "200",
            "reg_id": "6a1f",
        },
        (2026, 11, 28, 8),
    ),
    "logfmt": ('level=info msg="a b"', {"level": "info", "msg": "a b"}, None),
    "docker-daemon": (
        'time="2026-11-28T08:00:00.5Z" level=info msg="started it"',
        {"time": "2026-11-28T08:00:00.5Z", "level": "info", "msg": "started it"},
        (2026, 11, 28, 8),
    ),
    "syslog-rfc5424": (
        '<165>1 2003-10-11T22:14:15.003Z host app 77 ID47 [ex@1 iut="3" e="A\\]p"] An entry',
        {
            "pri": "165", "time": "2003-10-11T22:14:15.003Z", "host": "host", "ident": "app", "pid": "77",
            "msgid": "ID47", "extradata": '[ex@1 iut="3" e="A\\]p"]', "message": "An entry",
        },
        (2003, 10, 11, 22, 14, 15),
    ),
    "syslog-rfc3164": (
        "<34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed",
        {
            "pri": "34", "time": "Oct 11 22:14:15", "host": "mymachine", "ident": "su", "pid": "230",
            "message": "'su root' failed",
        },
        (2026, 10, 11, 22, 14, 15),
    ),
    "syslog-rfc3164-local": (
        "<6>Feb  5 17:32:18 kernel: eth0: link up",
        {"pri": "6", "time": "Feb  5 17:32:18", "ident": "kernel", "message": "eth0: link up"},
        (2026, 2, 5, 17, 32, 18),
    ),
    "mongodb": (
        "2014-11-03T18:28:32.450-0500 I NETWORK [initandlisten] waiting for connections 12ms",
        {
            "time": "2014-11-03T18:28:32.450-0500", "severity": "I", "component": "NETWORK",
            "context": "initandlisten", "message": "waiting for connections", "ms": "12",
        },
        (2014, 11, 3, 18, 28, 32),
    ),
    "envoy": (
        '[2016-04-15T20:17:00.310Z] "POST /api HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" '
        '"cc21d9b0" "locations" "tcp://10.0.2.1:80"',
        {
            "start_time": "2016-04-15T20:17:00.310Z", "method": "POST", "path": "/api", "protocol": "HTTP/2",
            "code": "204", "response_flags": "-", "bytes_received": "154", "bytes_sent": "0",
            "duration": "226",
            "x_envoy_upstream_service_time": "100", "x_forwarded_for": "10.0.35.28", "user_agent": "nsq2http",
            "request_id": "cc21d9b0", "authority": "locations", "upstream_host": "tcp://10.0.2.1:80",
        },
        (2016, 4, 15, 20, 17),
    ),
    "istio-envoy-proxy": (
        '[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 3 1 "-" '
        '"curl/7.73.0-DEV" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" '
        "inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin default",
        {"start_time": "2020-11-25T21:26:18.409Z", "response_code": "418", "route_name": "default"},
        (2020, 11, 25, 21, 26, 18),
    ),
    "cri": (
        "2026-11-24T01:02:03.5Z stderr P part",
        {"time": "2026-11-24T01:02:03.5Z", "stream": "stderr", "logtag": "P", "message": "part"},
        (2026, 11, 24, 1, 2, 3),
    ),
    "json": (
        '{"a": "b", "time": "28/Nov/2026:08:00:00 +0000"}',
        {"a": "b"},
        (2026, 11, 28, 8),
    ),
    "docker": (
        '{"log": "x", "stream": "stdout", "time": "2026-11-28T08:00:00.25Z"}',
        {"log": "x", "stream": "stdout", "time": "2026-11-28T08:00:00.25Z"},
        (2026, 11, 28, 8),
    ),
    "kube-custom": (
        f"kube.web-1_shop_app-{'a' * 64}.log",
        {
            "tag": "kube", "pod_name": "web-1", "namespace_name": "shop", "container_name": "app",
            "docker_id": "a" * 64,
        },
        None,
    ),
}  # fmt: skip


def test_every_parser_has_a_line_here() -> None:
    assert set(LINES) == set(STOCK)


@pytest.mark.parametrize("name", LINES)
def test_lines(name: str) -> None:
    line, fields, moment = LINES[name]
    parsed = text_parser(STOCK[name]).parse(line.encode(), NOW_NS)
    assert parsed is not None
    found = dict(parsed.pairs)
    assert {key: found.get(key) for key in fields} == fields
    if name != "istio-envoy-proxy":
        assert found == fields
    seconds = None if parsed.time_ns is None else parsed.time_ns // 10**9
    assert seconds == (None if moment is None else calendar.timegm((*moment, 0, 0, 0)[:6]))

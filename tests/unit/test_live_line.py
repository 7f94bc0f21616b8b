"""Lines for a person: every kind of record, and nothing that a terminal obeys."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.outputs.live_line import live_line, shown, where

POD = {"kubernetes": {"namespace_name": "shop", "pod_name": "web-1", "container_name": "httpd"}}
HOST = {"host": {"name": "node1"}}


def process(action: str, **fields: Any) -> dict[str, Any]:
    return {
        "event": {"category": ["process"], "action": action, "duration": fields.pop("duration", None)},
        "process": {"name": "sh", "pid": 7, **fields},
    }


def test_exec_names_pod_process_and_quoted_argv() -> None:
    line = live_line(0, {**process("exec", args=["/bin/sh", "-c", "echo hi"]), **POD})
    assert (line.where, line.what, line.who) == ("shop/web-1/httpd", "exec", "sh[7]")
    assert line.details == "/bin/sh -c 'echo hi'"


def test_exit_tells_how_and_after_how_long() -> None:
    assert (
        live_line(0, {**process("exit", exit_code=3, duration=1_500_000), **HOST}).details
        == "exit code 3 after 1.5 ms"
    )


def test_a_killed_process_names_the_signal() -> None:
    killed = {"podwitness": {"exit": {"signal": "SIGKILL"}}}
    record = {**process("exit", duration=2_000_000_000), **killed, **HOST}
    assert live_line(0, record).details == "killed by SIGKILL after 2 s"


def test_process_that_was_there_already_shows_its_argv() -> None:
    assert live_line(0, {**process("running", args=["sleep", "9"]), **HOST}).details == "sleep 9"
    assert live_line(0, {**process("session-start", executable="/bin/sh"), **HOST}).details == "/bin/sh"


def test_privilege_tells_with_what_and_to_whom() -> None:
    target = {"name": "sleep", "pid": 9, "cgroup_id": 1}
    kill = {"podwitness": {"privilege": {"signal": "SIGKILL", "target": target}}}
    assert live_line(0, {**process("kill"), **kill, **HOST}).details == "signal SIGKILL > sleep[9]"
    clone = {"podwitness": {"privilege": {"flags": ["CLONE_NEWNET", "CLONE_NEWPID"]}}}
    record = {**process("unshare"), **clone, **HOST, "error": {"code": "EPERM"}}
    record["event"]["outcome"] = "failure"
    line = live_line(0, record)
    assert (line.details, line.tone) == ("flags CLONE_NEWNET|CLONE_NEWPID  EPERM", "trouble")
    moved = {"podwitness": {"privilege": {"target": target}}}
    assert live_line(0, {**process("cgroup-attach"), **moved, **HOST}).details == "> sleep[9]"


def test_dns_names_what_was_asked() -> None:
    record = {
        "event": {"category": ["network"], "action": "dns"},
        "destination": {"ip": "10.0.0.1", "port": 53},
    }
    line = live_line(0, {**record, "dns": {"question": {"name": "example.org"}}, **HOST})
    assert line.details == "10.0.0.1:53  example.org"


def test_failed_connection_is_trouble_and_names_the_error() -> None:
    record = {
        "event": {"category": ["network"], "action": "connect-failed", "outcome": "failure"},
        "source": {"ip": "::1", "port": 5},
        "destination": {"ip": "::1", "port": 80},
        "error": {"code": "ECONNREFUSED"},
    }
    line = live_line(0, {**record, **HOST})
    assert (line.tone, line.details) == ("trouble", "[::1]:5 > [::1]:80  ECONNREFUSED")


@pytest.mark.parametrize("key", ["log", "message", "MESSAGE"])
def test_log_line_is_its_message(key: str) -> None:
    assert live_line(0, {"stream": "stderr", key: "text", **POD}).details == "text"


def test_merged_json_log_shows_its_fields_without_the_frame() -> None:
    line = live_line(0, {"stream": "stdout", "time": "x", "level": "info", **POD})
    assert line.details == "{'level': 'info'}"


def test_where_falls_back_from_pod_to_container_to_host() -> None:
    assert where({"container": {"id": "0123456789abcdef"}}) == "container 0123456789ab"
    assert where(HOST) == "node1"


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_shown(text: str) -> None:
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", shown(text))


@given(
    st.dictionaries(
        st.sampled_from(["event", "process", "kubernetes", "log", "source", "host"]),
        st.integers() | st.text(),
    )
)
def test_a_record_of_unexpected_shape_still_is_a_line(record: dict[str, Any]) -> None:
    assert live_line(1, record).time

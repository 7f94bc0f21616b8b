"""collector.inputs.event_heartbeat: what is done, and what is concluded from what arrives."""

from __future__ import annotations

import logging
import os
import socket
import time

import pytest

from collector.inputs import event_heartbeat
from collector.inputs.event_heartbeat import LISTENER_KINDS, PROCESS_KINDS, PROVABLE, Heart, Proof
from collector.native.event_kinds import Kind
from collector.native.events import Heartbeat

LOG = logging.getLogger("podwitness.ebpf.0")


def test_kinds_that_do_not_arrive_three_times_in_a_row_are_missing() -> None:
    proof = Proof(list(Kind), now_s=0)
    assert proof.kinds == PROVABLE
    for beat in range(2):
        proof.judge(PROVABLE, PROVABLE - {Kind.EXEC}, made_s=10 * beat)
    assert (proof.missing, proof.is_fresh) == ((), False)
    proof.judge(PROVABLE, PROVABLE, made_s=20)
    assert (proof.missing, proof.is_fresh) == ((), True)
    for beat in range(3):
        proof.judge(PROVABLE, PROVABLE - {Kind.EXEC}, made_s=30 + 10 * beat)
    assert proof.missing == (Kind.EXEC,)
    assert (proof.proven_s, proof.ages_s(60)[Kind.EXEC], proof.ages_s(60)[Kind.FORK]) == (20, 40, 10)


def test_what_was_not_done_proves_nothing_either_way() -> None:
    proof = Proof(PROVABLE, now_s=5)
    for beat in range(5):
        proof.judge(PROCESS_KINDS, PROCESS_KINDS, made_s=10 + beat)
    assert (proof.missing, proof.proven_s) == ((), 5)


def test_only_what_is_traced_is_expected() -> None:
    assert Proof([Kind.CONNECT, Kind.LISTEN, Kind.CGROUP_MKDIR], now_s=0).kinds == {Kind.LISTEN}


def test_a_beat_is_a_child_that_ends_and_a_socket_that_listened() -> None:
    heart = Heart(PROVABLE, LOG)
    deed = heart.beat()
    expected = deed.expected
    assert deed.kinds == PROVABLE
    assert expected.pid_ns == os.stat("/proc/self/ns/pid").st_ino
    assert expected.net_ns == os.stat("/proc/self/ns/net").st_ino
    assert 0 < expected.bound_from_ns < expected.from_ns < expected.until_ns
    assert expected.until_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert os.waitid(os.P_PID, expected.pid, os.WEXITED | os.WNOWAIT) is not None
    assert heart.is_over()
    assert os.path.exists(f"/proc/{expected.pid}")  # a zombie: the pid is not given away
    heart.rest()
    assert not os.path.exists(f"/proc/{expected.pid}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", expected.port))


@pytest.mark.parametrize("kinds", [PROCESS_KINDS, LISTENER_KINDS])
def test_nothing_is_done_for_what_is_not_traced(kinds: frozenset[Kind]) -> None:
    heart = Heart(kinds, LOG)
    deed = heart.beat()
    heart.rest()
    assert deed.kinds == kinds
    assert (deed.expected.pid == 0) == (kinds is LISTENER_KINDS)
    assert (deed.expected.port == 0) == (kinds is PROCESS_KINDS)


def test_an_image_without_true(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/not/there")
    heart = Heart(PROCESS_KINDS, LOG)
    deed = heart.beat()
    assert deed.kinds == PROCESS_KINDS
    assert os.waitid(os.P_PID, deed.expected.pid, os.WEXITED | os.WNOWAIT) is not None
    heart.rest()
    assert capfd.readouterr().out == ""


def test_what_can_not_be_done_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_heartbeat, "_path_of", lambda name: "/not/there")

    def refuse() -> None:
        raise OSError(24, "too many")

    monkeypatch.setattr(socket, "socket", refuse)
    heart = Heart(PROVABLE, LOG)
    for _ in range(2):
        assert heart.beat()[:2] == (Heartbeat(), frozenset())
        assert heart.is_over()
        heart.rest()
    assert [record.getMessage() for record in caplog.records] == [
        "no heartbeat goes through all probes: /not/there can't be started: No such file or directory",
        "no heartbeat goes through all probes: a socket can't listen on 127.0.0.1: too many",
    ]

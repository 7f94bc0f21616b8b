"""collector.inputs.event_translations: reads what there is, and goes on after an overrun."""

from __future__ import annotations

import os
import socket

import pytest

from collector.inputs.event_translations import Tracking
from collector.native.translations import Translations
from probes.conntrack import Place
from tests.unit.conntrack_messages import SERVED

CLIENT, SERVICE = Place(bytes([10, 1, 0, 2]), 40000), Place(bytes([10, 96, 0, 1]), 443)


def test_reads_until_there_is_no_more() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    known = Translations()
    tracking = Tracking(ours.fileno(), known)
    assert tracking.read() == 0
    theirs.send(SERVED * 2)
    theirs.send(b"noise")
    assert tracking.read() == 2
    found = known.find(6, CLIENT, SERVICE)
    assert found is not None
    assert found.destination == (bytes([10, 1, 0, 9]), 8443)
    ours.close()
    theirs.close()


def test_an_overrun_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bytes | OSError] = [OSError(105, "No buffer space available"), SERVED, BlockingIOError()]

    def read(descriptor: int, size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "read", read)
    tracking = Tracking(-1, Translations())
    assert (tracking.read(), tracking.take_overruns(), tracking.take_overruns()) == (1, 1, 0)

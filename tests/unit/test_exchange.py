"""probes.exchange: what goes in comes out, descriptors too."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from probes.catalog import Dialect, RecordKind, RingSizes
from probes.exchange import (
    DESCRIPTORS_PER_MESSAGE,
    Answer,
    HookResult,
    ProbeError,
    Request,
    send_descriptors,
    send_error,
    send_report,
)


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "request_",
    [
        Request(("process",), RingSizes(4096, 8192)),
        Request(("process", "network"), RingSizes(1 << 23, 1 << 22), Dialect.RAW_TP, ("HAVE_a__b",)),
        Request(("process",), RingSizes(4096, 8192), off=(("process", RecordKind.FORK),)),
    ],
)
def test_request_comes_out_as_it_went_in(request_: Request) -> None:
    assert Request.decode(request_.encode()) == request_


def test_many_descriptors_arrive_by_name_and_are_not_inheritable(
    channel: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = channel
    count = DESCRIPTORS_PER_MESSAGE + 7
    sent = [(f"map:{number}", os.memfd_create(str(number))) for number in range(count)]
    for number, (_, descriptor) in enumerate(sent):
        os.write(descriptor, b"%d" % number)
    send_descriptors(theirs, sent)
    answer = Answer()
    answer.receive(ours)
    answer.receive(ours)
    received = answer.take("map")
    assert [os.pread(received[str(number)], 9, 0) for number in range(count)] == [
        b"%d" % number for number in range(count)
    ]
    assert not any(os.get_inheritable(descriptor) for descriptor in received.values())
    assert answer.take("map") == {}
    for descriptor in [*received.values(), *(descriptor for _, descriptor in sent)]:
        os.close(descriptor)


def test_report_and_error(channel: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = channel
    results = [HookResult("one", Dialect.TP_BTF, ()), HookResult("two", None, ("no", "neither"))]
    send_report(theirs, results)
    send_error(theirs, ProbeError("Problem.", "Consequence.", "Remedy."))
    theirs.close()
    answer = Answer()
    while answer.receive(ours):
        pass
    assert list(answer.results.values()) == results
    assert str(answer.error) == "Problem. Consequence. Remedy."


def test_answer_closes_what_nobody_took(channel: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = channel
    sent = os.memfd_create("one")
    send_descriptors(theirs, [("map:ring", sent)])
    os.close(sent)
    before = len(os.listdir("/proc/self/fd"))
    answer = Answer()
    answer.receive(ours)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    answer.close()
    assert len(os.listdir("/proc/self/fd")) == before

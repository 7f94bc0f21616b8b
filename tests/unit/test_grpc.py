"""collector.cri.grpc: what the events of a stream say, without a server."""

from __future__ import annotations

import pytest

from collector.cri.grpc import (
    MAX_ANSWER_BYTES,
    MAX_ELEMENT_BYTES,
    MAX_ELEMENTS,
    Answer,
    Call,
    Refused,
    Stream,
    headers,
    message,
)
from collector.cri.http2 import Content, Event, Headers, ProtocolError, Reset
from tests.containers import protobuf as pb

BEGIN = Headers(1, {":status": "200", "content-type": "application/grpc"}, False)
END = Headers(1, {"grpc-status": "0", "grpc-message": ""}, True)


def content(data: bytes) -> Content:
    return Content(1, data, False)


def taken(call: Call, *events: Event) -> list[tuple[int, int | bytes]]:
    return [field for event in events for field in call.take(event)]


def test_headers_are_those_of_the_protocol() -> None:
    sent = dict(headers("/a.B/C", "me/1", 10))
    assert sent[":path"] == "/a.B/C"
    assert (sent["te"], sent["content-type"], sent["grpc-timeout"]) == ("trailers", "application/grpc", "10S")
    assert "grpc-timeout" not in dict(headers("/a.B/C", "me/1"))


def test_an_answer_in_any_pieces() -> None:
    whole = message(pb.text(1, "one") + pb.number(3, 300) + pb.text(1, "two"))
    for size in (1, 3, len(whole)):
        answer = Answer()
        pieces = [content(whole[at : at + size]) for at in range(0, len(whole), size)]
        assert taken(answer, BEGIN, *pieces) == [(1, b"one"), (3, 300), (1, b"two")]
        assert not answer.is_done
        assert taken(answer, END) == []
        assert answer.is_done


def test_an_empty_answer() -> None:
    answer = Answer()
    assert taken(answer, BEGIN, content(message(b"")), END) == []
    assert answer.is_done


def test_what_is_too_large_is_left_out_and_the_rest_counts() -> None:
    large = pb.message(1, bytes(MAX_ELEMENT_BYTES + 1))
    whole = message(pb.text(1, "before") + large + pb.text(1, "behind"))
    answer = Answer()
    pieces = [content(whole[at : at + 16384]) for at in range(0, len(whole), 16384)]
    assert taken(answer, BEGIN, *pieces, END) == [(1, b"before"), (1, b"behind")]
    assert answer.skipped == 1


def test_a_stream_of_messages() -> None:
    whole = b"".join(map(message, (b"one", b"", bytes(MAX_ELEMENT_BYTES + 1), b"two")))
    for size in (1000, len(whole)):
        stream = Stream()
        pieces = [content(whole[at : at + size]) for at in range(0, len(whole), size)]
        assert taken(stream, BEGIN, *pieces) == [(0, b"one"), (0, b""), (0, b"two")]
        assert stream.skipped == 1


@pytest.mark.parametrize(
    ("pairs", "code", "words"),
    [
        ({"grpc-status": "12", "grpc-message": "no%20method"}, 12, "unimplemented: no method"),
        ({"grpc-status": "14"}, 14, "unavailable"),
        ({"grpc-status": "99", "grpc-message": "x" * 1000}, 99, "99: " + "x" * 200),
        ({"grpc-status": "\u0663", "grpc-message": "a%0Ab"}, 2, "unknown: a?b"),
        ({}, 2, "unknown"),
        ({":status": "404"}, 2, "unknown: HTTP status 404"),
    ],
)
def test_refused(pairs: dict[str, str], code: int, words: str) -> None:
    with pytest.raises(Refused) as refused:
        taken(Answer(), Headers(1, pairs, True))
    assert (refused.value.code, str(refused.value)) == (code, words)


def test_reset() -> None:
    with pytest.raises(Refused, match="reset"):
        taken(Answer(), BEGIN, Reset(1, 7))


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([content(b"\1\0\0\0\1a")], "compressed"),
        ([content(b"\0" + (MAX_ANSWER_BYTES + 1).to_bytes(4, "big"))], "an answer of 16777217 bytes"),
        ([content(message(b"")), content(message(b""))], "a second answer"),
        ([content(message(b"\x0a\5ab"))], "cut"),
        ([content(message(b"\x0f"))], "type 7"),
        ([content(message(b"\x08" + b"\x80" * 10))], "ten bytes"),
        ([content(b"\0\0"), END], "cut"),
        ([content(message(b"abc")[:6]), END], "cut"),
        ([content(message(b"\x0a\0" * (MAX_ELEMENTS + 1)))], "more than 50000 elements"),
        ([Content(1, b"", True)], "without a status"),
    ],
)
def test_what_is_no_answer(events: list[Event], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        taken(Answer(), BEGIN, *events)

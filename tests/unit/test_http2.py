"""collector.cri.http2 with a server of which every byte is known."""

from __future__ import annotations

import struct

import pytest

from collector.cri import hpack
from collector.cri.http2 import (
    MAX_BLOCK_BYTES,
    MAX_IDLE_FRAMES,
    PREFACE,
    WINDOW_BYTES,
    Connection,
    Content,
    Event,
    Headers,
    Kind,
    ProtocolError,
    Reset,
    frame,
)

OK = hpack.encode([(":status", "200")])
Frame = tuple[int, int, int, bytes]


def frames(data: bytes) -> list[Frame]:
    """What a client sends, behind the preface."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", data, at + 3)
        found.append((kind, flags, stream, data[at + 9 : at + 9 + size]))
        at += 9 + size
    return found


def begun() -> Connection:
    """With stream 1 open and all sent."""
    connection = Connection()
    assert connection.request([(":method", "POST")], b"body") == 1
    connection.outgoing.clear()
    return connection


def fed(connection: Connection, *parts: bytes) -> list[Event]:
    return [event for part in parts for event in connection.feed(part)]


def test_beginning_and_request() -> None:
    connection = Connection()
    connection.request([(":method", "POST")], b"body")
    assert connection.outgoing.startswith(PREFACE)
    sent = frames(bytes(connection.outgoing[len(PREFACE) :]))
    assert [one[:3] for one in sent] == [
        (Kind.SETTINGS, 0, 0),
        (Kind.WINDOW_UPDATE, 0, 0),
        (Kind.HEADERS, 4, 1),
        (Kind.DATA, 1, 1),
    ]
    settings = sent[0][3]
    assert [struct.unpack_from(">HI", settings, at) for at in (0, 6, 12)] == [
        (1, 0),
        (2, 0),
        (4, WINDOW_BYTES),
    ]
    assert hpack.decode(sent[2][3]) == [(":method", "POST")]
    assert sent[3][3] == b"body"


def test_answer_in_any_pieces() -> None:
    whole = (
        frame(Kind.SETTINGS, 0, 0, b"")
        + frame(Kind.HEADERS, 4, 1, OK)
        + frame(Kind.DATA, 0, 1, b"one")
        + frame(Kind.DATA, 8, 1, b"\2two\0\0")
        + frame(99, 0, 1, b"a kind that nobody knows")
        + frame(Kind.HEADERS, 5, 1, hpack.encode([("grpc-status", "0")]))
    )
    wanted = [
        Headers(1, {":status": "200"}, False),
        Content(1, b"one", False),
        Content(1, b"two", False),
        Headers(1, {"grpc-status": "0"}, True),
    ]
    for size in (1, 7, len(whole)):
        connection = begun()
        assert fed(connection, *(whole[at : at + size] for at in range(0, len(whole), size))) == wanted
        assert frames(bytes(connection.outgoing)) == [(Kind.SETTINGS, 1, 0, b"")]


def test_headers_in_parts() -> None:
    connection = begun()
    parts = (frame(Kind.HEADERS, 0x21, 1, b"\0\0\0\0\5" + OK[:2]), frame(Kind.CONTINUATION, 4, 1, OK[2:]))
    assert fed(connection, *parts) == [Headers(1, {":status": "200"}, True)]


def test_pings_are_answered() -> None:
    connection = begun()
    assert fed(connection, frame(Kind.PING, 0, 0, b"12345678"), frame(Kind.PING, 1, 0, b"87654321")) == []
    assert frames(bytes(connection.outgoing)) == [(Kind.PING, 1, 0, b"12345678")]


def test_room_is_given_as_it_is_read() -> None:
    connection = begun()
    pieces = WINDOW_BYTES // 2 // 16384
    fed(connection, *[frame(Kind.DATA, 0, 1, bytes(16384))] * pieces)
    given = struct.pack(">I", WINDOW_BYTES // 2)
    assert frames(bytes(connection.outgoing)) == [
        (Kind.WINDOW_UPDATE, 0, 0, given),
        (Kind.WINDOW_UPDATE, 0, 1, given),
    ]


def test_what_was_cancelled_says_nothing_more() -> None:
    connection = begun()
    connection.cancel(1)
    connection.cancel(1)
    assert frames(bytes(connection.outgoing)) == [(Kind.RST_STREAM, 0, 1, struct.pack(">I", 8))]
    late = (
        frame(Kind.HEADERS, 4, 1, OK),
        frame(Kind.DATA, 0, 1, b"x"),
        frame(Kind.RST_STREAM, 0, 1, bytes(4)),
    )
    assert fed(connection, *late) == []


def test_reset_by_the_server() -> None:
    assert fed(begun(), frame(Kind.RST_STREAM, 0, 1, struct.pack(">I", 2))) == [Reset(1, 2)]


def test_requests_end_with_the_room_that_the_server_gives() -> None:
    connection = Connection()
    for _ in range(4):
        connection.request([], bytes(16000))
    with pytest.raises(ProtocolError, match="no more requests"):
        connection.request([], bytes(16000))
    fed(connection, frame(Kind.WINDOW_UPDATE, 0, 0, struct.pack(">I", 16000)))
    assert connection.request([], bytes(16000)) == 9


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not HTTP/2"),
        (frame(Kind.DATA, 0, 1, b"")[:2] + b"\xff" + bytes(20), "ended early"),
        (frame(Kind.PUSH_PROMISE, 4, 1, bytes(4)), "a push"),
        (frame(Kind.GOAWAY, 0, 0, struct.pack(">II", 1, 11)), r"ends the connection \(code 11\)"),
        (frame(Kind.GOAWAY, 0, 0, b""), "too short"),
        (frame(Kind.RST_STREAM, 0, 1, b"\0"), "too short"),
        (frame(Kind.PING, 0, 0, b"1"), "a ping of 1 bytes"),
        (frame(Kind.CONTINUATION, 4, 1, OK), "a continuation of none"),
        (frame(Kind.HEADERS, 0, 1, OK) + frame(Kind.PING, 0, 0, bytes(8)), "not continued"),
        (frame(Kind.HEADERS, 0, 1, OK) + frame(Kind.CONTINUATION, 4, 3, OK), "more than one stream"),
        (frame(Kind.HEADERS, 4, 1, b"\xbe"), "can't be read: header 62"),
        (frame(Kind.DATA, 8, 1, b""), "padding"),
        (frame(Kind.DATA, 8, 1, b"\5abc"), "padding"),
        (frame(Kind.PING, 1, 0, bytes(8)) * (MAX_IDLE_FRAMES + 1), "without content"),
        (frame(Kind.DATA, 0, 1, b"") * (MAX_IDLE_FRAMES + 1), "without content"),
        (
            frame(Kind.HEADERS, 0, 1, b"")
            + frame(Kind.CONTINUATION, 0, 1, bytes(16384)) * (MAX_BLOCK_BYTES // 16384 + 1),
            "too many",
        ),
    ],
)
def test_what_ends_the_connection(sent: bytes, reason: str) -> None:
    if reason == "ended early":
        assert fed(begun(), sent) == []  # waits for the rest, which never comes; the call has a deadline
        return
    with pytest.raises(ProtocolError, match=reason):
        fed(begun(), sent)

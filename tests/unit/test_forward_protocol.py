"""The forward protocol as bytes: fed whole, byte by byte, and with garbage."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
from collections.abc import Iterator

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.entries import pack_entry
from collector.outputs.connector import ProtocolError
from collector.outputs.forward_protocol import (
    MAX_MESSAGE_BYTES,
    Credentials,
    Handshake,
    Messages,
    encode_forward,
    encode_message,
    encode_messages,
    integer_times,
    is_ack,
    message_options,
    without_metadata,
)

ID = bytes(range(16))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 1 << 20])
def test_a_message_is_what_msgpack_makes_of_it(size: int) -> None:
    entries = b"\xc0" * size
    for options in (None, message_options(3, ID, sized=False, compressed="gzip")):
        expected = ["kube.a", entries] if options is None else ["kube.a", entries, options]
        head, body, tail = encode_message("kube.a", entries, options)
        assert head + body + tail == msgpack.packb(expected)
        assert body is entries


def test_options() -> None:
    chunk = base64.b64encode(ID).decode()
    assert message_options(3, None, sized=False, compressed="") is None
    assert message_options(3, None, sized=True, compressed="") == {"size": 3, "fluent_signal": 0}
    asked = message_options(3, ID, sized=False, compressed="gzip")
    assert asked == {"chunk": chunk, "size": 3, "fluent_signal": 0, "compressed": "gzip"}
    assert next(iter(asked)) == "chunk"


def test_integer_times_change_nothing_else() -> None:
    record = {"log": "x", "n": [1, {"deep": None}], "t": msgpack.Timestamp(1, 2)}
    packed = msgpack.packb(record)
    entries = pack_entry(1_700_000_000_999_999_999, [("a", 1)]) + b"\x92\xce\x00\x00\x00\x07" + packed
    assert integer_times(entries) == msgpack.packb([1_700_000_000, {"a": 1}]) + b"\x92\x07" + packed
    assert integer_times(b"") == b""


def test_forward_mode_is_an_array_of_entries() -> None:
    entries = pack_entry(10**18, [("a", 1)]) + pack_entry(10**18, [("a", 2)])
    sent = msgpack.unpackb(b"".join(encode_forward("kube.a", entries, 2, {"size": 2})))
    assert (sent[0], [record for _, record in sent[1]], sent[2]) == (
        "kube.a",
        [{"a": 1}, {"a": 2}],
        {"size": 2},
    )
    assert len(msgpack.unpackb(b"".join(encode_forward("kube.a", entries, 2, None)))) == 2


def test_message_mode_has_a_tag_and_an_id_for_each_record() -> None:
    entries = pack_entry(10**18, [("a", 1), ("app", "web")]) + pack_entry(10**18, [("a", 2)])

    def tag_of(tag: str, record: list[tuple[object, object]]) -> str | None:
        return next((f"{tag}.{value}" for key, value in record if key == "app"), None)

    requests = encode_messages("kube", entries, tag_of, ID, {"x": "y"})
    sent = [msgpack.unpackb(b"".join(request.parts)) for request in requests]
    assert [(one[0], one[2]) for one in sent] == [("kube.web", {"a": 1, "app": "web"}), ("kube", {"a": 2})]
    for one, request in zip(sent, requests, strict=True):
        assert one[3] == {"chunk": base64.b64encode(request.chunk_id).decode(), "fluent_signal": 0, "x": "y"}
    assert len({request.chunk_id for request in requests}) == 2
    assert requests == encode_messages("kube", entries, tag_of, ID, {"x": "y"})
    assert [
        len(msgpack.unpackb(b"".join(one.parts))) for one in encode_messages("k", entries, tag_of, None, {})
    ] == [
        3,
        3,
    ]


def test_metadata_beside_the_time_is_left_out() -> None:
    plain = pack_entry(10**18, [("a", b"\x92\x92")]) + b"\x92\x07\x80"
    assert without_metadata(plain) == plain
    time = plain[1:11]
    with_metadata = b"\x92\x92" + time + msgpack.packb({"otlp": {"n": 1}}) + plain[11:]
    assert without_metadata(with_metadata + plain) == plain[:-3] + b"\x92\x07\x80" + plain
    assert [len(one.parts) for one in encode_messages("k", with_metadata, lambda *_: None, None, {})] == [
        3,
        3,
    ]


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        yield data[start:end]


@given(st.lists(st.integers(0, 1000)))
def test_an_ack_may_come_in_any_pieces(cuts: list[int]) -> None:
    messages = Messages()
    data = msgpack.packb({"ack": base64.b64encode(ID).decode()})
    found = [message for piece in pieces(data, cuts) for message in messages.feed(piece)]
    assert [is_ack(message, ID) for message in found] == [True]


@pytest.mark.parametrize(
    "message",
    [None, 1, [], {}, {"ack": None}, {"ack": ""}, {"ack": base64.b64encode(ID).decode() + "\n"}, {"ack": ID}],
)
def test_what_is_no_ack(message: object) -> None:
    (found,) = Messages().feed(msgpack.packb(message))
    assert not is_ack(found, ID)


def test_an_ack_as_binary_is_one_too() -> None:
    (found,) = Messages().feed(msgpack.packb({b"ack": base64.b64encode(ID)}, use_bin_type=True))
    assert is_ack(found, ID)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_garbage_is_messages_or_one_named_error(garbage: list[bytes]) -> None:
    messages = Messages()
    with contextlib.suppress(ProtocolError):
        for piece in garbage:
            messages.feed(piece)


def test_a_message_without_end_is_not_gathered() -> None:
    messages = Messages()
    messages.feed(b"\xdb\x00\x10\x00\x00")
    for _ in range(3):
        messages.feed(b"x" * (MAX_MESSAGE_BYTES // 4))
    with pytest.raises(ProtocolError):
        messages.feed(b"x" * (MAX_MESSAGE_BYTES // 4))


def test_many_messages_at_once_and_a_piece_of_the_next() -> None:
    acks = b"".join(msgpack.packb({"ack": base64.b64encode(bytes([n]) * 16).decode()}) for n in range(250))
    messages = Messages()
    found = [one for begin in range(0, len(acks), 4096) for one in messages.feed(acks[begin : begin + 4096])]
    assert len(found) == 250
    assert is_ack(found[7], b"\7" * 16)


SALT, NONCE = b"s" * 16, b"n" * 16


def hexed(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def helo(**options: object) -> bytes:
    packed: bytes = msgpack.packb(["HELO", {"nonce": NONCE} | options])
    return packed


def pong(key: bytes = b"key", name: str = "server") -> bytes:
    packed: bytes = msgpack.packb(["PONG", True, "", name, hexed(SALT, name.encode(), NONCE, key)])
    return packed


def shaking(username: str = "", password: str = "") -> Handshake:
    return Handshake(Credentials("key", "node", username, password), SALT)


def test_ping_is_as_specified() -> None:
    answer = shaking("me", "secret").receive(helo(auth=b"a" * 16, keepalive=True))
    assert msgpack.unpackb(answer, raw=False, unicode_errors="surrogateescape") == [
        "PING",
        "node",
        SALT,
        hexed(SALT, b"node", NONCE, b"key"),
        "me",
        hexed(b"a" * 16, b"me", b"secret"),
    ]


def test_without_auth_no_user_is_told() -> None:
    for auth in (b"", "", None):
        answer = shaking("me", "secret").receive(helo(auth=auth))
        assert msgpack.unpackb(answer)[4:] == ["", ""]


@given(st.lists(st.integers(0, 1000)), st.lists(st.integers(0, 1000)), st.booleans())
def test_a_handshake_in_any_pieces(first: list[int], second: list[int], keepalive: bool) -> None:
    handshake = shaking()
    answers = [handshake.receive(piece) for piece in pieces(helo(keepalive=keepalive), first)]
    assert sum(map(bool, answers)) == 1
    assert not handshake.established
    assert [handshake.receive(piece) for piece in pieces(pong(), second)] == [b""] * (len(second) + 1)
    assert (handshake.established, handshake.keepalive) == (True, keepalive)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ([msgpack.packb(["HELLO", {}])], "did not begin with HELO"),
        ([msgpack.packb(["HELO", {"auth": b""}])], "did not begin with HELO"),
        ([helo(auth=7)], "auth is not a string"),
        ([b"\x81\x80\x00"], "not a message of the forward protocol"),  # a map whose key is a map
        ([helo(), pong(b"other")], "does not know the shared key"),
        ([helo(), msgpack.packb(["PONG", False, "go away", "", ""])], "refused the handshake: go away"),
        ([helo(), msgpack.packb(["PONG", True, "", "server"])], "what is not PONG"),
        ([helo(), msgpack.packb({"ack": "x"})], "what is not PONG"),
        ([helo(), pong() + msgpack.packb(1)], "more than the handshake has"),
    ],
)
def test_a_handshake_that_fails(said: list[bytes], sentence: str) -> None:
    handshake = shaking()
    for data in said[:-1]:
        handshake.receive(data)
    with pytest.raises(ProtocolError, match=sentence):
        handshake.receive(said[-1])

"""Messages of clients: every mode in any pieces, entries that are none, bombs, garbage."""

from __future__ import annotations

import gzip
import itertools
from time import process_time
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector.entries import pack_entry, pack_time, unpack_entries
from collector.inputs.forward_messages import (
    Message,
    MessageStream,
    NotForward,
    acknowledgement,
    checked,
    read_message,
)

NOW_NS = 1_800_000_000_000_000_000
TIME_NS = 1_700_000_000_000_000_005
TIME = pack_time(TIME_NS)
ENTRIES = pack_entry(TIME_NS, [("log", "a")]) + pack_entry(TIME_NS, [("n", 1)])


def packed(*parts: Any) -> bytes:
    """An array; bytes that begin with a marker stand for msgpack as it is."""
    body = b"".join(part.raw if isinstance(part, Raw) else msgpack.packb(part) for part in parts)
    return bytes([0x90 | len(parts)]) + body


class Raw:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw


def read(raw: bytes, limit_bytes: int = 10_000) -> Message:
    message = read_message(raw, NOW_NS, limit_bytes)
    assert message is not None
    return message


MODES = {
    "message": packed("a.b", Raw(TIME), {"log": "a"}),
    "message with options": packed("a.b", Raw(TIME), {"log": "a"}, {"chunk": "c", "metadata": {"x": 1}}),
    "forward": packed("a.b", Raw(b"\x92" + ENTRIES), {"chunk": "c"}),
    "packed as str": packed("a.b", Raw(b"\xdb" + len(ENTRIES).to_bytes(4, "big") + ENTRIES), {"chunk": "c"}),
    "packed as bin": packed(b"a.b", ENTRIES, None),
    "gzip": packed("a.b", gzip.compress(ENTRIES[:20]) + gzip.compress(ENTRIES[20:]), {"compressed": "gzip"}),
    "zstd": packed("a.b", zstandard.ZstdCompressor().compress(ENTRIES), {"chunk": "c", "compressed": "zstd"}),
    "gzip that is not said": packed("a.b", gzip.compress(ENTRIES)),
    "text": packed("a.b", ENTRIES, {"compressed": "text", "size": 2}),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(mode: str) -> None:
    found = read(MODES[mode])
    expected = ENTRIES if not mode.startswith("message") else pack_entry(TIME_NS, [("log", "a")])
    assert (found.tag, found.entries, found.malformed) == ("a.b", expected, 0)
    assert found.records == len(list(unpack_entries(expected)))
    assert bool(found.ack) == (b"chunk" in MODES[mode])


@pytest.mark.parametrize("chunk", ["id==\n", b"id", "x" * 300])
def test_an_ack_has_the_clients_own_bytes(chunk: Any) -> None:
    found = read(packed("t", ENTRIES, {"size": 2, "chunk": chunk}))
    assert acknowledgement(found.ack) == msgpack.packb({"ack": chunk})


def test_a_sign_of_life() -> None:
    assert read_message(b"\xc0", NOW_NS, 10) is None


def test_entries_of_fluent_bits_own_shape_are_passed_on() -> None:
    entries = b"\x92\x92" + TIME + b"\x81\xa1m\x01" + b"\x81\xa1a\x01" + b"\x92\x07\x80"
    assert checked(entries, NOW_NS) == (entries, 2, 0)


def test_times_of_nothing_are_now() -> None:
    for time in (b"\xc0", b"\x00"):
        found, records, malformed = checked(ENTRIES + b"\x92" + time + b"\x81\xa1a\x01" + ENTRIES, NOW_NS)
        assert (records, malformed) == (5, 0)
        assert found == ENTRIES + pack_entry(NOW_NS, [("a", 1)]) + ENTRIES


@pytest.mark.parametrize(
    "bad",
    [b"\x07", b"\xa3abc", b"\x93\x01\x80\x80", b"\x92\x01\x05", b"\x92\xa1x\x80", b"\x92\xd7\x05aaaabbbb\x80",
     b"\x92\x92\x92\x01\x80\x80\x80"],
)  # fmt: skip
def test_what_is_no_entry_is_kept_raw(bad: bytes) -> None:
    found, records, malformed = checked(ENTRIES + bad + ENTRIES, NOW_NS)
    assert (records, malformed) == (5, 1)
    assert found == ENTRIES + pack_entry(NOW_NS, [("log", bad)]) + ENTRIES


@pytest.mark.parametrize("bad", [b"\x92", b"\x92\x01", b"\x92\x01\xc1", b"\xc1", b"\xdb\xff\xff\xff\xff"])
def test_what_is_cut_or_no_msgpack_is_kept_raw(bad: bytes) -> None:
    assert checked(ENTRIES + bad, NOW_NS) == (ENTRIES + pack_entry(NOW_NS, [("log", bad)]), 3, 1)


@given(st.binary(max_size=200))
def test_whatever_is_sent_as_entries_can_be_read(data: bytes) -> None:
    found, records, _ = checked(data, NOW_NS)
    assert len(list(unpack_entries(found))) == records


@given(cuts=st.lists(st.integers(0, 40_000), max_size=20))
def test_messages_in_any_pieces(cuts: list[int]) -> None:
    long = packed(b"t" * 40, ENTRIES * 300, {"chunk": "c", "size": 600})
    messages = [
        *MODES.values(),
        b"\xc0",
        packed("x" * 300, b"y" * 1000),
        long,
        packed("t", ENTRIES * 300),
        long,
    ]
    data = b"".join(messages)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    stream, found = MessageStream(20_000), list[bytes]()
    for begin, end in itertools.pairwise(edges):
        found += stream.feed(data[begin:end])
    assert found == messages
    assert len(stream) == 0


def test_a_message_has_a_bound() -> None:
    for data in (packed("t", b"x" * 200), packed("t", b"x" * 200)[:-1], b"\xdb\xff\xff\xff\xff" + b"x" * 150):
        with pytest.raises(NotForward, match="more than 100 bytes") as caught:
            list(MessageStream(100).feed(data))
        assert caught.value.cause == "too_large"


def test_a_stream_that_is_no_msgpack() -> None:
    for data in (b"\xc1", b"\x91" * 100_000):
        with pytest.raises(NotForward, match="not msgpack, or nested too deeply"):
            list(MessageStream(1 << 20).feed(data))


@pytest.mark.parametrize("sent", [b'["a.b", 1700000000, {"log": "a"}]', b'{"log": "a"}'])
def test_who_sends_json_is_told_so(sent: bytes) -> None:
    first = next(MessageStream(1000).feed(sent))
    with pytest.raises(NotForward, match="sent JSON"):
        read(first)


@pytest.mark.parametrize(
    "raw",
    [b"\x05", b"\x80", b"\x90", b"\x91\xa1t", packed(5, ENTRIES), packed("t"), packed("t", ENTRIES, 5),
     packed("t", Raw(b"\xc3"), {}, 7), packed(None, ENTRIES)],
)  # fmt: skip
def test_what_is_no_message(raw: bytes) -> None:
    with pytest.raises(NotForward, match="not a message of the forward protocol"):
        read(raw)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_bombs(compress: Any) -> None:
    raw = packed("t", compress(bytes(10 << 20)))
    with pytest.raises(NotForward, match="more than 10000 bytes once decompressed") as caught:
        read(raw)
    assert caught.value.cause == "too_large"


def test_compression_that_is_none() -> None:
    with pytest.raises(NotForward, match="not compressed as it says"):
        read(packed("t", ENTRIES, {"compressed": "gzip"}))
    with pytest.raises(NotForward, match="can't be decompressed"):
        read(packed("t", gzip.compress(ENTRIES)[:-5]))


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    stream = MessageStream(1000)
    try:
        for raw in stream.feed(data):
            read_message(raw, NOW_NS, 1000)
    except NotForward:
        pass


@pytest.mark.parametrize("tag", ["t", "t" * 31, "t" * 32, "t" * 300, b"t" * 70_000])
def test_a_long_payload_is_read_as_a_short_one(tag: Any) -> None:
    entries = ENTRIES * 3000
    for payload in (entries, gzip.compress(entries, 0)):
        for options in ([], [{"chunk": b"id", "size": 1}], [None]):
            raw = packed(tag, payload, *options)
            assert list(MessageStream(1 << 20).feed(raw)) == [raw]
            found = read(raw, 1 << 20)
            assert (found.tag.encode(), found.entries, found.records) == (
                tag if isinstance(tag, bytes) else tag.encode(), entries, 6000,
            )  # fmt: skip
            assert bool(found.ack) == (options != [] and options != [None])
    as_str = packed(tag, Raw(b"\xdb" + len(entries).to_bytes(4, "big") + entries))
    assert read(as_str).entries == entries
    with pytest.raises(NotForward, match="not a message"):
        read(packed(tag, entries, 5))


def test_a_payload_that_would_be_too_long_is_refused_by_its_head() -> None:
    stream = MessageStream(10_000)
    with pytest.raises(NotForward, match="more than 10000 bytes"):
        list(stream.feed(packed("t", b"x" * 20_000)[:10]))


def test_many_small_messages_at_once_cost_their_number() -> None:
    one = packed("t", 5, {"n": 1})

    def cost_s(count: int) -> float:
        begin_s = process_time()
        assert sum(1 for _ in MessageStream(1000).feed(one * count)) == count
        return process_time() - begin_s

    cost_s(1000)
    assert cost_s(80_000) < 12 * cost_s(20_000)

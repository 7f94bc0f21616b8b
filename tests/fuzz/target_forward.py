"""What a client of the forward protocol sends: messages in any pieces, entries that are none."""

from __future__ import annotations

import contextlib

from collector.entries import count, unpack_entries
from collector.inputs import forward_messages
from collector.inputs.forward_handshake import Gate, Refused, ServerHandshake
from collector.inputs.forward_messages import MessageStream, NotForward, read_message

LIMIT_BYTES = 2000
MESSAGES = 4096  # that are looked at: a large input may be a million of them

# A long payload is one that the inputs of a fuzzer can have.
forward_messages._STEP_BYTES = 48
NOW_NS = 1_700_000_000_000_000_000


def split(data: bytes, cut: int) -> list[bytes]:
    """The messages of a client that sends in pieces of `cut` bytes, up to where it is turned away."""
    stream, found = MessageStream(LIMIT_BYTES), list[bytes]()
    for begin in range(0, len(data), cut):
        try:
            found += stream.feed(data[begin : begin + cut])
        except NotForward:
            break
        if len(found) >= MESSAGES:
            break
    return found[:MESSAGES]


def target(data: bytes) -> None:
    """The first byte says into which pieces the rest is cut."""
    if not data:
        return
    least = 1 + len(data) // 4096
    messages = split(data[1:], max(data[0], least))
    assert split(data[1:], least)[: len(messages)] == messages
    for raw in messages:
        with contextlib.suppress(Refused):
            ServerHandshake(Gate("key", "node", {"user": "password"})).answer(raw)
        try:
            message = read_message(raw, NOW_NS, LIMIT_BYTES)
        except NotForward:
            continue
        if message is not None:
            assert count(message.entries) == message.records
            assert len(list(unpack_entries(message.entries))) == message.records

"""What a receiver of the forward protocol says: its side of the handshake, then acks."""

from __future__ import annotations

from collector.outputs.connector import ProtocolError
from collector.outputs.forward_protocol import Credentials, Handshake, Messages, is_ack

CREDENTIALS = Credentials("key", "node-1", "user", "password")


def target(data: bytes) -> None:
    """The first byte says where what is received is cut in two."""
    cut = data[0] if data else 0
    pieces = (data[1 : 1 + cut], data[1 + cut :])
    try:
        handshake = Handshake(CREDENTIALS, salt=b"s" * 16)
        for piece in pieces:
            handshake.receive(piece)
    except ProtocolError:
        pass
    try:
        messages = Messages()
        for piece in pieces:
            for message in messages.feed(piece):
                is_ack(message, b"id")
    except ProtocolError:
        pass

"""The server's side of the handshake, with the client's side of the forward output."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.inputs.forward_handshake import Gate, Refused, ServerHandshake
from collector.outputs.connector import ProtocolError
from collector.outputs.forward_protocol import Credentials, Handshake

GATE = Gate("secret", "aggregator", {"node": "pass", "leer": ""})


def shake_hands(gate: Gate, credentials: Credentials) -> Handshake:
    server, client = ServerHandshake(gate), Handshake(credentials)
    client.receive(server.answer(client.receive(server.greeting())))
    return client


@pytest.mark.parametrize(
    ("gate", "credentials"),
    [
        (Gate("secret", "aggregator"), Credentials("secret", "me", "whoever", "whatever")),
        (GATE, Credentials("secret", "me", "node", "pass")),
        (GATE, Credentials("secret", "me", "leer", "")),
        (Gate("", "aggregator"), Credentials("", "me")),
    ],
)
def test_who_is_let_in(gate: Gate, credentials: Credentials) -> None:
    client = shake_hands(gate, credentials)
    assert client.established
    assert client.keepalive


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        (Credentials("other", "me", "node", "pass"), "shared_key mismatch"),
        (Credentials("secret", "me", "node", "wrong"), "username/password mismatch"),
        (Credentials("secret", "me", "nobody", ""), "username/password mismatch"),
        (Credentials("secret", "me"), "username/password mismatch"),
    ],
)
def test_who_is_not(credentials: Credentials, reason: str) -> None:
    server, client = ServerHandshake(GATE), Handshake(credentials)
    with pytest.raises(Refused, match=reason) as caught:
        server.answer(client.receive(server.greeting()))
    with pytest.raises(ProtocolError, match=f"refused the handshake: {reason}"):
        client.receive(caught.value.answer)


def test_a_ping_of_another_connection_is_worth_nothing() -> None:
    server, client = ServerHandshake(GATE), Handshake(Credentials("secret", "me", "node", "pass"))
    ping = client.receive(server.greeting())
    with pytest.raises(Refused, match="mismatch"):
        ServerHandshake(GATE).answer(ping)


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=9), max_size=7).map(msgpack.packb))
def test_what_is_no_ping(data: bytes) -> None:
    with pytest.raises(Refused):
        ServerHandshake(GATE).answer(data)

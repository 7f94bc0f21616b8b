"""What is said of a receiver that can't be reached. Connections that work: the tests of the outputs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl

import pytest

from collector.outputs.connector import Connector, NetworkSettings, ProtocolError, sentence
from collector.outputs.link import Link
from collector.outputs.resolver import Endpoint
from collector.plugin import DeliveryError

LOG = logging.getLogger("test")


def garbled_tls() -> ssl.SSLError:
    """What OpenSSL says when the other end speaks something else."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="x")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    incoming.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        session.do_handshake()
    return caught.value


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (TimeoutError(), "neither read nor answered in time"),
        (garbled_tls(), "broke TLS: WRONG_VERSION_NUMBER"),
        (socket.gaierror(-2, "Name or service not known"), "has no address: Name or service not known"),
        (OSError(errno.EPIPE, ""), "failed: Broken pipe (EPIPE)"),
        (ProtocolError("sent garbage"), "sent garbage"),
    ],
)
def test_what_the_receiver_did(reason: Exception, said: str) -> None:
    assert sentence(reason).startswith(said)


def test_a_receiver_that_accepts_and_then_says_nothing() -> None:
    async def never(link: Link) -> None:
        await link.receive()

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = Endpoint("127.0.0.1", server.getsockname()[1])
            settings = NetworkSettings(connect_timeout_s=0.1)
            with pytest.raises(DeliveryError, match=r"did not accept a connection in 0\.1 s"):
                await Connector(settings, endpoint, LOG, begin=never).open()

    asyncio.run(scenario())


def test_settings_check_both_halves() -> None:
    with pytest.raises(ValueError, match=r"tls\.key_file without"):
        NetworkSettings(key_file="x")
    with pytest.raises(ValueError, match="keep one"):
        NetworkSettings(prefer_ipv4=True, prefer_ipv6=True)
    with pytest.raises(ValueError, match=r"tls\.ciphers 'none-such', of which OpenSSL knows none"):
        NetworkSettings(ciphers="none-such")

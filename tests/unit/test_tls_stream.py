"""TLS without a socket: a server in memory is given what is sealed, in pieces, and what it says is fed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from collector.outputs.tls_stream import BATCH_BYTES, TlsStream
from tests.certificates import Authority

RECORD_BYTES = 16 << 10


class Server:
    """The other end."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._has_begun = False
        self.received = bytearray()

    def take(self, data: bytes) -> bytes:
        """What is to be answered."""
        self._incoming.write(data)
        try:
            if not self._has_begun:
                self._session.do_handshake()
                self._has_begun = True
            while piece := self._session.read(1 << 20):
                self.received += piece
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        self._session.write(data)
        return self._outgoing.read()

    def end(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self._session.unwrap()
        return self._outgoing.read()


def connected(authority: Authority, piece_bytes: int = 1 << 20) -> tuple[TlsStream, Server]:
    server = Server(authority.server_context())
    stream = TlsStream(ssl.create_default_context(cafile=str(authority.certificate)), "localhost")
    while not stream.shake_hands():
        answer = b"".join(server.take(piece) for piece in pieces(stream.take_sealed(), piece_bytes))
        for piece in pieces(answer, piece_bytes):
            stream.feed(piece)
    tickets = server.take(stream.take_sealed())
    stream.feed(tickets)
    return stream, server


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("piece_bytes", [100, 1 << 20])
def test_what_is_sealed_arrives_however_it_is_cut(authority: Authority, piece_bytes: int) -> None:
    stream, server = connected(authority, piece_bytes)
    sent = bytes(range(256)) * 5000
    view = memoryview(sent)
    while view:
        before = len(view)
        view = stream.seal(view)
        assert 0 < before - len(view) <= BATCH_BYTES
        records = -(-(before - len(view)) // RECORD_BYTES)
        assert stream.sealed_bytes - (before - len(view)) <= records * 64
        for piece in pieces(stream.take_sealed(), piece_bytes):
            server.take(piece)
        assert stream.sealed_bytes == 0
    assert server.received == sent


def test_what_arrives_is_opened_and_tickets_are_nothing(authority: Authority) -> None:
    stream, server = connected(authority)
    assert stream.unopened_bytes > 0  # the tickets
    assert stream.open(10) is None
    assert stream.unopened_bytes == 0
    record = server.say(b"some words")
    stream.feed(record[:7])
    assert stream.open(100) is None
    stream.feed(record[7:])
    assert stream.open(4) == b"some"
    assert stream.unopened_bytes == len(b" words")
    assert stream.open(100) == b" words"
    assert stream.open(100) is None


@pytest.mark.parametrize("in_good_order", [True, False])
def test_the_end_is_told(authority: Authority, in_good_order: bool) -> None:
    stream, server = connected(authority)
    stream.feed(server.say(b"last"))
    stream.feed(server.end() if in_good_order else b"")
    assert [stream.open(100), stream.open(100)] == [b"last", b""]


def test_our_end_is_told_to_the_server(authority: Authority) -> None:
    stream, server = connected(authority)
    stream.end()
    assert server.take(stream.take_sealed()) == b""
    assert server.received == b""
    stream.end()  # another time, or after an end that was not answered, is no error
    with pytest.raises(ssl.SSLError):
        stream.seal(memoryview(b"more"))


def test_a_foreign_certificate_and_its_alert(authority: Authority, tmp_path: Path) -> None:
    server = Server(Authority.make(tmp_path).server_context())
    stream = TlsStream(ssl.create_default_context(cafile=str(authority.certificate)), "localhost")
    assert not stream.shake_hands()
    stream.feed(server.take(stream.take_sealed()))
    with pytest.raises(ssl.SSLCertVerificationError):
        stream.shake_hands()
    with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
        server.take(stream.take_sealed())


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_server_that_speaks_no_tls(authority: Authority, said: bytes) -> None:
    stream = TlsStream(ssl.create_default_context(cafile=str(authority.certificate)), "localhost")
    assert not stream.shake_hands()
    stream.feed(said)
    with pytest.raises(ssl.SSLError):
        stream.shake_hands()


def test_what_was_forged_on_the_way_is_refused(authority: Authority) -> None:
    stream, server = connected(authority)
    record = bytearray(server.say(b"words"))
    record[-1] ^= 1
    stream.feed(bytes(record))
    with pytest.raises(ssl.SSLError, match=r"BAD_RECORD_MAC|RECORD_LAYER_FAILURE"):
        stream.open(100)

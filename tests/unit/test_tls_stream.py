"""TLS with a server in memory: it is given what is sealed, in pieces, and what it says is fed.

What is sent goes through a real socket, gathered in C and, as where that can't be, copied by Python.
"""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.native.sealing import Waits
from collector.outputs import tls_stream
from collector.outputs.tls_stream import BATCH_BYTES, TlsStream
from tests.certificates import Authority

RECORD_BYTES = 16 << 10
# What TLS 1.2 and 1.3 put around a record's content, at most, in the ciphers that are spoken today.
AROUND_BYTES = 64


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


def connected(
    authority: Authority,
    piece_bytes: int = 1 << 20,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> tuple[TlsStream, Server]:
    server = Server(authority.server_context())
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.maximum_version = version
    stream = TlsStream(context, "localhost")
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


Ends = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["gathered", "copied"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "copied":
        monkeypatch.setattr(tls_stream, "seal_of", lambda *_: None)
    return str(request.param)


@pytest.fixture
def ends() -> Iterator[Ends]:
    own, its = socket.socketpair()
    with own, its:
        own.setblocking(False)
        its.setblocking(False)
        yield own, its


def arrived(its: socket.socket) -> bytes:
    """What there is."""
    parts = []
    try:
        while part := its.recv(1 << 20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def send_all(stream: TlsStream, ends: Ends, view: memoryview, *, flush: bool = True) -> bytes:
    """What arrives at the other end, which reads when there is no room."""
    own, its = ends
    parts = []
    while True:
        view, waits = stream.send(own, view, flush=flush)
        parts.append(arrived(its))
        if waits is Waits.NOTHING:
            assert not view
            return b"".join(parts)
        assert waits is Waits.ROOM


@pytest.mark.parametrize("piece_bytes", [100, 1 << 20])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.usefixtures("way")
def test_what_is_sealed_arrives_however_it_is_cut(
    authority: Authority, ends: Ends, version: ssl.TLSVersion, piece_bytes: int
) -> None:
    stream, server = connected(authority, piece_bytes, version)
    stream.gather()
    sent = bytes(range(256)) * 5000
    sealed = send_all(stream, ends, memoryview(sent))
    assert 0 < len(sealed) - len(sent) <= -(-len(sent) // RECORD_BYTES) * AROUND_BYTES
    for piece in pieces(sealed, piece_bytes):
        server.take(piece)
    assert stream.sealed_bytes == 0
    assert server.received == sent


def test_gathering_in_c_is_what_happens_here(authority: Authority, way: str) -> None:
    stream, _ = connected(authority)
    stream.gather()
    assert (stream._seal is not None) is (way == "gathered")


@pytest.mark.usefixtures("way")
def test_less_than_a_batch_waits_for_what_follows(authority: Authority, ends: Ends) -> None:
    stream, server = connected(authority)
    stream.gather()
    assert send_all(stream, ends, memoryview(b"first "), flush=False) == b""
    assert len(b"first ") < stream.sealed_bytes <= len(b"first ") + AROUND_BYTES
    server.take(send_all(stream, ends, memoryview(b"second")))
    assert stream.sealed_bytes == 0
    assert server.received == b"first second"


@pytest.mark.usefixtures("way")
def test_a_batch_goes_without_being_asked_to(authority: Authority, ends: Ends) -> None:
    stream, _ = connected(authority)
    stream.gather()
    sealed = send_all(stream, ends, memoryview(bytes(BATCH_BYTES + 1)), flush=False)
    assert BATCH_BYTES < len(sealed) < BATCH_BYTES * 1.01
    assert 0 < stream.sealed_bytes <= 1 + AROUND_BYTES


@pytest.mark.usefixtures("way")
def test_what_the_socket_does_not_take_is_kept_and_bounded(authority: Authority, ends: Ends) -> None:
    stream, server = connected(authority)
    stream.gather()
    own, its = ends
    sent = bytes(range(256)) * 40_000
    view, waits = stream.send(own, memoryview(sent), flush=True)
    assert waits is Waits.ROOM
    for _ in range(100):  # nothing is sealed ahead, however often it is tried
        again, waits = stream.send(own, view, flush=True)
        assert (len(again), waits) == (len(view), Waits.ROOM)
    assert stream.sealed_bytes < BATCH_BYTES * 1.01
    server.take(arrived(its))
    server.take(send_all(stream, ends, view))
    assert server.received == sent


@pytest.mark.usefixtures("way")
def test_a_receiver_that_has_gone_is_an_error_of_the_socket(authority: Authority, ends: Ends) -> None:
    stream, _ = connected(authority)
    stream.gather()
    ends[1].close()
    with pytest.raises(BrokenPipeError):
        stream.send(ends[0], memoryview(b"words"), flush=True)


@pytest.mark.usefixtures("way")
def test_a_session_that_was_broken_off_says_so(authority: Authority, ends: Ends) -> None:
    stream, server = connected(authority)
    stream.gather()
    forged = bytearray(server.say(b"words"))
    forged[-1] ^= 1
    stream.feed(bytes(forged))
    with pytest.raises(ssl.SSLError):
        stream.open(100)
    with pytest.raises(ssl.SSLError):
        stream.send(ends[0], memoryview(b"more"), flush=True)


@pytest.mark.usefixtures("way")
def test_after_the_server_s_end_ours_goes_on(authority: Authority, ends: Ends) -> None:
    stream, server = connected(authority)
    stream.gather()
    stream.feed(server.say(b"a") + server.end())
    assert [stream.open(9), stream.open(9)] == [b"a", b""]
    server.take(send_all(stream, ends, memoryview(b"after their end")))
    assert server.received == b"after their end"


@pytest.mark.parametrize("stream_first", [True, False])
def test_a_session_and_its_seal_end_in_any_order(
    authority: Authority, ends: Ends, stream_first: bool
) -> None:
    stream, server = connected(authority)
    stream.gather()
    seal, session = stream._seal, stream._session
    assert seal is not None
    del stream
    if stream_first:
        del session
        gc.collect()
        assert seal.pending_bytes == 0
    else:
        del seal
        gc.collect()
        assert session.write(b"words") == 5
    assert server.received == b""


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


@pytest.mark.usefixtures("way")
def test_our_end_is_told_to_the_server(authority: Authority, ends: Ends) -> None:
    stream, server = connected(authority)
    stream.gather()
    stream.end()
    assert server.take(send_all(stream, ends, memoryview(b""))) == b""
    assert server.received == b""
    stream.end()  # another time, or after an end that was not answered, is no error
    with pytest.raises(ssl.SSLError):
        stream.send(ends[0], memoryview(b"more"), flush=True)


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

"""One connection: everything is written, silence ends, an idle one is watched."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collector.outputs.link import ConnectionEnded, Link
from tests.certificates import Authority


async def pair(silence_s: float = 20) -> tuple[Link, socket.socket]:
    own, other = socket.socketpair()
    own.setblocking(False)
    other.setblocking(False)
    return Link(own, silence_s), other


def test_all_buffers_arrive_in_order_however_small_the_pieces() -> None:
    async def scenario() -> None:
        link, other = await pair()
        buffers = [bytes([number]) * size for number, size in enumerate((1, 0, 300_000, 7, 1 << 20))]
        sending = asyncio.create_task(link.send(buffers))
        received = bytearray()
        while len(received) < sum(map(len, buffers)):
            received += await asyncio.get_running_loop().sock_recv(other, 50_000)
        await sending
        assert received == b"".join(buffers)
        link.close()
        other.close()

    asyncio.run(scenario())


def test_a_receiver_that_does_not_read_or_answer_is_given_up() -> None:
    async def scenario() -> None:
        link, other = await pair(silence_s=0.05)
        with pytest.raises(TimeoutError):
            await link.receive()
        with pytest.raises(TimeoutError):
            await link.send([b"x" * (64 << 20)])
        link.close()
        other.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("room_bytes", [16 << 10, 1 << 20])
def test_a_receiver_that_reads_slowly_is_not_silent(room_bytes: int) -> None:
    """Whether the kernel has no room for the rest, or has it all and an answer is awaited."""

    async def scenario() -> None:
        link, other = await slow_pair(room_bytes, silence_s=0.5)
        loop = asyncio.get_running_loop()
        own = loop.create_task(exchange(link, b"x" * SLOW_BYTES))
        taken = 0
        while taken < SLOW_BYTES:
            await asyncio.sleep(0.1)
            taken += len(await loop.sock_recv(other, 8 << 10))
        await loop.sock_sendall(other, b"ok")
        assert await own == b"ok"
        link.close()
        other.close()

    asyncio.run(scenario())


SLOW_BYTES = 128 << 10


async def slow_pair(room_bytes: int, silence_s: float) -> tuple[Link, socket.socket]:
    """By TCP, as a UNIX socket tells of what was taken by whole messages only."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 10)
        own = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room_bytes)
    own.setblocking(False)
    other.setblocking(False)
    return Link(own, silence_s), other


async def exchange(link: Link, message: bytes) -> bytes:
    await link.send([message])
    return await link.receive()


def test_the_end_of_the_connection_is_an_error() -> None:
    async def scenario() -> None:
        link, other = await pair()
        other.close()
        with pytest.raises(ConnectionEnded):
            await link.receive()
        with pytest.raises(BrokenPipeError):
            await link.send([b"x"])
        link.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("said", [b"", b"?"])
def test_an_idle_link_notices_the_end_and_what_nobody_asked_for(said: bytes) -> None:
    async def scenario() -> None:
        link, other = await pair()
        ended = asyncio.Event()
        link.watch(ended.set)
        await asyncio.sleep(0)
        assert not ended.is_set()
        if said:
            other.send(said)
        else:
            other.close()
        async with asyncio.timeout(20):
            await ended.wait()
        link.close()
        other.close()

    asyncio.run(scenario())


def test_finish_waits_until_the_other_end_has_read_everything() -> None:
    async def scenario() -> None:
        link, other = await pair()
        await link.send([b"last words"])
        other.send(b"never read")
        finishing = asyncio.create_task(link.finish())
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(other, 100) == b"last words"
        assert await loop.sock_recv(other, 100) == b""
        assert not finishing.done()
        other.close()
        await finishing

    asyncio.run(scenario())


def test_what_comes_while_nobody_asks_is_there_when_somebody_does() -> None:
    async def scenario() -> None:
        link, other = await pair()
        for word in (b"early", b"late"):
            waiting = asyncio.create_task(link.receive())
            await asyncio.sleep(0)
            other.send(b"first")
            assert await waiting == b"first"
            other.send(word)
            # The loop looks at the socket while the link is in use, and nobody reads.
            for _ in range(3):
                await asyncio.sleep(0)
            assert await link.receive() == word
        ended = asyncio.Event()
        link.watch(ended.set)
        other.close()
        async with asyncio.timeout(20):
            await ended.wait()
        link.close()

    asyncio.run(scenario())


def test_a_link_in_use_again_says_nothing_of_its_end() -> None:
    async def scenario() -> None:
        link, other = await pair()
        link.watch(lambda: pytest.fail("it was in use"))
        link.unwatch()
        other.close()
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(ConnectionEnded):
            await link.receive()
        link.close()

    asyncio.run(scenario())


@asynccontextmanager
async def openssl_server(
    directory: Path, version: str
) -> AsyncIterator[tuple[Link, asyncio.subprocess.Process]]:
    """A link to `openssl s_server`, which obeys single letters on its standard input."""
    authority = Authority.make(directory)
    certificate, key = map(str, authority.issue("server"))
    command = ("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key, version)
    server = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    try:
        accepting = await server.stdout.readuntil(b"ACCEPT 127.0.0.1:")
        port = int(await server.stdout.readline())
        assert accepting
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        link = Link(sock)
        await link.start_tls(ssl.create_default_context(cafile=str(authority.certificate)), "localhost")
        yield link, server
        await link.finish()
    finally:
        server.kill()
        await server.communicate()


@pytest.mark.parametrize(
    ("version", "letter"), [("-tls1_3", b"k"), ("-tls1_3", b"K"), ("-tls1_2", b"r"), ("-tls1_2", b"R")]
)
@pytest.mark.parametrize("is_idle", [False, True])
@pytest.mark.parametrize("is_gathered", [True, False])
def test_other_keys_and_another_handshake_within_a_session(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    letter: bytes,
    *,
    is_idle: bool,
    is_gathered: bool,
) -> None:
    if not is_gathered:
        monkeypatch.setattr("collector.outputs.tls_stream.seal_of", lambda *_: None)

    async def scenario() -> None:
        async with asyncio.timeout(30), openssl_server(tmp_path, version) as (link, server):
            assert server.stdin is not None
            assert server.stdout is not None
            await link.send([b"begin\n"])
            await server.stdout.readuntil(b"begin\n")
            if is_idle:
                looked = asyncio.Event()
                look = link._look

                def look_and_tell() -> None:
                    look()
                    looked.set()

                monkeypatch.setattr(link, "_look", look_and_tell)
                link.watch(lambda: pytest.fail("it has not ended"))
            server.stdin.write(letter + b"\n")
            if is_idle:
                await looked.wait()
                link.unwatch()
            sending = asyncio.create_task(link.send([b"x" * 1_000_000, b"\nend\n"]))
            while b"end" not in await _line(server.stdout):
                pass
            await sending
            server.stdin.write(b"go on\n")
            assert await link.receive() == b"go on\n"

    asyncio.run(scenario())


def test_a_receiver_that_changes_keys_without_end_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.outputs.link.IDLE_ANSWERS_BYTES", 100)

    async def scenario() -> None:
        async with asyncio.timeout(30), openssl_server(tmp_path, "-tls1_3") as (link, server):
            assert server.stdin is not None
            await link.send([b"begin\n"])
            ended = asyncio.Event()
            link.watch(ended.set)
            while not ended.is_set():
                server.stdin.write(b"K\n")
                await server.stdin.drain()
                await asyncio.sleep(0.01)  # what comes together is one letter to it

    asyncio.run(scenario())


async def _line(stream: asyncio.StreamReader) -> bytes:
    """A line of any length."""
    line = b""
    while not line.endswith(b"\n"):
        piece = await stream.read(1 << 16)
        assert piece, line[-200:]
        line += piece
    return line


def test_what_came_with_the_last_answer_is_seen_when_the_link_is_idle(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), openssl_server(tmp_path, "-tls1_3") as (link, server):
            assert server.stdin is not None
            server.stdin.write(b"one answer\n")
            assert await link.receive(3) == b"one"
            ended = asyncio.Event()
            link.watch(ended.set)
            await ended.wait()

    asyncio.run(scenario())


def test_what_is_there_comes_together_and_its_end_after_it() -> None:
    async def scenario() -> None:
        link, other = await pair()
        other.send(b"x" * 3000)
        other.send(b"y" * 3000)
        assert await link.receive_all(5000) == b"x" * 3000 + b"y" * 2000
        other.close()
        assert await link.receive_all(5000) == b"y" * 1000
        with pytest.raises(ConnectionEnded):
            await link.receive_all(5000)
        link.close()

    asyncio.run(scenario())


def test_what_is_there_of_several_records_of_tls_comes_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        authority = Authority.make(tmp_path)
        texts = [bytes([number]) * 16_000 for number in range(5)]
        sent = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            for text in texts:
                writer.write(text)
            await writer.drain()
            sent.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server_context())
        sock = socket.create_connection(server.sockets[0].getsockname())
        sock.setblocking(False)
        link = Link(sock)
        await link.start_tls(ssl.create_default_context(cafile=str(authority.certificate)), "localhost")
        await link.send([b"?"])
        await sent.wait()
        assert await link.receive_all(1 << 20) == b"".join(texts)
        link.close()
        server.close()

    asyncio.run(scenario())

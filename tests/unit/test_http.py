"""The HTTP server: heads whole and byte by byte, refusals, and clients that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.service.http import (
    MAX_CONNECTIONS,
    MAX_HEAD_BYTES,
    BadRequest,
    PortUnavailable,
    Request,
    Response,
    Server,
    parse_head,
)


def test_a_head() -> None:
    head = b"GET /metrics?all=1 HTTP/1.1\r\nHost: node\r\nAccept: */*\r\n\r\n"
    assert parse_head(head) == Request("GET", "/metrics", True)
    assert parse_head(b"HEAD / HTTP/1.0\r\n\r\n") == Request("HEAD", "/", False)
    assert parse_head(b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n") == Request("GET", "/", False)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 16385\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 9000 + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
    ],
)
def test_heads_that_are_refused(head: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_head(head)
    assert refused.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_a_bad_request(head: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert parse_head(head).path.startswith("/")


async def answer(request: Request) -> Response | None:
    return Response("hello\n", "text/plain") if request.path == "/hello" else None


async def exchange(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answered = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answered


def served(*pieces: bytes) -> bytes:
    async def scenario() -> bytes:
        server = Server(answer)
        try:
            return await exchange(await server.start("127.0.0.1", 0), *pieces)
        finally:
            await server.close()

    return asyncio.run(scenario())


HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"
)


def test_whole_and_byte_by_byte() -> None:
    assert served(HELLO) == ANSWER
    assert served(*(bytes((byte,)) for byte in HELLO)) == ANSWER


def test_head_has_no_body_and_unknown_paths_are_404() -> None:
    assert served(HELLO.replace(b"GET", b"HEAD")) == ANSWER.removesuffix(b"hello\n")
    assert served(HELLO.replace(b"/hello", b"/other")).startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_a_body_is_passed_over() -> None:
    asked = HELLO.replace(b"GET", b"POST").replace(b"close", b"keep-alive")
    with_body = asked.replace(b"Host: x", b"Content-Length: 2") + b"{}"
    assert served(with_body, HELLO) == ANSWER.replace(b"close", b"keep-alive") + ANSWER


def test_requests_one_after_the_other_on_one_connection() -> None:
    first = HELLO.replace(b"close", b"keep-alive")
    assert served(first + HELLO) == ANSWER.replace(b"close", b"keep-alive") + ANSWER


def test_a_head_without_end_is_refused() -> None:
    assert served(b"GET /hello HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES * 2).startswith(b"HTTP/1.1 431 ")


def test_clients_that_only_hold_connections_keep_nobody_out() -> None:
    async def scenario() -> None:
        server = Server(answer)
        port = await server.start("127.0.0.1", 0)
        kept_reader, kept = await asyncio.open_connection("127.0.0.1", port)
        held = []
        for _ in range(4 * MAX_CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /hello HT")
            held.append((reader, writer))
            if len(held) % 32 == 0:  # one that is of use stays, however old it is
                kept.write(HELLO.replace(b"close", b"keep-alive"))
                await kept_reader.readuntil(b"hello\n")
        assert await exchange(port, HELLO) == ANSWER
        assert await held[0][0].read() == b""
        assert len(server._connections) <= MAX_CONNECTIONS
        kept.close()
        await server.close()
        for _, writer in held:
            writer.close()

    asyncio.run(scenario())


def test_any_address_means_ipv4_too() -> None:
    async def scenario() -> None:
        server = Server(answer)
        port = await server.start("::", 0)
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
        await server.close()

    asyncio.run(scenario())


def test_a_taken_port_is_said() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(
                PortUnavailable, match=rf"can't listen on 127\.0\.0\.1:{port}: Address already in use"
            ):
                await Server(answer).start("127.0.0.1", port)

    asyncio.run(scenario())

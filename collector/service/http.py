"""A small HTTP/1.1 server for answers that fit in memory; what is uploaded is bounded and passed over.

aiohttp's server would add 17 MiB of resident memory (measured on CPython 3.11), more
than a third of what podwitness may use when idle, for endpoints that take no body.
What a client may make the server hold is bounded: MAX_CONNECTIONS heads of MAX_HEAD_BYTES. At the
bound the connection gives way that has been silent for longest, so that clients which only hold
connections can't keep a kubelet out, which would restart the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from collector.errors import OperatorError

MAX_HEAD_BYTES = 16 << 10  # request line and headers; common servers allow 8 to 16 KiB
MAX_BODY_BYTES = 16 << 10  # `curl -d '{}'`: nothing is in it for us
MAX_CONNECTIONS = 64  # a kubelet, a few scrapers and a person need a handful
HEAD_S = 10.0  # a client that dribbles its request is cut off
IDLE_S = 75.0  # beyond Prometheus' usual scrape interval of 15 to 60 s, so that its connection is kept


@dataclass(frozen=True, slots=True)
class Request:
    """What matters of a request."""

    method: str
    path: str  # without the query
    keep_alive: bool
    body_bytes: int = 0  # -1: in chunks
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)  # names in lower case

    @property
    def is_question(self) -> bool:
        """Whether it changes nothing."""
        return self.method in ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Response:
    body: str
    content_type: str = "application/json"
    status: int = 200


class BadRequest(Exception):
    """A head that can't be answered as asked; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def parse_head(head: bytes, most_body_bytes: int = MAX_BODY_BYTES, *, takes_chunks: bool = False) -> Request:
    """The head of a request, its last empty line included. Raises BadRequest."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[1].startswith("/"):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    method, target, version = parts
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if method not in ("GET", "HEAD", "POST", "PUT"):
        raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED)
    headers: dict[str, str] = {}
    for line in filter(None, lines[1:]):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        headers[name.lower()] = value.strip()
    connection = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close").lower()
    body_bytes = _body_bytes(method, headers, most_body_bytes, takes_chunks)
    return Request(method, target.partition("?")[0], connection != "close", body_bytes, headers)


def _body_bytes(method: str, headers: dict[str, str], most_body_bytes: int, takes_chunks: bool) -> int:
    if "transfer-encoding" in headers:
        # Both lengths at once is how requests are smuggled past a proxy.
        is_plain = headers["transfer-encoding"].lower() == "chunked" and "content-length" not in headers
        if not (takes_chunks and is_plain):
            raise BadRequest(HTTPStatus.LENGTH_REQUIRED)
        return -1
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    # As a number only where it is short: Python takes its time for a number of 16,000 digits.
    most = 0 if method in ("GET", "HEAD") else most_body_bytes
    if len(length.lstrip("0")) > len(str(most)) or int(length) > most:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)


def encode_response(response: Response, *, with_body: bool, keep_alive: bool) -> bytes:
    """The bytes of a response."""
    body = response.body.encode()
    head = (
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")


class PortUnavailable(OperatorError):
    """The address of the HTTP service can't be listened on."""


class Server:
    """Answers with what `answer(request)` gives; None is 404."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response | None]]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], None] = {}

    async def start(self, listen: str, port: int) -> int:
        """Begins to listen; returns the port. Raises PortUnavailable."""
        try:
            self._server = await self._listen(listen, port)
        except OSError as reason:
            text = os.strerror(reason.errno) if reason.errno else str(reason)
            raise PortUnavailable(
                f"The HTTP service can't listen on {listen}:{port}: {text}.",
                "Health and metrics could not be asked for.",
                "Set HTTP_Listen and HTTP_Port to a free address (on the command line: -P PORT), "
                "or HTTP_Server Off.",
            ) from reason
        return int(self._server.sockets[0].getsockname()[1])

    async def _listen(self, listen: str, port: int) -> asyncio.Server:
        if listen == "::":
            # asyncio would answer IPv6 only, and a kubelet asks by the pod's IPv4 address.
            both = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            return await asyncio.start_server(self._serve, sock=both, limit=MAX_HEAD_BYTES)
        return await asyncio.start_server(self._serve, listen, port, limit=MAX_HEAD_BYTES)

    async def close(self) -> None:
        """Ends all connections."""
        if self._server is None:
            return
        self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = None
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                silent = next(iter(self._connections))
                del self._connections[silent]
                silent.cancel()
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._converse(reader, writer)
        finally:
            self._connections.pop(task, None)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wait_s, keep_alive = HEAD_S, True
        while keep_alive:
            try:
                async with asyncio.timeout(wait_s):
                    request = parse_head(await reader.readuntil(b"\r\n\r\n"))
                    await reader.readexactly(request.body_bytes)
            except asyncio.LimitOverrunError:
                await self._refuse(writer, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            except BadRequest as reason:
                await self._refuse(writer, reason.status)
                return
            self._spoke()
            keep_alive, wait_s = request.keep_alive, IDLE_S
            response = await self._answer(request) or plain(HTTPStatus.NOT_FOUND)
            with_body = request.method != "HEAD"
            writer.write(encode_response(response, with_body=with_body, keep_alive=keep_alive))
            await self._drain(writer)

    def _spoke(self) -> None:
        """The connections are in the order in which they were last of use."""
        task = asyncio.current_task()
        if task in self._connections:
            self._connections[task] = self._connections.pop(task)

    async def _refuse(self, writer: asyncio.StreamWriter, status: int) -> None:
        writer.write(encode_response(plain(status), with_body=True, keep_alive=False))
        with contextlib.suppress(OSError, TimeoutError):
            await self._drain(writer)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            await writer.drain()


def plain(status: int) -> Response:
    """The status in words."""
    return Response(f"{HTTPStatus(status).phrase}\n", "text/plain", status)

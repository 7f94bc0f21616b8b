"""A web server for tests: aiohttp's, over TLS where asked; keeps what it was sent, answers as told."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import zstandard
from aiohttp import web


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body decompressed."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    peer: tuple[str, int]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False  # close the connection instead of answering


@dataclass(eq=False)
class WebServer:
    """`answer(request)` decides; change it at any time."""

    answer: Callable[[Request], Answer] = lambda request: Answer()
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def connections(self) -> int:
        return len({request.peer for request in self.requests})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        compressed = request.headers.get("Content-Encoding")
        if compressed == "gzip":
            body = gzip.decompress(body)
        elif compressed == "zstd":
            body = zstandard.ZstdDecompressor().decompress(body)
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")[:2]
        headers = tuple(request.headers.items())
        found = Request(request.method, request.raw_path, headers, body, peer)
        self.requests.append(found)
        answer = self.answer(found)
        if answer.hang_up:
            request.transport.close()
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


@asynccontextmanager
async def serving(
    server: WebServer | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebServer]:
    """A started server."""
    server = server or WebServer()
    # Bodies stay as they were sent: what decompresses them is in `handle`.
    runner = web.ServerRunner(web.Server(server.handle, auto_decompress=False))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()

"""The HTTP client against a real server: connections, proxies, pauses, and what an answer means."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from collector.outputs.http_client import (
    HttpClient,
    HttpSettings,
    header_kind,
    last_of_each,
    retry_after_s,
)
from collector.outputs.proxy import Proxy as Proxied
from collector.outputs.resolver import Endpoint
from collector.plugin import DeliveryError, Rejected
from tests.certificates import Authority
from tests.web_server import Answer, WebServer, serving

LOG = logging.getLogger("test")


def client(server: WebServer, **settings: Any) -> HttpClient:
    return HttpClient(dataclasses.replace(HttpSettings(), port=server.port, **settings), LOG)


async def post(client: HttpClient, body: bytes = b"x") -> int:
    return (await client.send("/a?b=c", body, [("Content-Type", "text/plain")])).status


def test_a_request_and_a_connection_for_many() -> None:
    async def scenario() -> None:
        async with serving() as server:
            subject = client(server, user="me", password="päss")
            for _ in range(5):
                await post(subject, b"y" * 300_000)
            assert server.connections == 1
            (request, *_) = server.requests
            assert (request.method, request.target, len(request.body)) == ("POST", "/a?b=c", 300_000)
            assert request.header("Authorization") == "Basic bWU6cMOkc3M="
            assert request.header("Host") == f"127.0.0.1:{server.port}"
            assert (request.header("User-Agent") or "").startswith("podwitness/")
            await subject.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("settings", "connections"), [({"keepalive": False}, 4), ({"max_recycle": 1}, 2)])
def test_connections_are_recycled_as_configured(settings: dict[str, Any], connections: int) -> None:
    async def scenario() -> None:
        async with serving() as server:
            subject = client(server, **settings)
            for _ in range(4):
                await post(subject)
            assert server.connections == connections
            await subject.close()

    asyncio.run(scenario())


def test_a_server_that_closes_is_asked_again_on_a_new_connection() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.answer = lambda request: Answer(headers={"Connection": "close"})
            subject = client(server)
            for _ in range(3):
                await post(subject)
            assert server.connections == 3
            server.answer = lambda request: Answer()
            await post(subject)
            count = len(server.requests)
            server.answer = lambda request: Answer(hang_up=len(server.requests) == count + 1)
            await post(subject)
            assert len(server.requests) == count + 2
            await subject.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, None), (204, None), (301, DeliveryError), (400, Rejected), (401, Rejected), (408, DeliveryError),
     (413, Rejected), (429, DeliveryError), (500, DeliveryError), (503, DeliveryError)],
)  # fmt: skip
def test_what_an_answer_means(status: int, expected: type[Exception] | None) -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.answer = lambda request: Answer(status, b"" if status == 204 else b"says\x1bwhy")
            subject = client(server)
            if expected is None:
                assert await post(subject) == status
            else:
                with pytest.raises(expected, match=rf"127\.0\.0\.1:\d+ answered {status} .*: says\\x1bwhy"):
                    await post(subject)
                silent = client(server, log_response_payload=False)
                with pytest.raises(expected) as caught:
                    await post(silent)
                assert "says" not in str(caught.value)
                await silent.close()
            await subject.close()

    asyncio.run(scenario())


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.answer = lambda request: Answer(429, headers={"Retry-After": "1"})
            subject = client(server)
            with pytest.raises(DeliveryError):
                await post(subject)
            server.answer = lambda request: Answer()
            began_s = time.monotonic()
            await post(subject)
            assert time.monotonic() - began_s > 0.9
            await subject.close()

    asyncio.run(scenario())


def test_how_long_a_pause_is() -> None:
    assert retry_after_s("120", 0.0) == 120
    assert retry_after_s(formatdate(1_000_060, usegmt=True), 1_000_000.0) == 60
    assert retry_after_s(formatdate(1_000_000, usegmt=True), 1_000_060.0) == 0
    assert retry_after_s("soon", 0.0) == retry_after_s("", 0.0) == 0


def test_silence_ends() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.close()

        async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            subject = client(WebServer(port=port), response_timeout_s=0.1)
            with pytest.raises(DeliveryError, match="neither read nor answered in time"):
                await post(subject)
            release.set()

    asyncio.run(scenario())


def test_tls_and_a_proxy(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)

    async def scenario() -> None:
        async with serving(tls=authority.server_context()) as server, proxying() as proxy:
            secure = {"tls": True, "ca_file": str(authority.certificate), "verify_hostname": True}
            for settings in (
                secure,
                secure | {"proxy": Proxied(Endpoint("127.0.0.1", proxy.port), "Basic eDp5")},
            ):
                subject = client(server, **settings)
                await post(subject)
                await post(subject)
                await subject.close()
            assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
            assert "\r\nProxy-Authorization: Basic eDp5\r\n" in proxy.heads[0]
            assert all(request.header("Proxy-Authorization") is None for request in server.requests)
            assert server.connections == 2
            proxy.refuses = True
            subject = client(server, **secure, proxy=Proxied(Endpoint("127.0.0.1", proxy.port)))
            with pytest.raises(
                DeliveryError, match=r"is behind a proxy, 127\.0\.0\.1:\d+, that answered 403"
            ):
                await post(subject)

    asyncio.run(scenario())


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving() as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://a:b@127.0.0.1:{proxy.port}")
            subject = HttpClient(HttpSettings(host="logs.invalid", port=8080), LOG)
            await post(subject)
            assert proxy.requests[0].target == "http://logs.invalid:8080/a?b=c"
            assert proxy.requests[0].header("Proxy-Authorization") == "Basic YTpi"
            await subject.close()
            direct = HttpClient(HttpSettings(host="logs.invalid", proxy_env_ignore=True), LOG)
            with pytest.raises(DeliveryError, match="has no address"):
                await post(direct)

    asyncio.run(scenario())


def test_a_proxy_without_tls_gets_the_whole_address() -> None:
    async def scenario() -> None:
        async with serving() as proxy:
            subject = HttpClient(
                HttpSettings(
                    host="logs.invalid", port=8080, proxy=Proxied(Endpoint("127.0.0.1", proxy.port))
                ),
                LOG,
            )
            await post(subject)
            assert proxy.requests[0].target == "http://logs.invalid:8080/a?b=c"
            assert proxy.requests[0].header("Host") == "logs.invalid:8080"
            await subject.close()

    asyncio.run(scenario())


class Proxy:
    """Knows CONNECT."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.refuses = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line = head.split("\r\n")[0]
        if self.refuses:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        self.asked.append(line)
        self.heads.append(head)
        host, _, port = line.split()[1].rpartition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class proxying:
    def __init__(self) -> None:
        self._proxy = Proxy()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._proxy.serve, "127.0.0.1", 0)
        self._proxy.port = self._server.sockets[0].getsockname()[1]
        return self._proxy

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


def test_values_of_keys() -> None:
    assert header_kind.read("X-Scope a b") == ("X-Scope", "a b")
    for wrong in ("X-Scope", "X-Scope: a", "a b\r\nc"):
        with pytest.raises(ValueError, match="name of a header"):
            header_kind.read(wrong)
    with pytest.raises(ValueError, match="http_Passwd without http_User"):
        HttpSettings(password="x")
    assert last_of_each([("A", "1"), ("b", "2"), ("a", "3")]) == [("a", "3"), ("b", "2")]

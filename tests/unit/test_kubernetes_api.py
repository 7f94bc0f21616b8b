"""Requests to the API server: addresses, tokens, limits, and answers that are none."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from collector.kubernetes.api import Api, read_url
from collector.kubernetes.api_errors import ApiRefused, ApiUnavailable
from collector.kubernetes.credentials import Token
from collector.outputs.connector import NetworkSettings
from tests.api_server import ApiServer, api_server, recorded


def api(url: str, token: Token | None = None) -> Api:
    return Api(read_url(url), NetworkSettings(), token or Token("", "", 600), logging.getLogger("t"))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://kubernetes.default.svc:443", "https://kubernetes.default.svc:443"),
        ("https://kubernetes.default.svc", "https://kubernetes.default.svc:443"),
        ("http://127.0.0.1:8001/", "http://127.0.0.1:8001"),
        ("https://[fd00::1]:6443/k8s/clusters/c-1", "https://[fd00::1]:6443/k8s/clusters/c-1"),
    ],
)
def test_urls(written: str, shown: str) -> None:
    assert str(read_url(written)) == shown


@pytest.mark.parametrize(
    "written", ["", "kubernetes", "ftp://x", "https://", "https://x:99999", "https://x?a=b"]
)
def test_what_is_no_url(written: str) -> None:
    with pytest.raises(ValueError, match="expected https://host:port"):
        read_url(written)


def test_refusals_have_the_servers_words() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            server.fails["/forbidden"] = (403, "you may not")
            with pytest.raises(ApiRefused, match="answered 403: you may not"):
                await api(server.url).get("/forbidden")
            with pytest.raises(ApiRefused, match="404"):
                await api(server.url).get("/api/v1/namespaces/none")

    asyncio.run(scenario())


def test_answer_beyond_the_bound() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            for pod in recorded("pods"):
                await server.put(pod)
            with pytest.raises(ApiUnavailable, match="more than 1000 bytes"):
                await api(server.url).get("/api/v1/pods", 1000)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b""]
)
def test_what_is_no_answer(answer: bytes) -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ApiUnavailable):
            await api(f"http://127.0.0.1:{port}").get("/")
        server.close()

    asyncio.run(scenario())


def test_token_of_a_file_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")

    async def scenario() -> None:
        async with api_server() as server:
            server.put_other("/thing", {"metadata": {}})
            server.tokens = {"old"}
            one = api(server.url, Token(str(file), "", 600))
            await one.get("/thing")
            server.tokens = {"new"}
            file.write_text("new\n")
            await one.get("/thing")
            assert len(server.requests) == 3
            server.tokens = {"other"}
            with pytest.raises(ApiRefused, match="401"):
                await one.get("/thing")

    asyncio.run(scenario())


def test_server_that_is_not_there_is_named() -> None:
    async def scenario() -> None:
        server = ApiServer()
        await server.start()
        url = server.url
        await server.stop()
        with pytest.raises(ApiUnavailable, match="is not there: can't connect"):
            await api(url).get("/")

    asyncio.run(scenario())

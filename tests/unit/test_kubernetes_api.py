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


async def streamed(pieces: list[bytes]) -> list[list[bytes]]:
    """Lines of an answer that comes in these pieces, each in a chunk of its own; those that came together."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        chunks = [b"%x\r\n%s\r\n" % (len(one), one) for one in pieces]
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = [lines async for lines in api(f"http://127.0.0.1:{port}").lines("/", 1000)]
    server.close()
    return found


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n\n", b" \nc\n"], [b"a", b"b", b"c"]),
        ([b"a", b"b", b"\nc", b"\n"], [b"ab", b"c"]),
        ([b"a\nno end"], [b"a"]),
        ([b"x" * 1000 + b"\n"] * 3, [b"x" * 1000] * 3),
    ],
)
def test_lines_however_they_are_cut(pieces: list[bytes], lines: list[bytes]) -> None:
    assert [one for together in asyncio.run(streamed(pieces)) for one in together] == lines


def test_line_beyond_the_bound_ends_the_answer_after_those_before_it() -> None:
    with pytest.raises(ApiUnavailable, match="sent a line of more than 1000 bytes"):
        asyncio.run(streamed([b"a\n", b"x" * 1001]))


def test_the_first_line_comes_at_once_and_others_gather() -> None:
    """Nobody is woken up for each of them."""

    async def scenario() -> None:
        async with api_server() as server:
            server.sends_lines = True
            path = "/api/v1/pods?watch=1&resourceVersion=1000"
            together = []
            (pod, *_) = recorded("pods")
            await server.put(pod)
            async for lines in api(server.url).lines(path):
                together.append(len(lines))
                for _ in range(20 if len(together) == 1 else 0):
                    await server.put(pod)
                    # Each is sent before the next.
                    await asyncio.sleep(0.001)
                if sum(together) == 21:
                    break
            assert together[0] == 1
            assert len(together) < 6

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

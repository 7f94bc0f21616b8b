"""The input http with a real client, over TCP and TLS: answers, tags, limits, clients that mean no good."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from collector.config.instances import InputCommon
from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.delivery.chunk import Chunk
from collector.entries import unpack_entries
from collector.filters.chain import FilterChain
from collector.inputs.http import Http, Settings
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.certificates import Authority


class Intake:
    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.is_safe = True

    async def submit_safely(self, chunk: Chunk) -> bool:
        self.chunks.append(chunk)
        return self.is_safe

    def records(self) -> list[tuple[str, dict[Any, Any]]]:
        return [
            (chunk.tag, dict(pairs)) for chunk in self.chunks for _, pairs in unpack_entries(chunk.entries)
        ]


class House:
    def __init__(self, settings: Settings, tag: str) -> None:
        self.intake = Intake()
        self.metrics = Metrics(TABLE)
        context: Any = SimpleNamespace(
            name="http.0",
            node_id=b"n" * 8,
            plugin=SimpleNamespace(common=InputCommon(name="http", tag=tag)),
            chain=FilterChain(()),
            intake=self.intake,
            metrics=self.metrics,
            log=logging.getLogger("test"),
        )
        self.input = Http(settings, context)
        self.stop = asyncio.Event()

    @property
    def port(self) -> int:
        return self.input.port

    def refused(self, cause: str) -> float:
        return self.metrics.value("podwitness_http_refused_total", "http.0", cause)


@asynccontextmanager
async def listening(tag: str = "", **settings: Any) -> AsyncIterator[House]:
    house = House(Settings(listen="127.0.0.1", port=0, **settings), tag)
    task = asyncio.create_task(house.input.run(house.stop))
    await asyncio.wait_for(house.input.is_listening.wait(), 20)
    try:
        yield house
    finally:
        house.stop.set()
        await asyncio.wait_for(task, 20)


def test_records_tags_and_answers() -> None:
    async def scenario() -> None:
        header = (("X-Taken", "by us"),)
        async with listening(tag="own", tag_key="app", success_header=header) as house:
            url = f"http://127.0.0.1:{house.port}"
            async with aiohttp.ClientSession() as client:
                async with client.post(url + "/", json={"a": 1}) as answer:
                    assert (answer.status, await answer.text(), answer.headers["X-Taken"]) == (
                        201,
                        "",
                        "by us",
                    )
                async with client.post(
                    url + "/some/path", json=[{"a": 2}, {"a": 3, "app": "shop"}]
                ) as answer:
                    assert answer.status == 201
                async with client.post(url + "/form", data={"x": "y"}) as answer:
                    assert answer.status == 201
            assert house.intake.records() == [
                ("own", {"a": 1}),
                ("some_path", {"a": 2}),
                ("shop", {"a": 3, "app": "shop"}),
                ("form", {"x": "y"}),
            ]
            assert len({chunk.id for chunk in house.intake.chunks}) == 4

    asyncio.run(scenario())


def test_compressed_and_in_chunks() -> None:
    async def scenario() -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b'{"a"', b": ", b"2}"):
                yield piece

        async with listening(successful_response_code=204, add_remote_addr=True) as house:
            url = f"http://127.0.0.1:{house.port}/t"
            headers = {"Content-Type": "application/json"}
            async with aiohttp.ClientSession(headers=headers) as client:
                packed = zlib.compress(b'{"a": 1}', wbits=31)
                async with client.post(url, data=packed, headers={"Content-Encoding": "gzip"}) as answer:
                    assert answer.status == 204
                async with client.post(url, data=pieces()) as answer:
                    assert answer.status == 204
            assert house.intake.records() == [
                ("t", {"a": 1, "REMOTE_ADDR": "127.0.0.1"}),
                ("t", {"a": 2, "REMOTE_ADDR": "127.0.0.1"}),
            ]

    asyncio.run(scenario())


async def status_line(reader: asyncio.StreamReader) -> bytes:
    return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        (("X-Forwarded-For: 192.0.2.7, 10.0.0.1",), "192.0.2.7"),
        # Of several headers the last one, as Fluent Bit does with Http2 On, which is its default.
        (("X-Forwarded-For: host1, host2", "x-forwarded-for: host3, host4"), "host3"),
        (("X-Forwarded-For: , 10.0.0.1",), "127.0.0.1"),
        ((f"X-Forwarded-For: {'x' * 64}, 10.0.0.1",), "x" * 64),
        # What is no address does not go into each record.
        ((f"X-Forwarded-For: {'x' * 65}, 10.0.0.1",), "127.0.0.1"),
        ((), "127.0.0.1"),
    ],
)
def test_the_address_of_a_client_behind_a_proxy(headers: tuple[str, ...], address: str) -> None:
    async def scenario() -> None:
        async with listening(add_remote_addr=True, remote_addr_key="from") as house:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            own = ("POST /t HTTP/1.1", "Content-Type: application/json", "Content-Length: 7")
            writer.write("\r\n".join((*own, *headers, "", '{"a":1}')).encode())
            assert await status_line(reader) == b"HTTP/1.1 201 Created"
            writer.close()
            assert house.intake.records() == [("t", {"a": 1, "from": address})]

    asyncio.run(scenario())


def test_a_probe_is_answered() -> None:
    async def scenario() -> None:
        async with listening() as house, aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{house.port}/health"
            for _ in range(2):
                async with client.get(url) as answer:
                    assert answer.status == 200
                    told = json.loads(await answer.text())
            assert (told["status"], list(told)) == ("ok", ["status", "message", "timestamp"])
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", told["timestamp"])
            async with client.post(url, json={"a": 1}) as answer:
                assert answer.status == 201
            assert house.intake.records() == [("health", {"a": 1})]

    asyncio.run(scenario())


def test_so_many_clients_at_a_time() -> None:
    async def scenario() -> None:
        async with listening(max_connections=1) as house:
            url = f"http://127.0.0.1:{house.port}/t"
            async with aiohttp.ClientSession() as first, aiohttp.ClientSession() as second:
                async with first.post(url, json={"a": 1}) as answer:
                    assert answer.status == 201
                with pytest.raises(aiohttp.ClientError):
                    await second.post(url, json={"a": 2})
            assert house.refused("connections") == 1

    asyncio.run(scenario())
    assert [Settings(max_connections=most).max_clients for most in (0, 300)] == [256, 256]


def test_keys_by_their_names_of_fluent_bit_5() -> None:
    names = ("buffer_max_size", "buffer_chunk_size", "http2", "max_connections")
    values = ("1M", "64K", "off", "9")
    for prefix in ("", "http_server."):
        entries = tuple(
            Entry(prefix + name, value, "f", 2) for name, value in zip(names, values, strict=True)
        )
        found = load(Settings, Section("INPUT", "f", 1, entries))
        assert (found.buffer_max_size, found.buffer_chunk_size) == (1_000_000, 64_000)
        assert (found.http2, found.max_connections) == (False, 9)


def test_what_is_no_record_is_refused_with_the_reason() -> None:
    async def scenario() -> None:
        async with listening(buffer_max_size=1000) as house:
            url = f"http://127.0.0.1:{house.port}/t"
            async with aiohttp.ClientSession() as client:
                async with client.post(url, data="x", headers={"Content-Type": "text/plain"}) as answer:
                    assert answer.status == 400
                    assert "error: the Content-Type text/plain is not one that is read" in await answer.text()
                async with client.post(url, json={"a": "x" * 2000}) as answer:
                    assert answer.status == 413
                async with client.get(url) as answer:
                    assert answer.status == 400
            assert house.intake.chunks == []
            assert house.refused("body") == 2

    asyncio.run(scenario())


def test_over_tls(tmp_path: Path) -> None:
    async def scenario() -> None:
        authority = Authority.make(tmp_path)
        certificate, key = authority.issue("localhost")
        async with listening(tls=True, crt_file=str(certificate), key_file=str(key)) as house:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            url = f"https://localhost:{house.port}/t"
            async with (
                aiohttp.ClientSession() as client,
                client.post(url, json={"a": 1}, ssl=context) as answer,
            ):
                assert answer.status == 201
            assert house.intake.records() == [("t", {"a": 1})]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET http://x/ HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFF\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd", b"400"),
        (b"POST / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
    ],
)
def test_requests_that_mean_no_good(sent: bytes, status: bytes) -> None:
    async def scenario() -> None:
        async with listening() as house:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            writer.write(sent)
            answered = await asyncio.wait_for(reader.read(), 20)
            writer.close()
        assert answered.startswith(b"HTTP/1.1 " + status)

    asyncio.run(scenario())


def test_requests_one_after_the_other_and_an_end_while_one_is_open() -> None:
    async def scenario() -> None:
        async with listening() as house:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            body = json.dumps({"a": 1}).encode()
            head = b"POST /t HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
                body
            )
            writer.write((head + body) * 3)
            answers = b""
            while answers.count(b"201 Created") < 3:
                answers += await asyncio.wait_for(reader.read(1000), 20)
            assert len(house.intake.chunks) == 3
            writer.write(head[:10])
            await writer.drain()
        writer.close()

    asyncio.run(scenario())


def test_what_could_not_be_kept_is_not_confirmed() -> None:
    async def scenario() -> None:
        async with listening() as house:
            house.intake.is_safe = False
            url = f"http://127.0.0.1:{house.port}/t"
            async with aiohttp.ClientSession() as client, client.post(url, json={"a": 1}) as answer:
                assert answer.status == 503

    asyncio.run(scenario())


def test_a_body_larger_than_all_clients_may_hold_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="has a Buffer_Max_Size above 32M"):
        Settings(buffer_max_size=64 << 20)

"""The http output against a real server: formats, headers, compression."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from collector.outputs.http import Http, Settings, body_of, uri
from collector.plugin import Rejected
from tests.certificates import Authority
from tests.unit.chunks import chunk_of
from tests.web_server import WebServer, serving

LOG = logging.getLogger("test")
TIME_NS = 1_700_000_000_500_000_000
CHUNK = chunk_of({"log": "ä", "n": 1}, {"log": "b"}, time_ns=TIME_NS)


def output(server: WebServer, **settings: Any) -> Http:
    return Http(dataclasses.replace(Settings(), port=server.port, **settings), LOG)


@pytest.mark.parametrize(
    ("settings", "body"),
    [
        ({}, '[{"date":1700000000.5,"log":"\\u00e4","n":1},{"date":1700000000.5,"log":"b"}]'),
        ({"format": "json_stream", "json_date_key": "false"}, '{"log":"\\u00e4","n":1}{"log":"b"}'),
        (
            {"format": "json_lines", "json_date_key": "@t", "json_date_format": "iso8601"},
            '{"@t":"2023-11-14T22:13:20.500000Z","log":"\\u00e4","n":1}\n'
            '{"@t":"2023-11-14T22:13:20.500000Z","log":"b"}\n',
        ),
    ],
)
def test_formats(settings: dict[str, Any], body: str) -> None:
    assert body_of(CHUNK.entries, dataclasses.replace(Settings(), **settings)).decode() == body


def test_msgpack_is_the_chunk_itself() -> None:
    assert body_of(CHUNK.entries, Settings(format="msgpack")) == CHUNK.entries


def test_what_is_sent() -> None:
    async def scenario() -> None:
        async with serving() as server:
            http = output(
                server, uri="/in", method="PUT", headers=(("X-A", "1"), ("x-a", "2")), header_tag="X-Tag"
            )
            await http.deliver(dataclasses.replace(CHUNK, tag="kube.ä"))
            (request,) = server.requests
            assert (request.method, request.target) == ("PUT", "/in")
            assert [value for name, value in request.headers if name.lower() == "x-a"] == ["1", "2"]
            assert request.header("X-Tag") == "kube.ä"
            assert request.header("Content-Type") == "application/json"
            assert [one["log"] for one in json.loads(request.body)] == ["ä", "b"]
            await http.close()

    asyncio.run(scenario())


def test_headers_once_and_a_tag_that_would_make_a_header_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving() as server:
            http = output(
                server,
                headers=(("X-A", "1"), ("x-a", "2"), ("Content-Type", "text/x")),
                header_tag="X-Tag",
                allow_duplicated_headers=False,
                format="msgpack",
            )
            await http.deliver(dataclasses.replace(CHUNK, tag="a\r\nX-Admin: 1"))
            (request,) = server.requests
            assert [value for name, value in request.headers if name.lower() == "x-a"] == ["2"]
            assert (request.header("X-Tag"), request.header("X-Admin")) == (None, None)
            assert request.header("Content-Type") == "text/x"
            assert request.body == CHUNK.entries
            await http.close()

    asyncio.run(scenario())
    assert "can't stand in a header" in caplog.text


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_compression_over_tls(tmp_path: Path, compress: str) -> None:
    authority = Authority.make(tmp_path)

    async def scenario() -> None:
        async with serving(tls=authority.server_context()) as server:
            http = output(server, tls=True, ca_file=str(authority.certificate), compress=compress)
            await http.deliver(CHUNK)
            (request,) = server.requests
            assert request.header("Content-Encoding") == compress
            assert len(json.loads(request.body)) == 2
            await http.close()

    asyncio.run(scenario())


def test_entries_that_are_none_are_rejected() -> None:
    async def scenario() -> None:
        http = output(WebServer(port=1))
        with pytest.raises(Rejected, match="cut"):
            await http.deliver(dataclasses.replace(CHUNK, entries=CHUNK.entries[:-1]))

    asyncio.run(scenario())


def test_a_path() -> None:
    assert uri.read("in/a?b=c") == "/in/a?b=c"
    for wrong in ("/a b", "/ä", "/a\n"):
        with pytest.raises(ValueError, match="without spaces"):
            uri.read(wrong)

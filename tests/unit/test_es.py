"""The es output: Elastic Cloud, API keys, over TLS. Requests: test_bulk.py."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.config.upstreams import Node
from collector.outputs.bulk import Bulk
from collector.outputs.es import Settings, cloud_host, make, resolved
from tests.certificates import Authority
from tests.unit.chunks import chunk_of
from tests.web_server import Answer, WebServer, serving


def cloud_id(decoded: str) -> str:
    return "my-deployment:" + base64.b64encode(decoded.encode()).decode()


def test_elastic_cloud() -> None:
    assert cloud_host(cloud_id("eu.aws.found.io$abc$def")) == ("abc.eu.aws.found.io", 443)
    assert cloud_host(cloud_id("eu.aws.found.io:9243$abc$def")) == ("abc.eu.aws.found.io", 9243)
    assert cloud_host(cloud_id("eu.aws.found.io$abc:9244$def").rstrip("=")) == ("abc.eu.aws.found.io", 9244)
    for wrong in ("x", "name:!!!!", cloud_id("nothing"), cloud_id("a:b$c")):
        with pytest.raises(ValueError, match="Cloud_ID that Elastic Cloud has not made"):
            Settings(cloud_id=wrong)
    with pytest.raises(ValueError, match="not user:password"):
        Settings(cloud_auth="x")
    found = resolved(Settings(cloud_id=cloud_id("d$e$k"), cloud_auth="elastic:a:b", api_key="k"))
    assert (found.host, found.port, found.user, found.password, found.headers) == (
        "e.d",
        443,
        "elastic",
        "a:b",
        (),
    )


def test_an_api_key_over_tls(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)

    async def scenario() -> None:
        server = WebServer(lambda request: Answer(200, b'{"errors":false}'))
        async with serving(server, tls=authority.server_context()):
            settings = Settings(
                port=server.port, api_key="a2V5", tls=True, ca_file=str(authority.certificate)
            )
            bulk = Bulk(resolved(settings), logging.getLogger("test"))
            await bulk.deliver(chunk_of({"log": "a"}))
            (request,) = server.requests
            assert request.header("Authorization") == "ApiKey a2V5"
            assert json.loads(request.body.splitlines()[1])["log"] == "a"
            await bulk.close()

    asyncio.run(scenario())


def test_several_servers() -> None:
    async def scenario() -> None:
        ok = Answer(200, b'{"errors":false}')
        async with (
            serving(WebServer(lambda request: ok)) as one,
            serving(WebServer(lambda request: ok)) as two,
        ):
            nodes = tuple(
                Node(name, 1, Settings(port=server.port)) for name, server in (("a", one), ("b", two))
            )
            context: Any = SimpleNamespace(log=logging.getLogger("test"), plugin=SimpleNamespace(nodes=nodes))
            output = make(Settings(upstream="x"), context)
            for number in range(4):
                await output.deliver(chunk_of({"n": number}))
            assert (len(one.requests), len(two.requests)) == (2, 2)
            two.answer = lambda request: Answer(503)
            await output.deliver(chunk_of({"n": 4}))
            await output.deliver(chunk_of({"n": 5}))
            assert len(one.requests) == 4
            await output.close()

    asyncio.run(scenario())

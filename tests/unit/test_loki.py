"""The loki output against a real server: streams, tenants, tokens."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.errors import OperatorError
from collector.outputs.loki import Loki, Settings
from tests.unit.chunks import TIME_NS, chunk_of
from tests.web_server import Answer, WebServer, serving

LOG = logging.getLogger("test")


def settings(**keys: str) -> Settings:
    entries = tuple(Entry(name, value, "x.conf", 1) for name, value in keys.items())
    return load(Settings, Section("OUTPUT", "x.conf", 1, entries))


def pushed(*records: dict[Any, Any], **keys: str) -> tuple[list[dict[str, Any]], WebServer]:
    server = WebServer(lambda request: Answer(204))

    async def scenario() -> None:
        async with serving(server):
            loki = Loki(settings(port=str(server.port), **keys), LOG)
            await loki.deliver(chunk_of(*records))
            await loki.close()

    asyncio.run(scenario())
    return [json.loads(request.body) for request in server.requests], server


def test_records_are_grouped_by_their_labels() -> None:
    records: list[dict[str, Any]] = [{"s": "out", "log": str(number)} for number in range(2)] + [
        {"s": "err", "log": "2"}
    ]
    (body,), server = pushed(*records, labels="job=x, $s", bearer_token="t", compress="gzip")
    assert body["streams"] == [
        {
            "stream": {"job": "x", "s": "out"},
            "values": [[str(TIME_NS), '{"log":"0"}'], [str(TIME_NS), '{"log":"1"}']],
        },
        {"stream": {"job": "x", "s": "err"}, "values": [[str(TIME_NS), '{"log":"2"}']]},
    ]
    (request,) = server.requests
    assert request.target == "/loki/api/v1/push"
    assert (request.header("Authorization"), request.header("X-Scope-OrgID")) == ("Bearer t", None)


def test_what_fluent_bit_has_without_keys() -> None:
    (body,), _ = pushed({"log": "a"})
    assert body["streams"][0]["stream"] == {"job": "fluent-bit"}


def test_tenants_have_requests_of_their_own() -> None:
    records: list[dict[str, Any]] = [
        {"t": "one", "n": 1},
        {"n": 2},
        {"t": "two\r\nX-Evil: 1", "n": 3},
        {"t": "one", "n": 4},
    ]
    bodies, server = pushed(*records, tenant_id="usual", tenant_id_key="$t", remove_keys="t")
    by_tenant = {
        request.header("X-Scope-OrgID"): body for request, body in zip(server.requests, bodies, strict=True)
    }
    assert {tenant: len(body["streams"][0]["values"]) for tenant, body in by_tenant.items()} == {
        "one": 2,
        "usual": 2,
    }
    assert all(request.header("X-Evil") is None for request in server.requests)


def test_keys_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text('{"k": {"ns": "namespace"}}')
    record = {"log": "line", "k": {"ns": "prod", "labels": {}}, "pod": "p", "trace": "t"}
    (body,), _ = pushed(
        record,
        label_keys="$pod, gone",
        label_map_path=str(path),
        structured_metadata="trace=$trace",
        structured_metadata_map_keys="$none",
        remove_keys="$k",
        drop_single_key="raw",
        auto_kubernetes_labels="on",
        line_format="key_value",
    )
    assert body["streams"] == [
        {
            "stream": {"job": "fluent-bit", "pod": "p", "namespace": "prod"},
            "values": [[str(TIME_NS), "line", {"trace": "t"}]],
        }
    ]


def test_a_label_map_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.json can't be used: .*No such file"):
        Loki(settings(label_map_path=str(tmp_path / "none.json")), LOG)

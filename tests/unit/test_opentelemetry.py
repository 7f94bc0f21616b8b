"""The opentelemetry output against a real server: batches, sent once when they were answered."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from collector.outputs.opentelemetry import OpenTelemetry, Settings, label
from collector.plugin import DeliveryError, Rejected
from tests.certificates import Authority
from tests.unit.chunks import chunk_of
from tests.web_server import Answer, Request, WebServer, serving

LOG = logging.getLogger("test")


def logs(request: Request) -> list[str]:
    (resource,) = ExportLogsServiceRequest.FromString(request.body).resource_logs
    return [one.body.string_value for one in resource.scope_logs[0].log_records]


@pytest.mark.parametrize("compress", ["gzip", "zstd", None])
def test_batches_over_tls(tmp_path: Path, compress: str | None) -> None:
    authority = Authority.make(tmp_path)

    async def scenario() -> None:
        async with serving(tls=authority.server_context()) as server:
            settings = Settings(
                port=server.port, tls=True, ca_file=str(authority.certificate), batch_size=2,
                compress=compress, add_label=(("service.name", "x"),),
            )  # fmt: skip
            output = OpenTelemetry(settings, LOG)
            await output.deliver(chunk_of(*({"log": str(number)} for number in range(5))))
            assert [logs(request) for request in server.requests] == [["0", "1"], ["2", "3"], ["4"]]
            assert {request.target for request in server.requests} == {"/v1/logs"}
            assert server.requests[0].header("Content-Type") == "application/x-protobuf"
            await output.close()

    asyncio.run(scenario())


def test_batches_that_were_answered_are_not_sent_again() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.answer = lambda request: Answer(503 if len(server.requests) == 2 else 200)
            output = OpenTelemetry(Settings(port=server.port, batch_size=2), LOG)
            chunk = chunk_of(*({"log": str(number)} for number in range(5)))
            with pytest.raises(DeliveryError):
                await output.deliver(chunk)
            await output.deliver(chunk)
            assert [logs(request)[0] for request in server.requests] == ["0", "2", "2", "4"]
            await output.close()

    asyncio.run(scenario())


def test_a_batch_that_is_refused_takes_only_those_behind_it_along() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.answer = lambda request: Answer(400 if len(server.requests) == 2 else 200)
            output = OpenTelemetry(Settings(port=server.port, batch_size=2), LOG)
            with pytest.raises(Rejected, match=r"refused 3 of 5 records: .*answered 400") as caught:
                await output.deliver(chunk_of(*({"log": str(number)} for number in range(5))))
            assert caught.value.entries == chunk_of({"log": "2"}, {"log": "3"}, {"log": "4"}).entries
            await output.close()

    asyncio.run(scenario())


def test_requests_that_are_too_large_come_again_in_halves() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.answer = lambda request: Answer(413 if len(logs(request)) > 2 else 200)
            output = OpenTelemetry(Settings(port=server.port), LOG)
            await output.deliver(chunk_of(*({"log": str(number)} for number in range(5))))
            assert [logs(request) for request in server.requests] == [
                ["0", "1", "2", "3", "4"], ["0", "1"], ["2", "3", "4"], ["2"], ["3", "4"],
            ]  # fmt: skip
            await output.close()

    asyncio.run(scenario())


def test_what_the_collector_refuses_is_counted() -> None:
    partial = ExportLogsPartialSuccess(rejected_log_records=2, error_message="too old")
    body = ExportLogsServiceResponse(partial_success=partial).SerializeToString()

    async def scenario() -> None:
        async with serving(WebServer(lambda request: Answer(200, body))) as server:
            output = OpenTelemetry(Settings(port=server.port), LOG)
            with pytest.raises(Rejected, match="refused 2 of 3 records: too old") as caught:
                await output.deliver(chunk_of({"log": "a"}, {"log": "b"}, {"log": "c"}))
            assert caught.value.records == 2
            await output.close()

    asyncio.run(scenario())


def test_a_label() -> None:
    assert label.read("service.name a b") == ("service.name", "a b")
    with pytest.raises(ValueError, match="a name and a value"):
        label.read("x")

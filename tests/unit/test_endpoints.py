"""The HTTP endpoints, asked by a real client (aiohttp): Fluent Bit's paths and shapes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector.config.service import ServiceSettings
from collector.service.endpoints import Endpoints, uptime_sentence
from collector.service.health import Health
from collector.service.metrics import Metrics
from collector.service.table import TABLE, begin_at_zero


@dataclass
class Outcome:
    problems: tuple[str, ...] = ()


@dataclass
class FakeReload:
    """The mechanism itself is tested with a whole agent."""

    is_offered: bool = True
    outcome: Outcome = field(default_factory=Outcome)
    count: int = 0

    async def ask(self) -> Outcome:
        self.count += not self.outcome.problems
        return self.outcome


@asynccontextmanager
async def service(
    *, health_check: bool = True, reload: FakeReload | None = None
) -> AsyncIterator[tuple[aiohttp.ClientSession, Metrics, Health]]:
    metrics, health = Metrics(TABLE), Health(ServiceSettings())
    begin_at_zero(metrics, inputs=["tail.0"], filters=[], outputs=["forward.0"])
    endpoints = Endpoints(
        metrics=metrics,
        health=health,
        health_check=health_check,
        started_s=time.monotonic() - 90061,
        version="1.2",
        reload=reload or FakeReload(),
        plugins={"inputs": ["tail"], "filters": [], "outputs": ["null"]},
        refresh=[lambda: metrics.set("podwitness_delivery_waiting", to=4)],
    )
    port = await endpoints.start("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield client, metrics, health
    await endpoints.close()


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, str, str]:
    async with client.get(path) as response:
        return response.status, response.headers["Content-Type"], await response.text()


def test_about_and_uptime() -> None:
    async def scenario() -> None:
        async with service() as (client, _, _), client.get("/") as response:
            assert (await response.json())["fluent-bit"]["version"] == "1.2"
            async with client.get("/api/v1/uptime") as uptime:
                found = await uptime.json()
        assert found["uptime_sec"] in range(90061, 90100)
        assert found["uptime_hr"].startswith("Fluent Bit has been running:  1 day, 1 hour, 1 minute and ")

    asyncio.run(scenario())


def test_the_uptime_sentence() -> None:
    assert uptime_sentence(0) == "Fluent Bit has been running:  0 day, 0 hour, 0 minute and 0 second"
    assert (
        uptime_sentence(2 * 86400 + 3 * 3600 + 60 + 59)
        == "Fluent Bit has been running:  2 days, 3 hours, 1 minute and 59 seconds"
    )


def test_health_follows_output_failures_and_parts() -> None:
    async def scenario() -> None:
        async with service() as (client, metrics, health):
            assert await get(client, "/api/v1/health") == (200, "text/plain", "ok\n")
            metrics.add("fluentbit_output_retries_failed_total", "forward.0", by=6)
            assert await get(client, "/api/v1/health") == (500, "text/plain", "error\n")
            health.report("ebpf.0", False, "tracepoint sched_process_exec: EPERM")
            async with client.get("/api/v2/health") as response:
                assert response.status == 500
                assert await response.json() == {
                    "status": "error",
                    "errors": 0,
                    "retries_failed": 6,
                    "error_limit": 5,
                    "retry_failure_limit": 5,
                    "period_limit": 60,
                    "components": {"ebpf.0": {"ok": False, "reason": "tracepoint sched_process_exec: EPERM"}},
                }

    asyncio.run(scenario())


def test_health_exists_only_when_asked_for() -> None:
    async def scenario() -> None:
        async with service(health_check=False) as (client, _, _):
            assert (await get(client, "/api/v1/health"))[0] == 404

    asyncio.run(scenario())


def test_metrics_json() -> None:
    async def scenario() -> None:
        async with service() as (client, metrics, _):
            metrics.add("fluentbit_input_records_total", "tail.0", by=2)
            async with client.get("/api/v1/metrics") as response:
                found = await response.json()
        assert found["input"] == {"tail.0": {"records": 2, "bytes": 0}}

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics/prometheus", "/api/v2/metrics/prometheus"])
def test_metrics_for_prometheus(path: str) -> None:
    async def scenario() -> None:
        async with service() as (client, _, _):
            status, content_type, text = await get(client, path)
        assert (status, content_type) == (200, "text/plain; version=0.0.4")
        found = {
            sample.name: sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert found["podwitness_delivery_waiting"].value == 4
        assert found["fluentbit_build_info"].labels == {"version": "1.2", "edition": "podwitness"}
        assert (found["podwitness_delivery_waiting"].timestamp is not None) == ("v1" in path)

    asyncio.run(scenario())


def test_plugins() -> None:
    async def scenario() -> None:
        async with service() as (client, _, _), client.get("/api/v1/plugins") as response:
            assert await response.json() == {
                "plugins": {"inputs": ["tail"], "filters": [], "outputs": ["null"]}
            }

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("reload", "status", "answer", "count"),
    [
        (FakeReload(), 200, {"reload": "done", "status": 0}, 1),
        (FakeReload(is_offered=False), 400, {"reload": "not enabled", "status": -1}, 0),
        (
            FakeReload(outcome=Outcome(("a.conf:3: no",))),
            400,
            {"reload": "failed", "status": -1, "problems": ["a.conf:3: no"]},
            0,
        ),
    ],
)
def test_reload(reload: FakeReload, status: int, answer: dict[str, object], count: int) -> None:
    async def scenario() -> None:
        async with service(reload=reload) as (client, _, _):
            for ask in (client.post, client.put):
                async with ask("/api/v2/reload", data="{}") as response:
                    assert (response.status, await response.json()) == (status, answer)
            async with client.get("/api/v2/reload") as response:
                assert await response.json() == {"hot_reload_count": 2 * count}

    asyncio.run(scenario())


def test_what_only_answers_can_not_be_written_to() -> None:
    async def scenario() -> None:
        async with service() as (client, _, _):
            async with client.post("/metrics", data="x") as response:
                assert response.status == 405
            async with client.post("/nothing") as response:
                assert response.status == 404

    asyncio.run(scenario())

"""The HTTP endpoints, asked by a real client (aiohttp): Fluent Bit's paths and shapes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector.config.service import ServiceSettings
from collector.delivery.census import Census, Count
from collector.service.endpoints import Endpoints, uptime_sentence
from collector.service.fluent_bit_metrics import begin_at_zero
from collector.service.health import Health
from collector.service.metrics import Metrics
from collector.service.stalls import Stall
from collector.service.table import TABLE


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


@dataclass
class Work:
    """What the pipeline says of itself; that it is true is tested with a whole agent."""

    metrics: Metrics
    phase: str = "running"
    standing: tuple[Stall, ...] = ()
    counted: Census = field(default_factory=Census)

    def stalls(self, now_s: float) -> tuple[Stall, ...]:
        return self.standing

    def census(self) -> Census:
        return self.counted

    def set_gauges(self) -> None:
        self.metrics.set("podwitness_delivery_waiting", to=4)


@asynccontextmanager
async def service(
    *, health_check: bool = True, reload: FakeReload | None = None, storage_metrics: bool = True, **work: Any
) -> AsyncIterator[tuple[aiohttp.ClientSession, Metrics, Health]]:
    metrics, health = Metrics(TABLE), Health(ServiceSettings())
    begin_at_zero(metrics, inputs=["tail.0"], filters=[], outputs=["forward.0"])
    endpoints = Endpoints(
        metrics=metrics,
        health=health,
        health_check=health_check,
        started_s=time.monotonic() - 90061,
        version="1.2",
        node="n1",
        reload=reload or FakeReload(),
        plugins={"inputs": ["tail"], "filters": [], "outputs": ["null"]},
        work=Work(metrics, **work),
        stall_timeout_s=lambda: 120,
        storage_metrics=storage_metrics,
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
        assert found["fluentbit_build_info"].labels == {
            "hostname": "n1",
            "version": "1.2",
            "os": "linux",
            "edition": "podwitness",
        }
        assert (found["podwitness_delivery_waiting"].timestamp is not None) == ("v1" in path)

    asyncio.run(scenario())


def test_metrics_as_lines() -> None:
    async def scenario() -> None:
        async with service() as (client, metrics, _):
            metrics.add("fluentbit_input_records_total", "tail.0", by=2)
            status, content_type, text = await get(client, "/api/v2/metrics")
        assert (status, content_type) == (200, "text/plain")
        time_of = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
        assert re.search(rf'^{time_of} fluentbit_input_records_total{{name="tail\.0"}} = 2$', text, re.M)

    asyncio.run(scenario())


def test_storage() -> None:
    counted = Census(3, 1)
    counted.sources["tail.0"] = Count(2, 4, 1, 1536, 104, 50_000_000)
    counted.sources["ebpf.0"] = Count(1, 0, 0, 0, 60 << 20, 50_000_000, is_over_limit=True)

    async def scenario() -> None:
        async with service(counted=counted) as (client, _, _), client.get("/api/v1/storage") as response:
            found = await response.json()
        assert found["storage_layer"]["chunks"] == {
            "total_chunks": 7,
            "mem_chunks": 3,
            "fs_chunks": 5,
            "fs_chunks_up": 1,
            "fs_chunks_down": 4,
        }
        assert found["input_chunks"]["tail.0"] == {
            "status": {"overlimit": False, "mem_size": "104b", "mem_limit": "47.7M"},
            "chunks": {"total": 6, "up": 2, "down": 4, "busy": 1, "busy_size": "1.5K"},
        }
        assert found["input_chunks"]["ebpf.0"]["status"]["overlimit"] is True
        async with service(storage_metrics=False) as (client, _, _):
            assert (await get(client, "/api/v1/storage"))[0] == 404

    asyncio.run(scenario())


AWAY = Stall("forward.0", "it waits", 121, False)
HUNG = Stall("tail.0", "a.log is not read", 361, True)


@pytest.mark.parametrize(
    ("work", "live", "ready"),
    [
        ({}, "", ""),
        ({"phase": "starting"}, "", "starting\n"),
        ({"phase": "stopping"}, "", "stopping\n"),
        ({"standing": (AWAY._replace(age_s=120), HUNG._replace(age_s=120))}, "", ""),
        ({"standing": (AWAY,)}, "", "forward.0: for 121 s: it waits\n"),
        ({"standing": (AWAY._replace(age_s=9e5),)}, "", "forward.0: for 900000 s: it waits\n"),
        ({"standing": (HUNG._replace(age_s=360),)}, "", "tail.0: for 360 s: a.log is not read\n"),
        ({"standing": (HUNG,)}, *["tail.0: for 361 s: a.log is not read\n"] * 2),
    ],
)  # fmt: skip
def test_live_and_ready(work: dict[str, Any], live: str, ready: str) -> None:
    async def scenario() -> None:
        async with service(**work) as (client, _, _):
            for path, reasons in (("/livez", live), ("/readyz", ready)):
                expected = (503, "text/plain", reasons) if reasons else (200, "text/plain", "ok\n")
                assert await get(client, path) == expected

    asyncio.run(scenario())


def test_ready_is_nobody_with_failures_or_a_part_that_is_not_well() -> None:
    async def scenario() -> None:
        async with service(health_check=False) as (client, metrics, health):
            metrics.add("fluentbit_output_errors_total", "forward.0", by=6)
            health.report("ebpf.0", False, "EPERM")
            status, _, reasons = await get(client, "/readyz")
            assert (status, reasons) == (503, "outputs: 6 errors and 0 given up deliveries\nebpf.0: EPERM\n")
            assert (await get(client, "/livez"))[0] == 200

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

"""Single objects of the API: asked for once, remembered, and not asked for again when they are not there."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collector.kubernetes.api import Api, read_url
from collector.kubernetes.credentials import Token
from collector.kubernetes.lookup import Lookup
from collector.kubernetes.pods import Pods
from collector.kubernetes.workload import Workload
from collector.outputs.connector import NetworkSettings
from tests.api_server import ApiServer, api_server, recorded


class House:
    def __init__(self, server: ApiServer) -> None:
        self.pods = Pods()
        self.counts: Counter[tuple[str, str]] = Counter()
        api = Api(read_url(server.url), NetworkSettings(), Token("", "", 600), logging.getLogger("t"))
        self.lookup = Lookup(
            api, self.pods, count=lambda *what: self.counts.update([what]), namespace_ttl_s=600
        )
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.lookup.told.append(self.told.put_nowait)


@asynccontextmanager
async def house() -> AsyncIterator[tuple[ApiServer, House]]:
    async with api_server() as server:
        for pod in recorded("pods"):
            await server.put(pod)
        for one in recorded("namespaces"):
            server.put_other(f"/api/v1/namespaces/{one['metadata']['name']}", one)
        made = House(server)
        try:
            yield server, made
        finally:
            made.lookup.close()


def test_pod_is_asked_for_once() -> None:
    async def scenario() -> None:
        async with house() as (server, one):
            await asyncio.gather(*(one.lookup.pod("shop", "db-0") for _ in range(5)))
            await one.lookup.pod("shop", "db-0")
            assert server.requests == ["/api/v1/namespaces/shop/pods/db-0"]
            assert one.pods.find("shop", "db-0") is not None

    asyncio.run(scenario())


def test_pod_that_is_not_there_is_not_asked_for_again() -> None:
    async def scenario() -> None:
        async with house() as (server, one):
            for _ in range(3):
                await one.lookup.pod("shop", "no/ne?x")
            assert server.requests == ["/api/v1/namespaces/shop/pods/no%2Fne%3Fx"]
            assert one.counts == {("pod", "404"): 1}

    asyncio.run(scenario())


def test_server_that_is_down_is_not_asked_for_each_record() -> None:
    async def scenario() -> None:
        async with house() as (server, one):
            await server.stop()
            for _ in range(3):
                await one.lookup.pod("shop", "db-0")
            assert one.counts == {("pod", "unavailable"): 1}
            await server.start(server.port)

    asyncio.run(scenario())


def test_namespace_comes_later_and_is_told() -> None:
    async def scenario() -> None:
        async with house() as (server, one):
            assert one.lookup.namespace("shop") is None
            assert not one.lookup.knows_namespace("shop")
            assert await asyncio.wait_for(one.told.get(), 20) == "shop"
            found = one.lookup.namespace("shop")
            assert found is not None
            assert found.labels is not None
            assert found.labels["kubernetes.io/metadata.name"] == "shop"
            assert len(server.requests) == 1
            assert one.lookup.namespace("none") is None
            assert await asyncio.wait_for(one.told.get(), 20) == "none"
            assert one.lookup.knows_namespace("none")
            assert one.lookup.namespace("none") is None
            assert len(server.requests) == 2

    asyncio.run(scenario())


def test_owner_of_a_job() -> None:
    async def scenario() -> None:
        async with house() as (server, one):
            job = next(item for item in recorded("workloads") if item["kind"] == "Job")
            job["metadata"]["ownerReferences"] = [{"kind": "CronJob", "name": "report", "controller": True}]
            server.put_other("/apis/batch/v1/namespaces/shop/jobs/once", job)
            await one.lookup.pod("shop", "once-6fz69")
            pod = one.pods.find("shop", "once-6fz69")
            assert pod is not None
            one.pods.owner = one.lookup.owner
            assert one.pods.workload(pod) == Workload("Job", "once")
            assert await asyncio.wait_for(one.told.get(), 20) == "shop"
            assert one.pods.workload(pod) == Workload("CronJob", "report")

    asyncio.run(scenario())

"""Who is asked, and how long records wait for the answer (collector.kubernetes.cluster)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from collector.filters.chain import FilterChain
from collector.plugin import LogSource
from tests.api_server import api_server, recorded
from tests.kubernetes_filter import WEB, WEB_TAG, House, wanting


def test_log_waits_for_its_pod_and_no_longer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_server() as server:
            house = wanting(server, tmp_path)
            chain, stop = FilterChain([house.filter]), asyncio.Event()
            source = LogSource(WEB_TAG, "/x", None)
            learned = asyncio.Event()
            house.identities.pod_news.append(lambda concerns: learned.set())
            assert chain.is_waiting(source, 0.0)
            task = asyncio.create_task(house.filter.run(stop))
            await server.watched()
            assert chain.is_waiting(source, 0.0)
            assert not chain.is_waiting(source, 1.5)
            assert not chain.is_waiting(LogSource("kube.other", "/x", None), 0.0)
            await server.put(next(one for one in recorded("pods") if one["metadata"]["name"] == WEB.name))
            await asyncio.wait_for(learned.wait(), 20)
            assert not chain.is_waiting(source, 0.0)
            made = house.apply(WEB_TAG, [])
            assert made is not None
            assert made[0][1]["labels"]["app"] == "web"
            stop.set()
            await asyncio.wait_for(task, 20)

    asyncio.run(scenario())


def test_pod_of_another_node_is_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_server() as server:
            elsewhere = next(one for one in recorded("pods") if one["metadata"]["name"] == WEB.name)
            elsewhere["spec"]["nodeName"] = "node2"
            await server.put(elsewhere)
            house = wanting(server, tmp_path)
            chain = FilterChain([house.filter])
            await chain.ready(WEB_TAG)
            await chain.ready(WEB_TAG)
            await chain.ready("kube.other")
            assert server.requests == [f"/api/v1/namespaces/shop/pods/{WEB.name}"]
            made = house.apply(WEB_TAG, [])
            assert made is not None
            assert made[0][1]["host"] == "node2"

    asyncio.run(scenario())


def test_namespaces_and_their_exclusion(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_server() as server:
            shop = next(one for one in recorded("namespaces") if one["metadata"]["name"] == "shop")
            shop["metadata"]["annotations"] = {"fluentbit.io/exclude": "true"}
            server.put_other("/api/v1/namespaces/shop", shop)
            house = House(tmp_path, ("Namespace_Labels", "On"), url=server.url)
            told = asyncio.Event()
            house.identities.pod_news.append(lambda concerns: told.set())
            assert house.apply(WEB_TAG, []) is not None
            await asyncio.wait_for(told.wait(), 20)
            made = house.apply(WEB_TAG, [])
            assert made is not None
            assert made[1] == ("kubernetes_namespace", {"name": "shop", "labels": shop["metadata"]["labels"]})

            house = House(tmp_path, ("Namespace_Exclude", "On"), url=server.url)
            told.clear()
            house.identities.pod_news.append(lambda concerns: told.set())
            assert house.apply(WEB_TAG, []) is not None
            await asyncio.wait_for(told.wait(), 20)
            assert house.apply(WEB_TAG, []) is None

    asyncio.run(scenario())

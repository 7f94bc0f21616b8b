"""The watch of this node's pods, against a server that speaks as the real one does."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from collector.delivery.retry import Backoff
from collector.kubernetes import outage as module
from collector.kubernetes.api import Api, read_url
from collector.kubernetes.credentials import Token
from collector.kubernetes.objects import Pod
from collector.kubernetes.pods import Pods
from collector.kubernetes.watch import PodWatch
from collector.outputs.connector import NetworkSettings
from tests.api_server import ApiServer, api_server, recorded
from tests.certificates import Authority

SOON = Backoff(0.01, 0.02)


class House:
    """A watch at work, and what it told."""

    def __init__(self, server: ApiServer, token: Token, network: NetworkSettings) -> None:
        self.server = server
        self.pods = Pods()
        self.pods.learned.append(self._learned)
        self.told = asyncio.Condition()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.reports: list[tuple[bool, str]] = []
        self.reported = asyncio.Event()
        self.watch = PodWatch(
            Api(read_url(server.url), network, token, logging.getLogger("t")),
            self.pods,
            "node1",
            count=lambda *what: self.counts.update([what]),
            report=self._reported,
            log=logging.getLogger("t"),
            backoff=SOON,
        )

    def _reported(self, ok: bool, reason: str) -> None:
        self.reports.append((ok, reason))
        self.reported.set()

    def _learned(self, pod: Pod) -> None:
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self.told:
            self.told.notify_all()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.told:
            await self.told.wait_for(is_so)

    def knows(self, name: str, **labels: str) -> bool:
        pod = self.pods.find("shop", name)
        return pod is not None and labels.items() <= dict(pod.labels or {}).items()


@asynccontextmanager
async def watching(
    server: ApiServer, token: Token | None = None, network: NetworkSettings | None = None
) -> AsyncIterator[House]:
    house = House(server, token or Token("/nowhere", "", 600), network or NetworkSettings())
    task = asyncio.create_task(house.watch.run())
    try:
        yield house
    finally:
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled(), task.exception()


def pod(name: str, node: str = "node1", **labels: str) -> dict[str, Any]:
    made = copy.deepcopy(next(one for one in recorded("pods") if one["metadata"]["name"] == "db-0"))
    made["metadata"].update(name=name, uid=f"uid-{name}", labels=labels)
    made["spec"]["nodeName"] = node
    return made


async def fill(server: ApiServer) -> None:
    for one in recorded("pods"):
        await server.put(one)
    await server.put(pod("elsewhere", "node2"))


def test_pages_then_changes() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await fill(server)
            server.page = 3
            async with watching(server) as house:
                await asyncio.wait_for(house.watch.is_listed.wait(), 20)
                assert len(house.pods) == 10
                assert not house.knows("elsewhere")
                assert sum(one.startswith("/api/v1/pods?") for one in server.requests) >= 4
                await server.watched()
                await server.put(pod("db-0", app="new"))
                await server.put(pod("fresh"))
                await house.until(lambda: house.knows("fresh") and house.knows("db-0", app="new"))
                await server.delete("shop", "fresh")
                await server.put(pod("after"))
                await house.until(lambda: house.knows("after"))
                assert house.knows("fresh")  # for a while
                assert house.counts == {("list", "ok"): 1}

    asyncio.run(scenario())


def test_version_that_was_compacted() -> None:
    """A watch that comes too late gets 410; the list is read again, and what is gone is known to be."""

    async def scenario() -> None:
        async with api_server() as server:
            await fill(server)
            async with watching(server) as house:
                await server.watched()
                server.fails["/api/v1/pods?"] = (500, "etcdserver: leader changed")
                await server.cut_off()
                await server.asked("/api/v1/pods?", 4)
                async with server.changed:  # or the watch that ends would still take them
                    await server.changed.wait_for(lambda: not server.watches)
                await server.put(pod("meanwhile"))
                await server.delete("shop", "db-0")
                server.compact()
                server.fails.clear()
                await house.until(lambda: house.knows("meanwhile"))
                await server.watched()
                assert house.counts["watch", "410"] == 1
                assert house.counts["list", "ok"] == 2

    asyncio.run(scenario())


def test_watch_goes_on_from_its_bookmark() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await fill(server)
            async with watching(server) as house:
                await server.watched()
                await server.bookmark()
                await server.put(pod("seen"))
                await house.until(lambda: house.knows("seen"))
                server.compact()
                await server.cut_off()
                await server.asked("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1&watch=1", 2)
                await server.watched()
                await server.put(pod("later"))
                await house.until(lambda: house.knows("later"))
                assert house.counts["list", "ok"] == 1

    asyncio.run(scenario())


def test_outage_is_told_and_caught_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "OUTAGE_S", 0.05)

    async def scenario() -> None:
        async with api_server() as server:
            await fill(server)
            async with watching(server) as house:
                await server.watched()
                port = server.port
                await server.stop()
                await asyncio.wait_for(house.reported.wait(), 20)
                assert house.watch.is_out
                assert house.knows("db-0")
                await server.put(pod("meanwhile"))
                await server.start(port)
                await house.until(lambda: house.knows("meanwhile"))
                assert house.reports[-1] == (True, "")
                assert not house.watch.is_out
                said = house.reports[0][1]
                assert server.url in said
                assert "asked again" in said
                assert "Kube_URL" in said

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert "answers again" in caplog.text


def test_tls_and_a_token_that_is_replaced(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    token_file = tmp_path / "token"
    token_file.write_text("first\n")
    network = NetworkSettings(tls=True, verify=True, ca_file=str(authority.certificate))

    async def scenario() -> None:
        async with api_server(authority.server_context()) as server:
            server.tokens = {"first"}
            await fill(server)
            async with watching(server, Token(str(token_file), "", 600), network) as house:
                await server.watched()
                server.tokens = {"second"}
                token_file.write_text("second\n")
                await server.cut_off()
                await server.asked("/api/v1/pods?", 3)
                await server.watched()
                await server.put(pod("later"))
                await house.until(lambda: house.knows("later"))

    asyncio.run(scenario())


def test_account_without_rights_is_told_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with api_server() as server:
            message = 'pods is forbidden: User "system:serviceaccount:x" cannot list resource "pods"'
            server.fails["/api/v1/pods"] = (403, message)
            async with watching(server) as house:
                await server.asked("/api/v1/pods", 3)
                assert house.watch.is_out
                server.fails.clear()
                await fill(server)
                await asyncio.wait_for(house.watch.is_listed.wait(), 20)

    asyncio.run(scenario())
    assert "cannot list resource" in caplog.text
    assert "its account may get, list and watch pods" in caplog.text


def test_changes_that_cannot_be_read_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await fill(server)
            async with watching(server) as house:
                await server.watched()
                for name in ("broken", "odd"):
                    broken = pod(name)
                    broken["metadata"]["labels"] = "none"
                    await server.put(broken)
                await server.put(pod("after"))
                await house.until(lambda: house.knows("after"))
                assert house.counts["watch", "unreadable"] == 2
                assert not house.knows("broken")

    asyncio.run(scenario())
    (told,) = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert "a change of a pod that can't be read: Expected `object | null`, got `str`" in told
    assert "That pod is known as it was" in told


def test_giant_pod_is_taken_and_one_beyond_the_bound_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await fill(server)
            async with watching(server) as house:
                await server.watched()
                giant = pod("giant")
                giant["metadata"]["annotations"] = {"a": "x" * (1 << 20)}
                await server.put(giant)
                await house.until(lambda: house.knows("giant"))
                endless = pod("endless")
                endless["metadata"]["annotations"] = {"a": "x" * (5 << 20)}
                await server.put(endless)
                # Its line ends the watch; the list that has it too goes on from behind it.
                await server.asked("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1&watch=1", 2)
                assert not house.knows("endless")

    asyncio.run(scenario())


def test_deleted_while_the_server_was_away_is_gone_later() -> None:
    store = Pods()
    one = Pod("shop", "web-0", "u", "node1")
    store.take(one)
    store.take(replace(one, name="web-1", uid="v"))
    store.end_list({"v"}, "node1", 5.0)
    store.expire(5.0 + 601)
    assert [pod.name for pod in store.in_namespace("shop")] == ["web-1"]

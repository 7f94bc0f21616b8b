"""The input kubernetes_events against a server that speaks as the real one does, with recorded events."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section
from collector.delivery.chunk import Chunk
from collector.delivery.positions import Positions
from collector.entries import unpack_entries
from collector.filters.chain import FilterChain
from collector.inputs import kubernetes_events
from collector.inputs.kubernetes_events import Settings
from collector.kubernetes import outage
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.api_server import ApiServer, Object, api_server, recorded
from tests.certificates import Authority


def now_text(ago_s: float = 0.0) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago_s))


def events() -> list[Object]:
    """The recorded ones, as if they had just happened."""
    found = recorded("events")
    for one in found:
        one["metadata"]["creationTimestamp"] = now_text()
        for name in ("firstTimestamp", "lastTimestamp"):
            one[name] = one[name] and now_text()
    return found


class House:
    """The input at work, and what it handed over, all of which counts as delivered."""

    def __init__(self, server: ApiServer, folder: Path, *keys: tuple[str, str]) -> None:
        entries = (
            ("Name", "kubernetes_events"),
            ("Kube_URL", server.url),
            ("Interval_NSec", "10000000"),
            *keys,
        )
        section = Section("INPUT", "t", 1, tuple(Entry(*one, "t", 1) for one in entries))
        self.settings = load(Settings, Section("INPUT", "t", 1, section.entries[1:]))
        self.metrics = Metrics(TABLE)
        self.positions = Positions(folder / "e.db", log=logging.getLogger("t"), metrics=self.metrics)
        self.chunks: list[Chunk] = []
        self.told = asyncio.Condition()
        self.reports: list[tuple[bool, str]] = []

    async def submit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if chunk.position is not None:
            self.positions.record(chunk.position)
        async with self.told:
            self.told.notify_all()

    @property
    def records(self) -> list[tuple[int, dict[str, Any]]]:
        return [(at, dict(pairs)) for chunk in self.chunks for at, pairs in unpack_entries(chunk.entries)]

    @property
    def names(self) -> list[str]:
        return [record["metadata"]["name"] for _, record in self.records]

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.told:
            await self.told.wait_for(is_so)

    def make(self) -> Any:
        context: Any = SimpleNamespace(
            plugin=SimpleNamespace(tag="events"),
            name="kubernetes_events.0",
            chain=FilterChain(()),
            intake=self,
            metrics=self.metrics,
            log=logging.getLogger("t"),
            positions=lambda path, modes: self.positions,
            report=lambda name, ok, reason: self.reports.append((ok, reason)),
        )
        return kubernetes_events.make(self.settings, context)


@asynccontextmanager
async def working(server: ApiServer, folder: Path, *keys: tuple[str, str]) -> AsyncIterator[House]:
    house, stop = House(server, folder, *keys), asyncio.Event()
    task = asyncio.create_task(house.make().run(stop))
    try:
        yield house
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task
        house.positions.close()


def named(one: Object, name: str) -> Object:
    other = copy.deepcopy(one)
    other["metadata"]["name"] = name
    return other


def test_a_list_and_a_watch(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            first, *others = events()
            for one in others:
                await server.put(one)
            server.page = 2
            async with working(server, tmp_path) as house:
                await server.watched()
                await house.until(lambda: len(house.records) == len(others))
                await server.put(first)
                await house.until(lambda: len(house.records) == len(others) + 1)
                await server.put(first | {"count": 5})
                await house.until(lambda: len(house.records) == len(others) + 2)
            given = {one["metadata"]["name"]: one for one in others}
            listed = house.records[: len(others)]
            assert {record["metadata"]["name"]: record for _, record in listed} == given
            (_, added), (at_ns, changed) = house.records[-2:]
            assert (added, changed["count"]) == (first | {"metadata": added["metadata"]}, 5)
            assert abs(at_ns - time.time_ns()) < 60 * 10**9
            assert at_ns % 10**9 == 0
            assert server.requests[:2] == [
                "/api/v1/events?limit=500",
                "/api/v1/events?limit=500&continue=1005%2F2",
            ]
            assert {chunk.tag for chunk in house.chunks} == {"events"}

    asyncio.run(scene())


def test_a_restart_neither_repeats_nor_loses(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            first, second, third, *_ = events()
            await server.put(first)
            async with working(server, tmp_path) as house:
                await house.until(lambda: len(house.records) == 1)
                await server.put(second)
                await house.until(lambda: len(house.records) == 2)
            await server.put(third)
            async with working(server, tmp_path) as again:
                await again.until(lambda: len(again.records) == 1)
                assert again.names == [third["metadata"]["name"]]
            assert sum("limit" in one for one in server.requests) == 1

    asyncio.run(scene())


def test_a_version_that_the_server_has_forgotten(tmp_path: Path) -> None:
    """The list is read again, without what was told before."""

    async def scene() -> None:
        async with api_server() as server:
            first, second, third, *_ = events()
            await server.put(first)
            async with working(server, tmp_path) as house:
                await house.until(lambda: len(house.records) == 1)
                await server.watched()
            await server.put(second)
            server.compact()
            async with working(server, tmp_path) as again:
                await again.until(lambda: len(again.records) == 1)
                await server.watched()
                await server.put(third)
                await again.until(lambda: len(again.records) == 2)
                assert again.names == [one["metadata"]["name"] for one in (second, third)]
                assert all(ok for ok, _ in again.reports)

    asyncio.run(scene())


def test_a_server_that_was_restored_from_a_backup(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Versions begin again before the one that is kept: all that is there is told, and what comes then."""

    async def scene() -> None:
        async with api_server() as server:
            first, second, third, *_ = events()
            await server.put(first)
            async with working(server, tmp_path) as house:
                await house.until(lambda: len(house.records) == 1)
                await server.watched()
            await server.put(second)
            server.restore(500)
            async with working(server, tmp_path) as again:
                await again.until(lambda: len(again.records) == 2)
                await server.watched()
                await server.put(third)
                await again.until(lambda: len(again.records) == 3)
                assert set(again.names) == {one["metadata"]["name"] for one in (first, second, third)}
                (place,) = again.positions.all()
                assert place.cursor == "501"

    asyncio.run(scene())
    assert "of version 500, which is before 1001: all are told" in caplog.text


async def half_a_list(server: ApiServer) -> str:
    """Four events, of which the server gives two and fails: the path that it fails at."""
    first, *_ = events()
    for number in range(4):
        await server.put(named(first, f"e{number}"))
    server.page = 2
    second_page = "/api/v1/events?limit=500&continue"
    server.fails[second_page] = (500, "etcd is tired")
    return second_page


def test_a_list_that_fails_halfway_is_not_told_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            second_page = await half_a_list(server)
            async with working(server, tmp_path) as house:
                await server.asked(second_page)
                assert (house.names, house.positions.all()) == (["e0", "e1"], ())
                del server.fails[second_page]
                await house.until(lambda: len(house.records) == 4)
                assert house.names == ["e0", "e1", "e2", "e3"]
                (place,) = house.positions.all()
                assert place.cursor == "1004"

    asyncio.run(scene())


def test_what_was_told_of_a_list_that_fails_has_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it events are told again, and none is lost."""
    monkeypatch.setattr(kubernetes_events, "TOLD", 1)

    async def scene() -> None:
        async with api_server() as server:
            second_page = await half_a_list(server)
            async with working(server, tmp_path) as house:
                await server.asked(second_page)
                del server.fails[second_page]
                await house.until(lambda: {"e0", "e1", "e2", "e3"} <= set(house.names))
                assert house.names.count("e0") > house.names.count("e3") == 1

    asyncio.run(scene())


def test_bookmarks_move_the_place_of_the_watch(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            first, second, *_ = events()
            await server.put(first)
            async with working(server, tmp_path) as house:
                await server.watched()
                await server.bookmark()
                # It is sent again with each watch that does not begin behind it.
                while "resourceVersion=1002" not in server.requests[-1]:
                    await server.cut_off()
                    await server.asked("/api/v1/events?watch=1", len(server.requests))
                await server.put(second)
                await house.until(lambda: len(house.records) == 2)
            assert house.positions.all()[0].cursor == "1003"

    asyncio.run(scene())


def test_old_events_are_left_out(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            young = events()[1]
            for ago_s in (30, 90, 4000):
                await server.put(named(young, f"e{ago_s}") | {"lastTimestamp": now_text(ago_s)})
            async with working(server, tmp_path, ("Kube_Retention_Time", "1m")) as house:
                await house.until(lambda: bool(house.records))
                await server.watched()
                assert house.names == ["e30"]
            async with working(server, tmp_path / "..", ("Kube_Retention_Time", "1h")) as house:
                await house.until(lambda: len(house.records) == 2)

    asyncio.run(scene())


def test_the_time_of_an_event_may_be_taken_from_elsewhere(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            young = events()[1] | {"lastTimestamp": now_text()}
            await server.put(named(young, "with") | {"eventTime": "2023-11-14T22:13:20.000001Z"})
            await server.put(named(young, "without") | {"eventTime": None})
            async with working(server, tmp_path, ("Timestamp_Key", "$eventTime")) as house:
                await house.until(lambda: len(house.records) == 2)
                times = dict(zip(house.names, (at for at, _ in house.records), strict=True))
                assert times["with"] == 1_700_000_000_000_001_000
                assert times["without"] % 10**9 == 0
                assert times["without"] > 1_700_000_000_000_001_000

    asyncio.run(scene())


def test_one_namespace_and_pages_of_a_size(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            keys = (("Kube_Namespace", "a b"), ("Kube_Request_Limit", "7"))
            async with working(server, tmp_path, *keys):
                await server.watched()
            assert server.requests[0] == "/api/v1/namespaces/a%20b/events?limit=7"
            assert server.requests[1].startswith(
                "/api/v1/namespaces/a%20b/events?watch=1&allowWatchBookmarks=true"
            )

    asyncio.run(scene())


def test_tls_and_a_token(tmp_path: Path) -> None:
    async def scene() -> None:
        authority = Authority.make(tmp_path / "ca")
        async with api_server(authority.server_context()) as server:
            server.tokens = {"secret"}
            (tmp_path / "token").write_text("secret\n")
            await server.put(events()[0])
            keys = (
                ("Kube_CA_File", str(authority.certificate)),
                ("Kube_Token_File", str(tmp_path / "token")),
            )
            async with working(server, tmp_path, *keys) as house:
                await house.until(lambda: len(house.records) == 1)

    asyncio.run(scene())


@pytest.mark.parametrize("keys", [(), (("DB", "/e.db"),)])
def test_what_can_be_asked_for_again_is_not_lost_with_the_process(
    tmp_path: Path, keys: tuple[tuple[str, str], ...]
) -> None:
    """Of a list that is not read to its end there is no place: it is asked for from its beginning."""

    async def scene() -> None:
        async with api_server() as server:
            await server.put(events()[0])
            async with working(server, tmp_path, *keys) as house:
                await house.until(lambda: len(house.chunks) == 1)
            (chunk,) = house.chunks
            assert not chunk.is_durable
            assert chunk.is_gone == (not keys)

    asyncio.run(scene())


def test_an_outage_is_told_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(outage, "OUTAGE_S", 0.0)
        async with api_server() as server:
            server.fails["/api/v1/events"] = (
                403,
                'events is forbidden: User "x" cannot list resource "events"',
            )
            await server.put(events()[0])
            async with working(server, tmp_path) as house:
                await server.asked("/api/v1/events", 4)
                server.fails.clear()
                await house.until(lambda: len(house.records) == 1)
                await server.watched()
            assert house.reports[0][0] is False
            assert (
                "Check the token and that its account may get, list and watch events." in house.reports[0][1]
            )
            assert house.reports[-1] == (True, "")
            assert "cannot list resource" in caplog.text

    asyncio.run(scene())


def test_a_wrong_url() -> None:
    section = Section("INPUT", "t", 1, (Entry("Kube_URL", "kubernetes", "t", 2),))
    with pytest.raises(InvalidConfiguration, match="has Kube_URL 'kubernetes': expected https://host:port"):
        load(Settings, section)


def test_the_end_waits_for_what_is_being_handed_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with api_server() as server:
            await server.put(events()[0])
            house, stop = House(server, tmp_path), asyncio.Event()
            room, full = asyncio.Event(), asyncio.Event()
            submit = house.submit

            async def wait_for_room(chunk: Chunk) -> None:
                full.set()
                await room.wait()
                await submit(chunk)

            house.submit = wait_for_room  # type: ignore[method-assign]
            task = asyncio.create_task(house.make().run(stop))
            async with asyncio.timeout(20):
                await full.wait()
                stop.set()
                await asyncio.sleep(0)
                assert not task.done()
                room.set()
                await task
            assert len(house.records) == 1
            house.positions.close()

    asyncio.run(scene())

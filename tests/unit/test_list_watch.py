"""collector.kubernetes.list_watch: lists and watches, without knowing of what."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from collector.delivery.retry import Backoff
from collector.kubernetes import list_watch
from collector.kubernetes.api import Api, read_url
from collector.kubernetes.credentials import Token
from collector.kubernetes.list_watch import ListWatch, Resource, is_older, last_version
from collector.kubernetes.objects import Change, Page, Pod, UnreadableObject, read_change, read_list
from collector.kubernetes.outage import Outage
from collector.outputs.connector import NetworkSettings
from tests.api_server import ApiServer, api_server, recorded
from tests.polling import until_so


class Notes:
    """A taker that writes down what it was given, and a loop at work for it."""

    def __init__(
        self, server: ApiServer, version: str = "", silence_s: float = 0.0, *, has_bookmarks: bool = True
    ) -> None:
        self.notes: list[str] = []
        self.room = asyncio.Event()
        self.room.set()
        self.told = asyncio.Condition()
        self.has_failed_thrice = asyncio.Event()
        self.longest_waits_s: list[float] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        log = logging.getLogger("t")
        network = NetworkSettings(io_timeout_s=silence_s)
        api = Api(read_url(server.url), network, Token("", "", 600), log)
        resource = Resource("pods", "/api/v1/pods", "", 3, read_list, read_change, has_bookmarks)
        backoff = Backoff(0.01, 0.04, self._waited)
        outage = self.outage = Outage("it", "", backoff, lambda *_: None, log)
        self.loop = ListWatch(api, resource, self, version=version, outage=outage, count=self._count, log=log)

    def _waited(self, base_s: float, longest_s: float) -> float:
        self.longest_waits_s.append(longest_s)
        return base_s

    def _count(self, request: str, result: str) -> None:
        self.counts[request, result] += 1
        if self.counts["watch", "unavailable"] == 3 or self.counts["watch", "410"] == 3:
            self.has_failed_thrice.set()

    async def _note(self, *what: str) -> None:
        async with self.told:
            self.notes += what
            self.told.notify_all()

    def begin_list(self) -> None:
        self.notes.append("list")

    async def take_page(self, page: Page[Pod], version: str) -> None:
        await self._note(f"page of {len(page.objects)}, {version}")
        await self.room.wait()

    async def take_changes(self, changes: Sequence[Change[Pod]]) -> None:
        await self._note(*(f"{one.kind} {one.version}" for one in changes))
        await self.room.wait()

    def take_unreadable(self, reason: UnreadableObject) -> None:
        self.notes.append("unreadable")

    async def work(self, *until: str) -> list[str]:
        """What there is when the last of these notes has been made."""
        task = asyncio.create_task(self.loop.run())
        async with asyncio.timeout(20), self.told:
            await self.told.wait_for(lambda: tuple(self.notes[-len(until) :]) == until)
        task.cancel()
        await asyncio.wait((task,))
        return self.notes

    async def fail_thrice(self) -> None:
        """Until the third watch has failed."""
        task = asyncio.create_task(self.loop.run())
        await asyncio.wait_for(self.has_failed_thrice.wait(), 20)
        task.cancel()
        await asyncio.wait((task,))


async def put(server: ApiServer, pods: int) -> None:
    for one in recorded("pods")[:pods]:
        await server.put(one)


def test_pages_end_with_the_version_of_the_list() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 5)
            notes = Notes(server)
            assert await notes.work("page of 2, 1005") == ["list", "page of 3, ", "page of 2, 1005"]

    asyncio.run(scenario())


def test_a_version_begins_with_the_watch_and_what_has_gathered_comes_together() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 4)
            notes = Notes(server, "1002")
            assert await notes.work("ADDED 1004") == ["ADDED 1003", "ADDED 1004"]
            assert all("watch=1" in one for one in server.requests)

    asyncio.run(scenario())


def test_what_came_before_an_error_is_taken() -> None:
    """The real server's watch ends so when it can't keep up: the changes before it count."""

    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 3)
            server.append("ERROR", {"metadata": {}, "code": 410, "message": "too old"})
            await put(server, 1)
            notes = Notes(server, "1002")
            await notes.work("page of 3, 1005")
            assert notes.notes == ["ADDED 1003", "list", "page of 3, 1005"]
            assert notes.counts == {("watch", "410"): 1, ("list", "ok"): 1}

    asyncio.run(scenario())


def test_a_list_that_fails_halfway_begins_anew() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 5)
            second = "/api/v1/pods?limit=3&continue"
            server.fails[second] = (500, "etcd is tired")
            notes = Notes(server)
            asyncio.get_running_loop().create_task(server.asked(second)).add_done_callback(
                lambda _: server.fails.clear()
            )
            await notes.work("page of 2, 1005")
            assert notes.notes[:3] == ["list", "page of 3, ", "list"]
            assert notes.counts["list", "500"] >= 1

    asyncio.run(scenario())


def test_a_store_from_a_backup_is_listed_anew() -> None:
    """A watch from a version that is not there yet says nothing of what happens until then."""

    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 3)
            server.restore(700)
            notes = Notes(server, "1003")
            await notes.work("page of 3, 700")
            await put(server, 1)
            await notes.work("MODIFIED 701")
            assert notes.notes == ["list", "page of 3, 700", "MODIFIED 701"]
            assert notes.counts == {("watch", "unavailable"): 1, ("list", "ok"): 1}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("version", "than", "is_so"),
    [("9", "10", True), ("10", "9", False), ("9", "9", False), ("a", "9", False), ("9", "", False)],
)
def test_versions(version: str, than: str, is_so: bool) -> None:
    assert is_older(version, than) is is_so


def test_last_version_is_of_what_has_one() -> None:
    assert last_version([Change("ADDED", "5"), Change("MODIFIED")]) == "5"
    assert last_version([]) == ""


def test_watches_that_end_at_once_are_an_outage() -> None:
    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 1)
            server.ends_watches = True
            notes = Notes(server)
            await notes.fail_thrice()
            assert notes.outage.is_out
            assert notes.counts["watch", "ok"] == 0
            assert notes.counts["list", "ok"] == 1

    asyncio.run(scenario())


def test_lists_that_no_watch_goes_on_from_are_an_outage() -> None:
    """Each would be read a second after the one before, else."""

    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 1)
            server.expires_watches = True
            notes = Notes(server)
            await notes.fail_thrice()
            assert notes.counts == {("list", "ok"): 3, ("watch", "410"): 3}
            assert notes.longest_waits_s[:2] == [0.02, 0.04]
            assert notes.outage.is_out
            server.expires_watches = False
            working = asyncio.create_task(notes.work("MODIFIED 1002"))
            await server.watched()
            await put(server, 1)
            await working
            assert not notes.outage.is_out

    asyncio.run(scenario())


def test_a_watch_with_nothing_to_say_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of events the real server sends no bookmarks, and a namespace may have none for hours."""
    monkeypatch.setattr(list_watch, "AT_ONCE_S", 0.0)

    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 1)
            notes = Notes(server, silence_s=0.05, has_bookmarks=False)
            working = asyncio.create_task(notes.work("MODIFIED 1002"))
            await server.asked("/api/v1/pods?watch=1", 4)
            await put(server, 1)
            await working
            assert (notes.counts["watch", "unavailable"], notes.longest_waits_s) == (0, [])
            assert notes.counts["watch", "ok"] >= 3
            assert notes.counts["list", "ok"] == 1

    asyncio.run(scenario())


def test_a_watch_without_the_bookmarks_it_should_have_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a connection that died without a word."""
    monkeypatch.setattr(list_watch, "AT_ONCE_S", 0.0)

    async def scenario() -> None:
        async with api_server() as server:
            await put(server, 1)
            notes = Notes(server, silence_s=0.05)
            await notes.fail_thrice()
            assert notes.outage.is_out
            assert (notes.counts["watch", "ok"], notes.counts["list", "ok"]) == (0, 1)

    asyncio.run(scenario())


@pytest.mark.parametrize(("version", "last"), [("", "page of 3, "), ("1004", "ADDED 1005")])
def test_what_waited_for_room_counts_as_taken_when_there_was_some(version: str, last: str) -> None:
    """What comes next, a page or a line, may take minutes."""

    async def scenario() -> None:
        async with api_server() as server, asyncio.timeout(20):
            await put(server, 5)
            notes = Notes(server, version)
            notes.room.clear()
            task = asyncio.create_task(notes.loop.run())
            async with notes.told:
                await notes.told.wait_for(lambda: notes.notes[-1:] == [last])
            server.is_mute = True
            room_s = time.monotonic()
            notes.room.set()
            await until_so(lambda: (notes.loop.turned_s or 0.0) >= room_s, deadline_s=3)
            assert notes.notes[-1] == last
            task.cancel()
            await asyncio.wait((task,))

    asyncio.run(scenario())

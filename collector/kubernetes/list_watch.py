"""A list of the API server, and the watch that follows it, as client-go's reflectors do.

A list first, in pages; then a watch from the list's version on, which bookmarks keep
young. When the server has forgotten that version (410 Gone), or knows none so high
(its store was restored from a backup), the list is read again; for anything else the
watch goes on from where it was. Lists that no watch goes on from are an outage like any
other: each is asked for later than the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol

from collector.kubernetes.api_errors import ApiRefused, ApiUnavailable
from collector.kubernetes.objects import Change, ObjectT, Page, UnreadableObject
from collector.kubernetes.outage import Outage

if TYPE_CHECKING:
    import logging

    from collector.kubernetes.api import Api

PAGE_BYTES = 64 << 20
PAGE_S = 60.0
# As client-go's reflectors: not all agents of a cluster begin again in the same minute.
WATCH_S = (300, 600)
AT_ONCE_S = 1.0
_GONE = 410


class WentBack(ApiUnavailable):
    """The server's versions are older than they were."""


@dataclass(frozen=True, slots=True)
class Resource(Generic[ObjectT]):
    """What is asked for, and how it is read; both readers raise UnreadableObject."""

    noun: str  # in the plural
    path: str
    query: str  # "" or ends with "&"
    page: int  # so many of them in one
    read_page: Callable[[bytes], Page[ObjectT]]
    read_change: Callable[[bytes], Change[ObjectT]]
    # Whether the server tells the version each minute. A watch that is silent for longer is dead then; else
    # there may be nothing to say, and whether the server is there shows when it is asked again.
    has_bookmarks: bool = True


class Taker(Protocol[ObjectT]):
    """Who wants it. What it was given once is not given again, unless the list is read anew."""

    def begin_list(self) -> None:
        """Also when the one before has ended halfway."""

    async def take_page(self, page: Page[ObjectT], version: str) -> None:
        """`version` is that of the list; of pages but the last it is ""."""

    async def take_changes(self, changes: Sequence[Change[ObjectT]]) -> None:
        """What has come together, one at least; bookmarks too."""

    def take_unreadable(self, reason: UnreadableObject) -> None:
        """A change that can't be read."""


class ListWatch(Generic[ObjectT]):
    """`count(request, result)` counts requests. `version` is where to go on; "" begins with the list."""

    def __init__(
        self,
        api: Api,
        resource: Resource[ObjectT],
        taker: Taker[ObjectT],
        *,
        version: str = "",
        outage: Outage,
        count: Callable[[str, str], None],
        log: logging.Logger,
    ) -> None:
        self._api = api
        self._resource = resource
        self._taker = taker
        self._outage = outage
        self._count = count
        self._log = log
        self._version = version
        self._must_list = not version
        self.turned_s: float | None = None  # when it last asked for something, or took it; None: not begun
        self._has_followed = True  # a watch has brought something since the last list
        self._is_circling = False  # lists that no watch goes on from

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.turned_s = time.monotonic()
            request = "list" if self._must_list else "watch"
            try:
                await (self._list() if self._must_list else self._follow())
            except ApiUnavailable as reason:
                self._count(request, _result(reason))
                if request == "watch" and _needs_list(reason):
                    noun = self._resource.noun
                    self._log.debug("the API server %s: the list of %s is read again", reason, noun)
                    self._must_list, self._is_circling = True, not self._has_followed
                remedy = _remedy(reason, self._resource.noun)
                await asyncio.sleep(self._outage.failed(str(reason), remedy, time.monotonic()))

    async def _list(self) -> None:
        self._taker.begin_list()
        rest = version = ""
        while True:
            page = await self._page(rest)
            self.turned_s = time.monotonic()
            version, rest = version or page.version, page.rest
            await self._taker.take_page(page, "" if rest else version)
            self.turned_s = time.monotonic()  # it may have waited for room for long
            if not rest:
                break
        self._version, self._must_list, self._has_followed = version, False, False
        self._count("list", "ok")
        if not self._is_circling:
            self._outage.end()

    async def _page(self, rest: str) -> Page[ObjectT]:
        path = f"{self._resource.path}?{self._resource.query}limit={self._resource.page}"
        if rest:
            path += f"&continue={urllib.parse.quote(rest, safe='')}"
        noun = self._resource.noun
        try:
            async with asyncio.timeout(PAGE_S):
                text = await self._api.get(path, PAGE_BYTES)
            # A page of giants takes tens of ms, in which logs go on.
            return await asyncio.to_thread(self._resource.read_page, text)
        except TimeoutError:
            raise ApiUnavailable(f"did not send the list of {noun} in {PAGE_S:g} s") from None
        except UnreadableObject as reason:
            raise ApiUnavailable(f"sent a list of {noun} that can't be read: {reason}") from None

    async def _follow(self) -> None:
        """One watch, to its end."""
        path = (
            f"{self._resource.path}?{self._resource.query}watch=1&allowWatchBookmarks=true"
            f"&resourceVersion={urllib.parse.quote(self._version)}&timeoutSeconds={random.randint(*WATCH_S)}"
        )
        silence_ends = not self._resource.has_bookmarks
        began_s = time.monotonic()
        async with contextlib.aclosing(self._api.lines(path, silence_ends=silence_ends)) as batches:
            async for lines in batches:
                await self._take(lines)
        if time.monotonic() - began_s < AT_ONCE_S:
            raise ApiUnavailable("ended the watch at once")
        self._count("watch", "ok")
        self._go_on()

    async def _take(self, lines: Sequence[bytes]) -> None:
        """Raises WentBack, and ApiRefused for what the server says is wrong, once all before is taken."""
        self.turned_s = time.monotonic()
        changes: list[Change[ObjectT]] = []
        refusal: Change[ObjectT] | None = None
        for line in lines:
            try:
                change = self._resource.read_change(line)
            except UnreadableObject as reason:
                self._count("watch", "unreadable")
                self._taker.take_unreadable(reason)
                continue
            if change.kind == "ERROR":
                refusal = change
                break
            changes.append(change)
        if changes:
            last = last_version(changes) or self._version
            if is_older(last, self._version):
                raise WentBack(f"went back from version {self._version} to {last}")
            self._go_on()
            await self._taker.take_changes(changes)
            self.turned_s = time.monotonic()
            self._version = last
        if refusal is not None:
            raise ApiRefused(refusal.code, refusal.message)

    def _go_on(self) -> None:
        """The watch does what it is for."""
        self._has_followed, self._is_circling = True, False
        self._outage.end()


def _needs_list(reason: ApiUnavailable) -> bool:
    return isinstance(reason, WentBack) or (isinstance(reason, ApiRefused) and reason.status == _GONE)


def is_older(version: str, than: str) -> bool:
    """Versions are numbers that grow, as Fluent Bit takes them too; of others nothing is known."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


def last_version(changes: Sequence[Change[Any]]) -> str:
    return next((one.version for one in reversed(changes) if one.version), "")


def _result(reason: ApiUnavailable) -> str:
    return str(reason.status) if isinstance(reason, ApiRefused) else "unavailable"


def _remedy(reason: ApiUnavailable, noun: str) -> str:
    if isinstance(reason, ApiRefused) and reason.status in (401, 403):
        return f"Check the token and that its account may get, list and watch {noun}."
    return "Check Kube_URL, Kube_CA_File and the way there."

"""The pods of this node, followed by one watch of the API server.

A list first, in pages; then a watch from the list's version on, which bookmarks
keep young. When the server has forgotten that version (410 Gone), the list is read
again; for anything else the watch goes on from where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.delivery.retry import Backoff
from collector.kubernetes.api_errors import ApiRefused, ApiUnavailable
from collector.kubernetes.objects import Change, PodPage, UnreadableObject, read_change, read_list
from collector.kubernetes.outage import Outage
from collector.kubernetes.pods import Pods

if TYPE_CHECKING:
    import logging

    from collector.kubernetes.api import Api

# A page of pods of 20 KiB each is 2 MiB.
PAGE = 100
PAGE_BYTES = 64 << 20
PAGE_S = 60.0
# As client-go's reflectors: not all agents of a cluster begin again in the same minute.
WATCH_S = (300, 600)
BACKOFF = Backoff(1.0, 60.0)
_GONE = 410


class PodWatch:
    """Feeds `pods` with those of `node`. `count(request, result)` counts requests.

    `is_listed` is set once they are all known.
    """

    def __init__(
        self,
        api: Api,
        pods: Pods,
        node: str,
        *,
        count: Callable[[str, str], None],
        report: Callable[[bool, str], None],
        log: logging.Logger,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self.is_listed = asyncio.Event()
        self._api = api
        self._pods = pods
        self._node = node
        self._count = count
        self._log = log
        self._outage = Outage(f"the API server at {api.url}", backoff, report, log)
        self._version = ""

    @property
    def is_out(self) -> bool:
        """Whether the server does not answer, as far as is known."""
        return self._outage.is_out

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._follow()
            except ApiUnavailable as reason:
                self._count("watch" if self._version else "list", _result(reason))
                if isinstance(reason, ApiRefused) and reason.status == _GONE:
                    self._begin_anew(reason)
                await asyncio.sleep(self._outage.failed(str(reason), _remedy(reason), time.monotonic()))

    async def _list(self) -> None:
        there: set[str] = set()
        rest = version = ""
        while True:
            page = await self._page(rest)
            for pod in page.pods:
                there.add(pod.log_uid)
                self._pods.take(pod)
            version, rest = version or page.version, page.rest
            if not rest:
                break
        self._pods.end_list(there, self._node, time.monotonic())
        self._version = version
        self._succeeded("list")
        self.is_listed.set()

    async def _page(self, rest: str) -> PodPage:
        path = f"/api/v1/pods?{self._selector()}&limit={PAGE}"
        if rest:
            path += f"&continue={urllib.parse.quote(rest, safe='')}"
        try:
            async with asyncio.timeout(PAGE_S):
                text = await self._api.get(path, PAGE_BYTES)
            # A page of giants takes tens of ms, in which logs go on.
            return await asyncio.to_thread(read_list, text)
        except TimeoutError:
            raise ApiUnavailable(f"did not send the list of pods in {PAGE_S:g} s") from None
        except UnreadableObject as reason:
            raise ApiUnavailable(f"sent a list of pods that can't be read: {reason}") from None

    async def _follow(self) -> None:
        """One watch, to its end."""
        seconds = random.randint(*WATCH_S)
        path = (
            f"/api/v1/pods?{self._selector()}&watch=1&allowWatchBookmarks=true"
            f"&resourceVersion={urllib.parse.quote(self._version)}&timeoutSeconds={seconds}"
        )
        began_s = time.monotonic()
        async with contextlib.aclosing(self._api.lines(path)) as lines:
            async for line in lines:
                try:
                    self._take(read_change(line))
                except UnreadableObject as reason:
                    self._unreadable(reason)
        self._succeeded("watch")
        if time.monotonic() - began_s < 1.0:
            raise ApiUnavailable("ended the watch at once")

    def _take(self, change: Change) -> None:
        """Raises ApiRefused for what the server says to be wrong with the watch."""
        if change.kind == "ERROR":
            raise ApiRefused(change.code, change.message)
        self._succeeded("")
        if change.version:
            self._version = change.version
        if change.pod is None:
            return
        if change.kind == "DELETED":
            self._pods.take_gone(change.pod, time.monotonic())
        else:
            self._pods.take(change.pod)

    def _selector(self) -> str:
        return "fieldSelector=" + urllib.parse.quote(f"spec.nodeName={self._node}", safe="")

    def _unreadable(self, reason: UnreadableObject) -> None:
        self._count("watch", "unreadable")
        self._log.debug("the API server sent a change of a pod that can't be read: %s", reason)

    def _begin_anew(self, reason: ApiRefused) -> None:
        self._log.debug("the API server %s: the list of pods is read again", reason)
        self._version = ""

    def _succeeded(self, request: str) -> None:
        if request:
            self._count(request, "ok")
        self._outage.end()


def _result(reason: ApiUnavailable) -> str:
    return str(reason.status) if isinstance(reason, ApiRefused) else "unavailable"


def _remedy(reason: ApiUnavailable) -> str:
    if isinstance(reason, ApiRefused) and reason.status in (401, 403):
        return "Check the token and that its account may get, list and watch pods."
    return "Check Kube_URL, Kube_CA_File and the way there."

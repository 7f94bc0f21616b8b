"""The pods of this node, listed and followed by one watch of the API server."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from collector.delivery.retry import Backoff
from collector.kubernetes.list_watch import ListWatch, Resource
from collector.kubernetes.objects import Change, Page, Pod, UnreadableObject, read_change, read_list
from collector.kubernetes.outage import PODS_STAY, Outage
from collector.kubernetes.pods import Pods

if TYPE_CHECKING:
    import logging

    from collector.kubernetes.api import Api

# A page of pods of 20 KiB each is 2 MiB.
PAGE = 100
BACKOFF = Backoff(1.0, 60.0)


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
        self._pods = pods
        self._node = node
        self._url = api.url
        self._log = log
        self._there: set[str] = set()  # of the list that is not read to its end
        self._has_told_unreadable = False
        self._outage = Outage(f"the API server at {api.url}", PODS_STAY, backoff, report, log)
        selector = "fieldSelector=" + urllib.parse.quote(f"spec.nodeName={node}", safe="")
        resource = Resource("pods", "/api/v1/pods", f"{selector}&", PAGE, read_list, read_change)
        self._list_watch = ListWatch(api, resource, self, outage=self._outage, count=count, log=log)

    @property
    def is_out(self) -> bool:
        """Whether the server does not answer, as far as is known."""
        return self._outage.is_out

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._list_watch.run()

    def begin_list(self) -> None:
        self._there.clear()
        self._has_told_unreadable = False

    async def take_page(self, page: Page[Pod], version: str) -> None:
        for pod in page.objects:
            self._there.add(pod.log_uid)
            self._pods.take(pod)
        if version:
            self._pods.end_list(self._there, self._node, time.monotonic())
            self.is_listed.set()

    async def take_changes(self, changes: Sequence[Change[Pod]]) -> None:
        now_s = time.monotonic()
        for change in changes:
            if change.object is None:
                continue
            if change.kind == "DELETED":
                self._pods.take_gone(change.object, now_s)
            else:
                self._pods.take(change.object)

    def take_unreadable(self, reason: UnreadableObject) -> None:
        """It is counted by whoever reads; told once for a list, as a pod that is odd changes often."""
        say = self._log.debug if self._has_told_unreadable else self._log.warning
        say(
            "the API server at %s sent a change of a pod that can't be read: %s. That pod is known as it "
            "was; podwitness_kubernetes_requests_total counts more of them as unreadable.",
            self._url,
            reason,
        )
        self._has_told_unreadable = True

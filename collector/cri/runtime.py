"""Asks the node's runtime about its containers, for as long as podwitness runs.

Nothing waits for it: logs and events have the names that cgroups, bundles and log folders tell, and get what
the runtime adds when it has answered. A runtime without GetContainerEvents is asked anew when a container
shows up that it has not told of.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from collector.cri import messages
from collector.cri.client import Client, NotARuntime
from collector.cri.grpc import Refused
from collector.cri.http2 import ProtocolError
from collector.cri.inventory import Inventory
from collector.cri.messages import IMAGES, RUNTIME, VERSION_REQUEST
from collector.cri.places import AUTO, LOOK_AGAIN_S, OFF, socket_path
from collector.cri.wanted import Wanted
from collector.delivery.retry import Backoff
from collector.identity.bundles import Bundle
from collector.service.metrics import Metrics

# A list costs containerd and us some ms each with 500 containers.
LIST_EVERY_S = 1.0
# A container's cgroup is there before the runtime lists it, or has sent the event.
_GRACE_S, _GRACE_WITH_EVENTS_S = 0.05, 0.5
_LIST_ANEW_S = 300.0  # at the latest, for what was removed and for events that were missed
_NEWS_AT_A_TIME = 64  # containers; some ms
_STEADY_S = 60.0  # what has gone well for so long fails for the first time again
_BACKOFF = Backoff(1.0, 60.0)

log = logging.getLogger("podwitness.cri")

_Failures = (OSError, TimeoutError, ProtocolError, Refused, NotARuntime, ValueError)


class Runtime:
    """What is asked for with `read`, as a source of bundles; `learned` is told what there is news of.

    `run` does the work. `report` is told how it goes; a runtime that can't be asked is not bad for the node's
    health, as all but labels and image ids is known without it.
    """

    def __init__(
        self,
        socket: str,
        root: str,
        *,
        metrics: Metrics,
        report: Callable[[str, bool, str], None],
        learned: Callable[[list[str]], None],
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._socket = socket
        self._root = root
        self._metrics = metrics
        self._report = report
        self._learned = learned
        self._backoff = backoff
        self._inventory = Inventory()
        self._wanted = Wanted()
        self._wake = asyncio.Event()
        self._has_events = False
        self._failures = 0
        self._is_out = False

    # ---- questions

    def read(self, container_id: str) -> Bundle | None:
        """What the runtime has told of a container; None when nothing yet, and then it will be asked."""
        found = self._inventory.bundle(container_id)
        if found is None and self._wanted.want(container_id, time.monotonic()):
            self._wake.set()
        return found

    # ---- work

    async def run(self) -> None:
        """Until it is cancelled. Returns at once when the socket is `off`."""
        while self._socket.lower() != OFF:
            path = socket_path(self._socket, self._root)
            if path is None:
                self._say_absent()
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            began_s = time.monotonic()
            try:
                await self._serve(path)
            except* _Failures as errors:
                self._say_failed(path, errors, time.monotonic() - began_s)
            await asyncio.sleep(self._backoff.wait_s(self._failures))

    async def _serve(self, path: str) -> None:
        """Works with one server, until it fails. Raises a group of `_Failures`."""
        self._has_events = False
        async with asyncio.TaskGroup() as tasks:
            async with await Client.connect(path) as client:
                await self._greet(client, path)
            tasks.create_task(self._follow_events(path), name="cri-events")
            await self._list_whenever_due(path)

    async def _greet(self, client: Client, path: str) -> None:
        found: dict[int, int | bytes] = {}
        await self._call(client, RUNTIME + "Version", VERSION_REQUEST, found.__setitem__)
        name, version = messages.version(found)
        self._inventory.set_runtime(name)
        self._report("cri", True, f"{name} {version} at {path}"[:200])

    async def _list_whenever_due(self, path: str) -> None:
        """Each over a connection of its own: none lies idle, whose end nobody would notice."""
        while True:
            began_s = time.monotonic()
            async with await Client.connect(path) as client:
                await self._list(client)
            if self._is_out:
                self._is_out = False
                log.info("the runtime answers again")
            await self._wait_until_due(began_s)

    async def _wait_until_due(self, last_s: float) -> None:
        """A container is wanted for long enough, and the last list is LIST_EVERY_S ago; or _LIST_ANEW_S."""
        anew_s = last_s + _LIST_ANEW_S
        while (now_s := time.monotonic()) < anew_s:
            self._wake.clear()
            since_s = self._wanted.since_s()
            grace_s = _GRACE_WITH_EVENTS_S if self._has_events else _GRACE_S
            due_s = anew_s if since_s is None else max(since_s + grace_s, last_s + LIST_EVERY_S)
            if now_s >= due_s:
                return
            try:
                async with asyncio.timeout(min(due_s, anew_s) - now_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _list(self, client: Client) -> None:
        inventory = self._inventory
        inventory.begin_list()
        await self._call(
            client, RUNTIME + "ListPodSandbox", b"", lambda _, one: inventory.sandbox_listed(one)
        )
        await self._call(
            client, RUNTIME + "ListContainers", b"", lambda _, one: inventory.container_listed(one)
        )
        inventory.end_list(time.monotonic())
        if inventory.lacks_images():
            inventory.begin_images()
            await self._call(client, IMAGES + "ListImages", b"", lambda _, one: inventory.image_listed(one))
            inventory.end_images()
        self._wanted.listed(inventory.__contains__, time.monotonic())
        await self._tell()

    async def _call(
        self, client: Client, method: str, request: bytes, take: Callable[[int, int | bytes], None]
    ) -> None:
        name = method.rpartition("/")[2]
        try:
            answer = await client.call(method, request, take)
        except _Failures:
            self._metrics.add("podwitness_cri_calls_total", name, "failed")
            raise
        self._metrics.add("podwitness_cri_calls_total", name, "ok")
        self._count_skipped(answer.skipped)

    async def _follow_events(self, path: str) -> None:
        """A connection of its own, as it is silent most of the time. Ends where the runtime has no events."""

        def take(message: bytes) -> None:
            self._has_events = True
            self._inventory.take_event(messages.event(message), time.monotonic())
            self._metrics.add("podwitness_cri_events_total")
            self._tell_at_once()

        async with await Client.connect(path) as client:
            try:
                await client.stream(RUNTIME + "GetContainerEvents", b"", take)
            except Refused as reason:
                # containerd before 1.7, CRI-O without enable_pod_events.
                log.debug("%s has no events of containers (%s): it is asked when one shows up", path, reason)
            finally:
                self._has_events = False

    # ---- what was learned

    async def _tell(self) -> None:
        news = self._inventory.take_news()
        for at in range(0, len(news), _NEWS_AT_A_TIME):
            self._learned(news[at : at + _NEWS_AT_A_TIME])
            await asyncio.sleep(0)
        self._set_gauges()

    def _tell_at_once(self) -> None:
        news = self._inventory.take_news()
        if news:
            self._wanted.listed(self._inventory.__contains__, None)
            self._learned(news)
            self._set_gauges()

    def _set_gauges(self) -> None:
        self._metrics.set("podwitness_cri_containers", to=len(self._inventory))

    def _count_skipped(self, skipped: int) -> None:
        refused, self._inventory.refused = self._inventory.refused, 0
        if skipped + refused:
            self._metrics.add("podwitness_cri_refused_total", by=skipped + refused)

    # ---- how it goes

    def _say_absent(self) -> None:
        if self._socket.lower() != AUTO and not self._failures:
            self._failures = 1
            log.warning("Cri_Socket %s: there is no socket there; it is looked for again", self._socket)
        self._report("cri", True, "no socket of a runtime: labels and image ids come from the API only")

    def _say_failed(self, path: str, errors: BaseExceptionGroup[BaseException], lasted_s: float) -> None:
        self._failures = 1 if lasted_s >= _STEADY_S else self._failures + 1
        error = errors.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        reason = f"{path}: {error or type(error).__name__}"[:300]
        if self._failures == 1:
            self._is_out = True
            log.warning("%s: containers go without what only their runtime tells; it is asked again", reason)
        self._report("cri", True, reason)

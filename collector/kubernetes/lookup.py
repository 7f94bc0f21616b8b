"""Objects that no watch tells of: pods of other nodes, namespaces, and the owners of owners.

Each is asked for once, by whoever needs it first; others wait for the same answer.
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from collector.kubernetes.api_errors import ApiRefused, ApiUnavailable
from collector.kubernetes.objects import Metadata, UnreadableObject, read_metadata, read_pod
from collector.kubernetes.pods import KEEP_MISSING_S, Pods

if TYPE_CHECKING:
    from collector.kubernetes.api import Api

Ask = Callable[[], Coroutine[Any, Any, None]]

ANSWER_S = 10.0
REQUESTS = 4  # at the same time
MAX_NAMESPACES = 2048
MAX_OWNERS = 4096


class Lookup:
    """`count(request, result)` counts requests. Raises nothing: what is not found out stays unknown."""

    def __init__(
        self, api: Api, pods: Pods, *, count: Callable[[str, str], None], namespace_ttl_s: float
    ) -> None:
        self._api = api
        self._pods = pods
        self._count = count
        self._room = asyncio.Semaphore(REQUESTS)
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._namespace_ttl_s = namespace_ttl_s
        self._namespaces: dict[str, tuple[Metadata | None, float]] = {}  # -> what, until when
        self._owners: dict[str, Metadata | None] = {}  # path ->
        self.told: list[Callable[[str], None]] = []
        """Each is called with the name of a namespace of which something is known now."""

    # ---- pods

    async def pod(self, namespace: str, name: str) -> None:
        """Asks for a pod, unless it is known or was not there a while ago."""
        if self._pods.find(namespace, name) or self._pods.is_missing(namespace, name, time.monotonic()):
            return
        path = f"/api/v1/namespaces/{_quoted(namespace)}/pods/{_quoted(name)}"
        await self._once(path, lambda: self._ask_pod(path, namespace, name))

    async def _ask_pod(self, path: str, namespace: str, name: str) -> None:
        text = await self._get("pod", path)
        try:
            if text is None:
                raise UnreadableObject
            self._pods.take(read_pod(text))
        except UnreadableObject:
            self._pods.take_missing(namespace, name, time.monotonic())

    # ---- namespaces

    def namespace(self, name: str) -> Metadata | None:
        """What is known of it; what is not, or is too old, is asked for."""
        found, until_s = self._namespaces.get(name, (None, 0.0))
        if time.monotonic() >= until_s:
            path = f"/api/v1/namespaces/{_quoted(name)}"
            self._begin(path, lambda: self._ask_namespace(path, name))
        return found

    def knows_namespace(self, name: str) -> bool:
        """Whether it was asked for, with whatever answer."""
        return name in self._namespaces

    async def _ask_namespace(self, path: str, name: str) -> None:
        text = await self._get("namespace", path)
        before = self._namespaces.pop(name, (None, 0.0))[0]
        found = _metadata(text)
        # An answer that failed does not make what was known untrue.
        ttl_s = self._namespace_ttl_s or float("inf") if found else KEEP_MISSING_S
        self._namespaces[name] = (found or before, time.monotonic() + ttl_s)
        if len(self._namespaces) > MAX_NAMESPACES:
            del self._namespaces[next(iter(self._namespaces))]
        if found != before or not before:
            for tell in self.told:
                tell(name)

    # ---- owners

    def owner(self, path: str) -> Metadata | None:
        """An object by its path; None while it is not known, then `told` of its namespace."""
        if path not in self._owners:
            self._begin(path, lambda: self._ask_owner(path))
        return self._owners.get(path)

    async def _ask_owner(self, path: str) -> None:
        found = _metadata(await self._get("owner", path))
        if len(self._owners) >= MAX_OWNERS:
            del self._owners[next(iter(self._owners))]
        self._owners[path] = found
        for tell in self.told:
            tell(urllib.parse.unquote(path.split("/")[-3]))

    # ---- requests

    async def _get(self, request: str, path: str) -> bytes | None:
        try:
            async with self._room, asyncio.timeout(ANSWER_S):
                text = await self._api.get(path)
        except ApiRefused as refused:
            self._count(request, str(refused.status))
            return None
        except (ApiUnavailable, TimeoutError):
            self._count(request, "unavailable")
            return None
        self._count(request, "ok")
        return text

    async def _once(self, path: str, ask: Ask) -> None:
        await asyncio.shield(self._begin(path, ask))

    def _begin(self, path: str, ask: Ask) -> asyncio.Task[None]:
        if path not in self._asked:
            task = asyncio.get_running_loop().create_task(ask())
            task.add_done_callback(lambda _: self._asked.pop(path, None))
            self._asked[path] = task
        return self._asked[path]

    def close(self) -> None:
        for task in tuple(self._asked.values()):
            task.cancel()


def _metadata(text: bytes | None) -> Metadata | None:
    if text is None:
        return None
    try:
        return read_metadata(text)
    except UnreadableObject:
        return None


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")

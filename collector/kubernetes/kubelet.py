"""The pods of this node as the kubelet lists them, where the API server is to be spared (Use_Kubelet).

The kubelet has no watch: its list is read when a pod is asked for that is not
known, and now and then for what has changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.delivery.retry import Backoff
from collector.kubernetes.api_errors import ApiUnavailable
from collector.kubernetes.objects import UnreadableObject, read_list
from collector.kubernetes.outage import PODS_STAY, Outage
from collector.kubernetes.pods import Pods

if TYPE_CHECKING:
    import logging

    from collector.kubernetes.api import Api

LIST_BYTES = 64 << 20
ANSWER_S = 20.0
EVERY_S = 30.0
# New pods come in bursts; one list has all of them.
SPACING_S = 1.0
BACKOFF = Backoff(1.0, 30.0)
REMEDY = (
    "Check Kubelet_Host and Kubelet_Port, that the agent's account may get nodes/proxy, and tls.verify: many "
    "kubelets sign their own certificate."
)


class KubeletPods:
    """Feeds `pods`. `wanted` is set by who misses one."""

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
        self.wanted = asyncio.Event()
        self._api = api
        self._pods = pods
        self._node = node
        self._count = count
        self._outage = Outage(f"the kubelet at {api.url}", PODS_STAY, backoff, report, log)

    @property
    def is_out(self) -> bool:
        """Whether it does not answer, as far as is known."""
        return self._outage.is_out

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._list()
            except (ApiUnavailable, UnreadableObject, TimeoutError) as reason:
                self._count("kubelet", "unavailable")
                await asyncio.sleep(self._outage.failed(_sentence(reason), REMEDY, time.monotonic()))
                continue
            await asyncio.sleep(SPACING_S)
            try:
                async with asyncio.timeout(EVERY_S):
                    await self.wanted.wait()
            except TimeoutError:
                pass
            self.wanted.clear()

    async def _list(self) -> None:
        async with asyncio.timeout(ANSWER_S):
            text = await self._api.get("/pods", LIST_BYTES)
        page = await asyncio.to_thread(read_list, text)
        for pod in page.objects:
            self._pods.take(pod)
        self._pods.end_list({pod.log_uid for pod in page.objects}, self._node, time.monotonic())
        self._count("kubelet", "ok")
        self._outage.end()
        self.is_listed.set()


def _sentence(reason: Exception) -> str:
    return f"did not answer in {ANSWER_S:g} s" if isinstance(reason, TimeoutError) else str(reason)

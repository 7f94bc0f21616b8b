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
OUTAGE_S = 30.0


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
        self.is_out = False
        self.wanted = asyncio.Event()
        self._api = api
        self._pods = pods
        self._node = node
        self._count = count
        self._report = report
        self._log = log
        self._backoff = backoff
        self._failures = 0
        self._failed_since_s = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._list()
            except (ApiUnavailable, UnreadableObject, TimeoutError) as reason:
                await self._wait_after(reason)
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
        for pod in page.pods:
            self._pods.take(pod)
        self._pods.end_list({pod.log_uid for pod in page.pods}, self._node, time.monotonic())
        self._count("kubelet", "ok")
        if self._failures > 1:
            self._log.info("the kubelet at %s answers again", self._api.url)
            self._report(True, "")
        self._failures, self.is_out = 0, False
        self.is_listed.set()

    async def _wait_after(self, reason: Exception) -> None:
        now_s = time.monotonic()
        self._failures += 1
        self._count("kubelet", "unavailable")
        self.is_out = True
        text = f"did not answer in {ANSWER_S:g} s" if isinstance(reason, TimeoutError) else str(reason)
        sentence = (
            f"the kubelet at {self._api.url} {text}. Pods are known as far as they were; it is asked again. "
            "Check Kubelet_Host and Kubelet_Port, that the agent's account may get nodes/proxy, and "
            "tls.verify: many kubelets sign their own certificate."
        )
        if self._failures == 1:
            self._failed_since_s = now_s
            self._log.warning("%s", sentence)
        elif now_s - self._failed_since_s > OUTAGE_S:
            self._report(False, sentence)
        await asyncio.sleep(self._backoff.wait_s(self._failures))

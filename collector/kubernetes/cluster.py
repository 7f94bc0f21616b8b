"""Where metadata of pods comes from: the API server's watch or the kubelet's list, and lookups beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.kubernetes.kubelet import KubeletPods
from collector.kubernetes.lookup import Lookup
from collector.kubernetes.pods import Pods
from collector.kubernetes.watch import PodWatch

if TYPE_CHECKING:
    import logging

    from collector.kubernetes.api import Api

# At the start everything that is there wants its metadata at once: so long it waits for the list.
FIRST_LIST_S = 5.0
# A log of a new pod waits so long; the watch tells within 0.2 s, a container's id within a second.
NEW_POD_S = 1.0
# Records from elsewhere wait so long for a pod of another node.
OTHER_POD_S = 2.0
EXPIRE_S = 10.0


class Cluster:
    """Begins asking with `run`. `kubelet` None: the API server is asked for the pods of this node too."""

    def __init__(
        self,
        api: Api,
        kubelet: Api | None,
        pods: Pods,
        node: str,
        *,
        count: Callable[[str, str], None],
        report: Callable[[bool, str], None],
        namespace_ttl_s: float,
        log: logging.Logger,
    ) -> None:
        self.pods = pods
        self.lookup = Lookup(api, pods, count=count, namespace_ttl_s=namespace_ttl_s)
        self._kubelet: KubeletPods | None = None
        self._local: PodWatch | KubeletPods
        if kubelet is None:
            self._local = PodWatch(api, pods, node, count=count, report=report, log=log)
        else:
            self._kubelet = KubeletPods(kubelet, pods, node, count=count, report=report, log=log)
            self._local = self._kubelet

    async def run(self, stop: asyncio.Event) -> None:
        pods = asyncio.create_task(self._local.run())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((pods, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.lookup.close()
            stopped.cancel()
            pods.cancel()
            await asyncio.wait((pods,))
        if not pods.cancelled():
            pods.result()

    def is_waiting(self, waited_s: float) -> bool:
        """Whether a log of this node that has waited so long for its pod should wait on."""
        if self._local.is_out:
            return False
        if self._kubelet is not None:
            self._kubelet.wanted.set()
        return waited_s < (NEW_POD_S if self._local.is_listed.is_set() else FIRST_LIST_S)

    async def find(self, namespace: str, name: str) -> None:
        """Asks for a pod that may be of another node, and waits for the answer a short while."""
        if self._local.is_out:
            return
        try:
            async with asyncio.timeout(OTHER_POD_S):
                await self.lookup.pod(namespace, name)
        except TimeoutError:
            pass

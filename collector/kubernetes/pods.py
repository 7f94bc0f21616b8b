"""The pods that are known from the API server: by name, by uid, with those that are gone for a while."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from collector.kubernetes.objects import Pod
from collector.kubernetes.workload import Owner, Workload, workload_of

# A kubelet runs 110 pods, a large node 500; those of other nodes are asked for one by one.
MAX_PODS = 4096
# Labels and annotations of all of them; an annotation may have 256 KiB.
MAX_BYTES = 16 << 20
# Logs of a pod are read for a while after it was deleted.
KEEP_GONE_S = 600.0
# So long a pod that was not there is not asked for again (Fluent Bit's kube_meta_negative_cache_ttl).
KEEP_MISSING_S = 60.0
MAX_MISSING = 4096

_POD_BYTES = 1200  # of a pod's objects beside its texts, measured


def size_of(pod: Pod) -> int:
    """Bytes, about."""
    texts = (pod.labels, pod.annotations, *(pod.owners or ()))
    return _POD_BYTES + sum(map(_size_of_map, texts)) + 300 * len(pod.containers)


def _size_of_map(pairs: Mapping[str, Any] | None) -> int:
    return 100 * len(pairs) + sum(map(len, pairs)) + len(str(list(pairs.values()))) if pairs else 0


class Pods:
    """Bounded by MAX_PODS and MAX_BYTES: what was deleted goes first, then what was learned longest ago.

    Each of `learned` is called with a pod that is new or not what it was. Times are CLOCK_MONOTONIC seconds.
    """

    def __init__(self) -> None:
        self.learned: list[Callable[[Pod], None]] = []
        self.evicted = 0
        self.size_bytes = 0
        self.owner: Owner = lambda path: None
        """Whose a pod's owner is, from whoever can ask the API server."""
        self._by_name: dict[tuple[str, str], Pod] = {}
        self._by_uid: dict[str, Pod] = {}  # uid of the logs
        self._sizes: dict[str, int] = {}  # likewise, bytes
        self._gone: dict[str, tuple[Pod, float]] = {}  # uid of the logs -> since when; oldest first
        self._missing: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._by_uid)

    def find(self, namespace: str, name: str) -> Pod | None:
        """The last one of that name."""
        return self._by_name.get((namespace, name))

    def by_uid(self, log_uid: str) -> Pod | None:
        return self._by_uid.get(log_uid)

    def in_namespace(self, namespace: str) -> list[Pod]:
        return [pod for pod in self._by_uid.values() if pod.namespace == namespace]

    def workload(self, pod: Pod) -> Workload | None:
        return workload_of(pod, self.owner)

    def take(self, pod: Pod) -> None:
        """It is there, and so."""
        self._missing.pop((pod.namespace, pod.name), None)
        uid = pod.log_uid
        known = self._by_uid.get(uid)
        self._gone.pop(uid, None)
        self._by_name[pod.namespace, pod.name] = known or pod
        if known is not None and known.says_the_same(pod):
            return
        self._by_name[pod.namespace, pod.name] = pod
        # Learned last stands last, so that the first is the one to be forgotten.
        self._by_uid.pop(uid, None)
        self._by_uid[uid] = pod
        # Most changes are of its status, which has no size to speak of.
        if known is None or (known.labels, known.annotations) != (pod.labels, pod.annotations):
            before, self._sizes[uid] = self._sizes.get(uid, 0), size_of(pod)
            self.size_bytes += self._sizes[uid] - before
            self._make_room(uid)
        for tell in self.learned:
            tell(pod)

    def take_gone(self, pod: Pod, now_s: float) -> None:
        """It was deleted; this is how it was last."""
        self.take(pod)
        if pod.log_uid in self._by_uid:
            self._gone[pod.log_uid] = (pod, now_s)

    def end_list(self, there: Collection[str], node: str, now_s: float) -> None:
        """All pods of a node have been taken, with these log_uids; others that are known were deleted."""
        for uid, pod in self._by_uid.items():
            if pod.node == node and uid not in there:
                self._gone.setdefault(uid, (pod, now_s))

    def take_missing(self, namespace: str, name: str, now_s: float) -> None:
        """The API has no such pod, or did not answer."""
        if len(self._missing) >= MAX_MISSING:
            del self._missing[next(iter(self._missing))]
        self._missing[namespace, name] = now_s + KEEP_MISSING_S

    def is_missing(self, namespace: str, name: str, now_s: float) -> bool:
        return self._missing.get((namespace, name), 0.0) > now_s

    def expire(self, now_s: float) -> None:
        for uid, (_, since_s) in list(self._gone.items()):
            if since_s + KEEP_GONE_S > now_s:
                break
            self._forget(uid)

    def _make_room(self, newest: str) -> None:
        while len(self._by_uid) > MAX_PODS or self.size_bytes > MAX_BYTES:
            uid = next(iter(self._gone), "") or next(iter(self._by_uid))
            self.evicted += 1
            self._forget(uid)
            if uid == newest:
                return

    def _forget(self, uid: str) -> None:
        self._gone.pop(uid, None)
        pod = self._by_uid.pop(uid)
        self.size_bytes -= self._sizes.pop(uid)
        if self._by_name.get((pod.namespace, pod.name)) is pod:
            del self._by_name[pod.namespace, pod.name]

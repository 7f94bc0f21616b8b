"""Who a cgroup, a container id or a log file belongs to, from what the node itself knows.

Sources that need no API server: the path of the cgroup (container id and pod uid, from the kernel), the
runtime's own file (all names, before the first process runs), the kubelet's directories and links of logs,
and the runtime itself, where it may be asked (labels, image ids, and what can't be read elsewhere).
collector/identity/containers.py joins them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Container as ContainerOf
from typing import Protocol, Self

from collector.identity.bundles import Bundle, Bundles, BundleUnreadable
from collector.identity.cgroup_tree import CgroupTree, CgroupTreeUnusable
from collector.identity.cgroups import CgroupOwner, owner_of
from collector.identity.containers import Containers, key_of
from collector.identity.identity import Identity
from collector.identity.log_directories import LogDirectories
from collector.identity.paths import LogName
from collector.identity.retention import Retention
from collector.kubernetes.objects import Pod
from collector.kubernetes.pods import Pods

MAX_CGROUPS = 16384
# Of cgroups that containers and users make below their own: they push out each other, never a container.
MAX_NESTED = 4096
# Of containers that were asked for by id or log path and have no cgroup.
MAX_LOOSE = 4096
KEEP_GONE_NS = 300 * 10**9
_UNKNOWN_NS = 100_000_000  # how long "there is no such cgroup" is believed
_MAX_UNKNOWN = 1024
_RESCAN_NS = 1_000_000_000  # only where the kernel doesn't open a cgroup by its id
# The kubelet makes directory and link within about a second of the start; names not there by then are rare.
_RETRY_NS = 50_000_000
_RETRIES = 9  # each after twice the time: 25 s in all
_MAX_DUE = 256  # at a time: looking takes about 30 us, and holds up the event loop

log = logging.getLogger("podwitness.identity")


class BundleSource(Protocol):
    """collector.identity.bundles.Bundles"""

    def read(self, container_id: str) -> Bundle | None: ...


class LogSource(Protocol):
    """collector.identity.log_directories.LogDirectories"""

    def name_of(self, path: str) -> LogName | None: ...
    def pods(
        self, uids: ContainerOf[str] | None = None
    ) -> Iterable[tuple[str, str, str, tuple[str, ...]]]: ...
    def changed_links(self) -> Iterable[LogName]: ...


class CgroupSource(Protocol):
    """collector.identity.cgroup_tree.CgroupTree"""

    def path_of(self, cgroup_id: int) -> str | None: ...
    def walk(self) -> Iterable[tuple[int, str]]: ...


class IdentityTable:
    """Identities by cgroup id, container id and log path.

    Bounded by MAX_CGROUPS, MAX_NESTED and MAX_LOOSE (about 2 KiB a container); a cgroup that is gone is kept
    for KEEP_GONE_NS. All `now_ns` are CLOCK_BOOTTIME, as the kernel's events have it. Each of `changed` is
    called with a cgroup id and its new identity when the one that was given out for it is no longer the best
    that is known. `tree` None: cgroups are known by `cgroup_made` only.
    """

    def __init__(self, node: str, bundles: BundleSource, logs: LogSource, tree: CgroupSource | None) -> None:
        self.node = node
        self.changed: list[Callable[[int, Identity], None]] = []
        self._bundles = bundles
        self._logs = logs
        self._tree = tree
        self._host = Identity(node)
        self.pods = Pods()
        self.pods.learned.append(self._pod_learned)
        self.pod_news: list[Callable[[Callable[[Identity], bool]], None]] = []
        """Called with what says which identities there is news of, from the API server."""
        self._containers = Containers(node, self.pods, self._tell)
        self._by_cgroup: dict[int, Identity] = {}
        self._keys: dict[int, str] = {}  # cgroup id -> key of its container; "": the host
        self._cgroups: dict[str, set[int]] = {}  # key -> its cgroup ids
        self.runtime: BundleSource | None = None
        """collector.cri.runtime.Runtime; it calls `runtime_learned` with the ids that it has news of."""
        self._loose: dict[str, None] = {}  # container ids without a cgroup, oldest first
        self._own = Retention(MAX_CGROUPS, KEEP_GONE_NS)
        self._nested = Retention(MAX_NESTED, KEEP_GONE_NS)
        self._unknown: dict[int, int] = {}  # cgroup id -> until when it counts as unknown
        self._retries: dict[str, tuple[int, int]] = {}  # key of what lacks a name -> (when, how often yet)
        self._now_ns = 0
        self._scanned_ns: int | None = None
        self._counts = dict.fromkeys(("lookups", "lookups_unknown", "bundles_unreadable"), 0)

    @classmethod
    def open(cls, node: str, root: str = "/") -> Self:
        """The table of this machine; `root` is where the host's root is mounted. Not scanned yet."""
        tree: CgroupTree | None = None
        try:
            tree = CgroupTree.find(root)
        except CgroupTreeUnusable as reason:
            log.warning("%s", reason)
        return cls(node, Bundles(root), LogDirectories(root), tree)

    # ---- questions

    def by_cgroup(self, cgroup_id: int, now_ns: int) -> Identity | None:
        """Whose the processes of this cgroup are; None when there is no such cgroup to be found.

        The host is an Identity with `is_host`.
        """
        found = self._by_cgroup.get(cgroup_id)
        return found if found is not None else self._look_up(cgroup_id, now_ns)

    def present(self) -> Iterator[tuple[int, Identity]]:
        """Each container that is known by its cgroup, once."""
        for cgroup_ids in list(self._cgroups.values()):
            for cgroup_id in sorted(cgroup_ids):
                found = self._by_cgroup.get(cgroup_id)
                if found is not None and found.container_id:
                    yield cgroup_id, found
                    break

    def by_container(self, container_id: str) -> Identity | None:
        """The container of this id; None when no cgroup, no runtime's file and no log's link has it."""
        found = self._containers.identity(container_id)
        if found is None:
            self._read_links()
            found = self._containers.identity(container_id)
        if found is not None:
            return found
        bundle, told = self._read_bundle(container_id), self._ask_runtime(container_id)
        if bundle is None and told is None:
            return None
        self._learn_loose(container_id, bundle, told)
        return self._containers.identity(container_id)

    def by_log_path(self, path: str) -> Identity | None:
        """Who wrote a file of /var/log/pods, /var/log/containers or docker; None for any other path.

        The container id is "" while it shows nowhere.
        """
        name = self._logs.name_of(path)
        if name is None:
            return None
        if not name.pod_name:
            return self.by_container(name.container_id)
        if name.pod_uid:
            self._read_links()
            self._containers.name_pod(name.pod_uid, name.namespace, name.pod_name, (name.container_name,))
        container_id = name.container_id or self._containers.writer(name)
        known = self.by_container(container_id) if container_id else None
        if known is not None and (known.namespace, known.pod_name) == (name.namespace, name.pod_name):
            return known
        return Identity(
            self.node,
            container_id,
            namespace=name.namespace,
            pod_name=name.pod_name,
            pod_uid=name.pod_uid,
            container_name=name.container_name,
            pod=self.pods.by_uid(name.pod_uid) if name.pod_uid else None,
        )

    def statistics(self) -> dict[str, int]:
        """What is held now, and counts since the start."""
        return {
            "cgroups": len(self._by_cgroup),
            "cgroups_gone": self._own.gone + self._nested.gone,
            "containers": len(self._containers),
            "pods": self._containers.pods,
            "incomplete": len(self._retries),
            "evicted": self._own.evicted + self._nested.evicted,
            "disagreements": self._containers.disagreements,
            **self._counts,
        }

    # ---- news

    def cgroup_made(self, cgroup_id: int, path: str, now_ns: int) -> Identity:
        """A cgroup exists, at a path from the root of the hierarchy. Its identity, as far as known now."""
        self._now_ns = max(self._now_ns, now_ns)
        self._unknown.pop(cgroup_id, None)
        owner = owner_of(path) or CgroupOwner()  # a path of the kernel's never leaves the hierarchy
        key = key_of(owner)
        if self._keys.get(cgroup_id, key) != key:
            self._forget(cgroup_id)
        # The host's are with the nested ones: a user of the host can make as many as a container can.
        nested = owner.is_nested or not key
        (self._own if nested else self._nested).forget(cgroup_id)
        victim = (self._nested if nested else self._own).add(cgroup_id)
        if victim is not None:
            self._drop(victim)
        identity = self._join(key, owner, cgroup_id) if key else self._host
        self._keys[cgroup_id] = key
        self._by_cgroup[cgroup_id] = identity
        return identity

    def cgroup_gone(self, cgroup_id: int, now_ns: int) -> None:
        """A cgroup was removed. Its identity is kept for the events that are still on their way."""
        self._now_ns = max(self._now_ns, now_ns)
        self._own.leave(cgroup_id, now_ns)
        self._nested.leave(cgroup_id, now_ns)

    def scan(self) -> None:
        """Reads all sources: at start, and when news of cgroups may have been lost."""
        self._read_logs()
        if self._tree is None:
            return
        self._scanned_ns = self._now_ns
        seen: set[int] = set()
        for cgroup_id, path in self._tree.walk():
            seen.add(cgroup_id)
            if cgroup_id not in self._keys:
                self.cgroup_made(cgroup_id, path, self._now_ns)
        for cgroup_id in (*self._own.live(), *self._nested.live()):
            if cgroup_id not in seen:
                self.cgroup_gone(cgroup_id, self._now_ns)

    def expire(self, now_ns: int) -> None:
        """Forgets what was gone long enough, looks again for missing names. To be called every second."""
        self._now_ns = max(self._now_ns, now_ns)
        self.pods.expire(time.monotonic())
        for keep in (self._own, self._nested):
            for cgroup_id in keep.expire(now_ns):
                self._drop(cgroup_id)
        due = [key for key, (when_ns, _) in self._retries.items() if when_ns <= now_ns][:_MAX_DUE]
        if due:
            self._read_logs({identity.pod_uid for key in due if (identity := self._containers.identity(key))})
        for key in due:
            self._retry(key, now_ns)

    # ---- cgroups

    def _look_up(self, cgroup_id: int, now_ns: int) -> Identity | None:
        until_ns = self._unknown.get(cgroup_id)
        if until_ns is not None and now_ns < until_ns:
            return None
        self._counts["lookups"] += 1
        found = self._find(cgroup_id, now_ns)
        if found is None:
            self._counts["lookups_unknown"] += 1
            if len(self._unknown) >= _MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[cgroup_id] = now_ns + _UNKNOWN_NS
        return found

    def _find(self, cgroup_id: int, now_ns: int) -> Identity | None:
        if self._tree is None or not cgroup_id:
            return None
        try:
            path = self._tree.path_of(cgroup_id)
        except OSError:
            self._now_ns = max(self._now_ns, now_ns)
            if self._scanned_ns is None or now_ns - self._scanned_ns >= _RESCAN_NS:
                self.scan()
            return self._by_cgroup.get(cgroup_id)
        return None if path is None else self.cgroup_made(cgroup_id, path, now_ns)

    def _forget(self, cgroup_id: int) -> None:
        self._own.forget(cgroup_id)
        self._nested.forget(cgroup_id)
        self._drop(cgroup_id)

    def _drop(self, cgroup_id: int) -> None:
        """The cgroup out of the table, and its container with it if it was the last one."""
        del self._by_cgroup[cgroup_id]
        key = self._keys.pop(cgroup_id)
        cgroups = self._cgroups.get(key)
        if cgroups is not None:
            cgroups.discard(cgroup_id)
            if not cgroups:
                self._drop_container(key)

    # ---- containers

    def _join(self, key: str, owner: CgroupOwner, cgroup_id: int) -> Identity:
        """The container's identity, now that this cgroup is one of its own."""
        is_new = key not in self._cgroups
        self._cgroups.setdefault(key, set()).add(cgroup_id)
        self._loose.pop(key, None)
        # The sandbox is told from the others by its age: a child cgroup made later says nothing about that.
        self._containers.see(owner, order=0 if owner.is_nested else cgroup_id)
        if is_new:
            if not self._containers.has_bundle(key):
                self._read_names(key, owner.container_id)
            told = self._ask_runtime(owner.container_id)
            if told is not None:
                self._containers.take_told(key, told)
            if not self._containers.is_complete(key):
                self._retries[key] = (self._now_ns + _RETRY_NS, 0)
        identity = self._containers.identity(key)
        assert identity is not None
        return identity

    def _learn_loose(self, container_id: str, bundle: Bundle | None, told: Bundle | None) -> None:
        """A container that no cgroup stands behind, so far or any more."""
        self._containers.see(CgroupOwner(container_id))
        if bundle is not None:
            self._containers.take_bundle(container_id, bundle)
        if told is not None:
            self._containers.take_told(container_id, told)
        self._loose[container_id] = None
        if len(self._loose) > MAX_LOOSE:
            self._drop_container(next(iter(self._loose)))

    def _drop_container(self, key: str) -> None:
        self._containers.forget(key)
        self._cgroups.pop(key, None)
        self._loose.pop(key, None)
        self._retries.pop(key, None)

    def _tell(self, key: str, identity: Identity) -> None:
        for cgroup_id in self._cgroups.get(key, ()):
            if self._by_cgroup.get(cgroup_id, identity) != identity:
                self._by_cgroup[cgroup_id] = identity
                for tell in self.changed:
                    tell(cgroup_id, identity)

    # ---- the runtime

    def runtime_learned(self, container_ids: Iterable[str]) -> None:
        """The runtime has told something of these containers."""
        known = {one for one in container_ids if self._containers.identity(one) is not None}
        for container_id in known:
            told = self._ask_runtime(container_id)
            if told is not None:
                self._containers.take_told(container_id, told)
        if known:
            self._news(lambda one: one.container_id in known)

    def _ask_runtime(self, container_id: str) -> Bundle | None:
        if self.runtime is None or not container_id:
            return None
        return self.runtime.read(container_id)

    # ---- the API server

    def _pod_learned(self, pod: Pod) -> None:
        self._containers.pod_learned(pod.log_uid)
        names = (pod.namespace, pod.name)
        self._news(lambda one: one.pod_uid == pod.log_uid or (one.namespace, one.pod_name) == names)

    def namespace_learned(self, namespace: str) -> None:
        """There is news of a namespace, or of what owns pods in it."""
        for pod in self.pods.in_namespace(namespace):
            self._containers.pod_learned(pod.log_uid)
        self._news(lambda one: one.namespace == namespace)

    def _news(self, concerns: Callable[[Identity], bool]) -> None:
        for tell in tuple(self.pod_news):
            tell(concerns)

    # ---- names

    def _retry(self, key: str, now_ns: int) -> None:
        _, retries = self._retries.pop(key, (0, _RETRIES))
        if retries >= _RETRIES:
            return
        identity = self._containers.identity(key)
        if identity is not None and not self._containers.has_bundle(key):
            self._read_names(key, identity.container_id)
        if not self._containers.is_complete(key):
            self._retries[key] = (now_ns + (_RETRY_NS << retries + 1), retries + 1)

    def _read_names(self, key: str, container_id: str) -> None:
        bundle = self._read_bundle(container_id) if container_id else None
        if bundle is not None:
            self._containers.take_bundle(key, bundle)

    def _read_bundle(self, container_id: str) -> Bundle | None:
        try:
            return self._bundles.read(container_id)
        except BundleUnreadable as reason:
            self._counts["bundles_unreadable"] += 1
            if self._counts["bundles_unreadable"] == 1:
                log.warning("%s", reason)
            return None

    def _read_logs(self, uids: ContainerOf[str] | None = None) -> None:
        """Of all pods or of these, and of all links that are new."""
        for namespace, name, uid, logged in self._logs.pods(uids):
            self._containers.name_pod(uid, namespace, name, logged)
        self._read_links()

    def _read_links(self) -> None:
        for link in self._logs.changed_links():
            if self._containers.identity(link.container_id) is None:
                container_id = link.container_id
                self._learn_loose(
                    container_id, self._read_bundle(container_id), self._ask_runtime(container_id)
                )
            self._containers.take_link(link)

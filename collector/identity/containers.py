"""Containers and pods as all sources together know them. Sans-I/O: facts go in, identities come out.

Facts are joined by container id and by pod uid, in any order of arrival; what arrives late changes identities
that were given out before. The uid of a static pod is the hash of its manifest in all facts of a node; only
its mirror in the API has another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace

from collector.identity.bundles import Bundle
from collector.identity.cgroups import CgroupOwner
from collector.identity.identity import Identity
from collector.identity.paths import LogName
from collector.kubernetes.images import hash_of
from collector.kubernetes.pods import Pods

MAX_PODS = 8192
# (pod, container, restart) -> container id, for log files: a kubelet keeps two per container.
MAX_LINKS = 8192


@dataclass(slots=True)
class _Container:
    """What is known of one container, or (container_id "") of a pod's own directory."""

    owner: CgroupOwner
    identity: Identity
    order: int
    bundle: Bundle | None = None
    told: Bundle | None = None  # what the runtime answered
    link: LogName | None = None
    is_doubted: bool = False  # bundle or link are of another pod than the cgroup, and don't count


@dataclass(slots=True)
class _Pod:
    namespace: str = ""
    name: str = ""
    logged: frozenset[str] = frozenset()  # names of its containers that have logs
    containers: set[str] = field(default_factory=set)  # keys


def key_of(owner: CgroupOwner) -> str:
    """The key of a container, or of a pod's own directory; "" for the host."""
    return owner.container_id or (f"pod {owner.pod_uid}" if owner.pod_uid else "")


class Containers:
    """Identities by key. `changed` is called with a key and its identity whenever that becomes another."""

    def __init__(self, node: str, pods: Pods, changed: Callable[[str, Identity], None]) -> None:
        self.node = node
        self.disagreements = 0  # containers whose file or link names another pod than their cgroup
        self._changed = changed
        self._api_pods = pods
        self._known: dict[str, _Container] = {}
        self._pods: dict[str, _Pod] = {}
        self._links: dict[tuple[str, str, int], str] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def pods(self) -> int:
        return len(self._pods)

    def identity(self, key: str) -> Identity | None:
        known = self._known.get(key)
        return known.identity if known else None

    def has_bundle(self, key: str) -> bool:
        return self._known[key].bundle is not None

    def is_complete(self, key: str) -> bool:
        """False while a source that hasn't spoken yet could add a name."""
        known = self._known[key]
        identity = known.identity
        if identity.pod_uid and not identity.pod_name:
            return False
        if not identity.container_id:
            return True
        is_told = known.bundle is not None or known.told is not None
        return is_told and bool(identity.container_name or identity.is_sandbox)

    # ---- facts

    def see(self, owner: CgroupOwner, order: int = 0) -> str:
        """There is such a container. `order` of a pod's containers: as they were made; 0: unknown."""
        key = key_of(owner)
        owner = replace(owner, is_nested=False)
        known = self._known.get(key)
        if known is None:
            self._known[key] = _Container(owner, Identity(self.node, owner.container_id), order)
        elif owner.pod_uid and known.owner != owner:
            known.owner, known.order = owner, order
        self._update(key)
        return key

    def take_bundle(self, key: str, bundle: Bundle) -> None:
        self._known[key].bundle = bundle
        self._update(key)

    def take_told(self, key: str, told: Bundle) -> None:
        """What the runtime answers when it is asked."""
        self._known[key].told = told
        self._update(key)

    def take_link(self, link: LogName) -> None:
        """A link of /var/log/containers, with the uid of its target."""
        if link.pod_uid:
            if len(self._links) >= MAX_LINKS:
                del self._links[next(iter(self._links))]
            self._links[link.pod_uid, link.container_name, link.restart] = link.container_id
        known = self._known.get(link.container_id)
        if known is not None and known.link is None:
            known.link = link
            self._update(link.container_id)

    def name_pod(self, uid: str, namespace: str, name: str, logged: Iterable[str]) -> None:
        """A pod's names, and those of containers of it that have logs (they add up)."""
        pod = self._pod(uid)
        before = (pod.namespace, pod.name, pod.logged)
        pod.namespace, pod.name, pod.logged = namespace, name, pod.logged.union(logged)
        if before != (pod.namespace, pod.name, pod.logged):
            for key in tuple(pod.containers):
                self._update(key)

    def pod_learned(self, uid: str) -> None:
        """The API server has told something of a pod."""
        pod = self._pods.get(uid)
        for key in tuple(pod.containers) if pod else ():
            self._update(key)

    def forget(self, key: str) -> None:
        known = self._known.pop(key)
        uid = known.identity.pod_uid
        pod = self._pods.get(uid)
        if pod is not None:
            pod.containers.discard(key)
            if not pod.containers:
                del self._pods[uid]

    # ---- log files

    def writer(self, name: LogName) -> str:
        """The id of the container that writes a file of /var/log/pods; "" when it can't be told (yet)."""
        linked = self._links.get((name.pod_uid, name.container_name, name.restart))
        if linked:
            return linked
        pod = self._pods.get(name.pod_uid) or _Pod()
        named = [
            key for key in pod.containers if self._known[key].identity.container_name == name.container_name
        ]
        # More than one: it was restarted, and only the kubelet's link tells which start wrote the file.
        return named[0] if len(named) == 1 else ""

    # ---- joining

    def _update(self, key: str) -> None:
        known = self._known[key]
        identity = self._compose(key, known)
        if identity == known.identity:
            return
        known.identity = identity
        self._changed(key, identity)
        if identity.pod_uid:
            pod = self._pod(identity.pod_uid)
            pod.containers.add(key)
            if identity.pod_name:
                self.name_pod(identity.pod_uid, identity.namespace, identity.pod_name, ())

    def _compose(self, key: str, known: _Container) -> Identity:
        """The best of each source: the runtime's file, its answers, the kubelet's link, the pod's folder."""
        owner = known.owner
        bundle, link = self._believed(known)
        pod_uid = owner.pod_uid or bundle.pod_uid or (link.pod_uid if link else "")
        pod = self._pods.get(pod_uid) or _Pod()
        name = bundle.container_name or (link.container_name if link else "")
        if not (name or bundle.is_sandbox):
            name = self._only_name(key, pod)
        of_api = self._api_pods.by_uid(pod_uid)
        status = of_api.container(name) if of_api else None
        return Identity(
            node=self.node,
            container_id=owner.container_id,
            runtime=bundle.runtime or owner.runtime,
            namespace=bundle.namespace or pod.namespace or (link.namespace if link else ""),
            pod_name=bundle.pod_name or pod.name or (link.pod_name if link else ""),
            pod_uid=pod_uid,
            container_name=name,
            image=bundle.image or (status.image if status else ""),
            image_id=bundle.image_id or (hash_of(status.image_id) if status else ""),
            is_sandbox=bundle.is_sandbox,
            pod=of_api,
            workload=self._api_pods.workload(of_api) if of_api else None,
            runtime_labels=bundle.labels,
        )

    def _believed(self, known: _Container) -> tuple[Bundle, LogName | None]:
        """Bundle and link, as far as they don't name another pod than the cgroup (which nobody can forge)."""
        link, pod_uid = known.link, known.owner.pod_uid
        told = [one for one in (known.bundle, known.told) if one is not None]
        agreeing = [one if _agrees(one, pod_uid) else _without_names(one) for one in told]
        doubted = bool(pod_uid) and agreeing != told
        bundle = functools.reduce(_joined, agreeing, Bundle(""))
        if link and link.pod_uid and pod_uid and link.pod_uid != pod_uid:
            link, doubted = None, True
        if doubted and not known.is_doubted:
            known.is_doubted = True
            self.disagreements += 1
        return bundle, link

    def _only_name(self, key: str, pod: _Pod) -> str:
        """The name of a pod's one container that has logs, unless this is its first: that is the sandbox."""
        own = self._known[key]
        others = (self._known[one] for one in pod.containers if one != key)
        is_first = all(own.order < one.order for one in others if one.owner.container_id and one.order)
        if len(pod.logged) != 1 or is_first or not own.owner.container_id:
            return ""
        return next(iter(pod.logged))

    def _pod(self, uid: str) -> _Pod:
        pod = self._pods.get(uid)
        if pod is None:
            if len(self._pods) >= MAX_PODS:
                without = (one for one, known in self._pods.items() if not known.containers)
                del self._pods[next(without, next(iter(self._pods)))]
            pod = self._pods[uid] = _Pod()
        return pod


def _without_names(bundle: Bundle) -> Bundle:
    return Bundle(
        bundle.runtime,
        image=bundle.image,
        image_id=bundle.image_id,
        is_kubernetes_own=bundle.is_kubernetes_own,
    )


def _joined(first: Bundle, then: Bundle) -> Bundle:
    """All that either says; where both do, the first."""
    if not first.runtime:
        return then
    return Bundle(*(getattr(first, one.name) or getattr(then, one.name) for one in fields(Bundle)))


def _agrees(bundle: Bundle, pod_uid: str) -> bool:
    if not bundle.pod_name:
        return True
    if bundle.pod_uid and pod_uid:
        return bundle.pod_uid == pod_uid
    return bundle.is_kubernetes_own

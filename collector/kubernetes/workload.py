"""The workload that a pod belongs to: what its operator wrote, not what a controller made of it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from collector.kubernetes.objects import Metadata, Pod

_TEMPLATE_HASH = "pod-template-hash"

Owner = Callable[[str], Metadata | None]
"""The object at a path of the API; None while it is not known."""


class Workload(NamedTuple):
    kind: str  # Deployment, StatefulSet, DaemonSet, CronJob, ...
    name: str


def workload_of(pod: Pod, owner: Owner = lambda path: None) -> Workload | None:
    """None for a pod that nobody owns.

    A Deployment is told without a request: it names its ReplicaSets after itself and the hash of the
    template, and puts the hash on each pod as a label. Jobs have to be asked whose they are.
    """
    found = _controller(pod.owners)
    if found is None:
        return None
    kind, name = found
    template_hash = (pod.labels or {}).get(_TEMPLATE_HASH, "")
    if kind == "ReplicaSet" and template_hash and name.endswith(f"-{template_hash}"):
        return Workload("Deployment", name[: -len(template_hash) - 1])
    if kind == "Job":
        namespace = urllib.parse.quote(pod.namespace, safe="")
        job = owner(f"/apis/batch/v1/namespaces/{namespace}/jobs/{urllib.parse.quote(name, safe='')}")
        above = _controller(job.owners) if job else None
        if above is not None:
            return Workload(*above)
    return Workload(kind, name)


def _controller(owners: Sequence[Mapping[str, Any]] | None) -> tuple[str, str] | None:
    for one in owners or ():
        if one.get("controller"):
            return str(one.get("kind", "")), str(one.get("name", ""))
    return None

"""The `kubernetes` and `kubernetes_namespace` maps of a record, in Fluent Bit's order of keys.

Source: its plugins/filter_kubernetes/kube_meta.c (merge_pod_meta, merge_namespace_meta, merge_meta_from_tag).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from collector.filters.kubernetes_settings import Settings
from collector.identity.identity import Identity
from collector.kubernetes.images import hash_of
from collector.kubernetes.objects import ContainerStatus, Metadata, Pod
from collector.kubernetes.workload import Workload


class Names(NamedTuple):
    """What a tag or a container's name says; "" for what it does not."""

    pod_name: str = ""
    namespace: str = ""
    container_name: str = ""
    docker_id: str = ""
    container_hash: str = ""

    @classmethod
    def of(cls, identity: Identity) -> Names:
        return cls(identity.pod_name, identity.namespace, identity.container_name, identity.container_id)


def tag_map(names: Names) -> dict[str, Any]:
    """What is known without asking anybody (Use_Tag_For_Meta)."""
    return _without_absent(
        ("pod_name", names.pod_name),
        ("namespace_name", names.namespace),
        ("container_name", names.container_name),
        ("docker_id", names.docker_id),
    )


def strict_map(names: Names, pod: Pod, settings: Settings) -> dict[str, Any]:
    """As Fluent Bit's: a container that is ephemeral is not looked up, ids of the tag win over the API's."""
    status = pod.container(names.container_name)
    return _pod_map(names, pod, settings, None if status is None or status.is_ephemeral else status)


def safe_map(
    names: Names, identity: Identity | None, pod: Pod | None, workload: Workload | None, settings: Settings
) -> dict[str, Any]:
    """What the node knows too, and with what Fluent Bit leaves out: `workload`, `container_image_id`."""
    if pod is None:
        known = identity or Identity("")
        own = dataclasses.replace(
            known,
            namespace=names.namespace,
            pod_name=names.pod_name,
            container_name=names.container_name,
            container_id=names.docker_id,
            pod=None,
            workload=None,
        ).kubernetes(settings.labels)
        return {**own, "container_image_id": known.image_id} if known.image_id else own
    status = pod.container(names.container_name)
    found = _pod_map(names, pod, settings, status, workload)
    if status is not None and status.image_id:
        found["container_image_id"] = status.image_id
    return found


def _pod_map(
    names: Names,
    pod: Pod,
    settings: Settings,
    status: ContainerStatus | None,
    workload: Workload | None = None,
) -> dict[str, Any]:
    docker_id, container_hash, image = names.docker_id, names.container_hash, ""
    if status is not None:
        docker_id = docker_id or hash_of(status.container_id)
        container_hash = container_hash or hash_of(status.image_id)
        image = status.image
    owners = [dict(one) for one in pod.owners] if pod.owners is not None else None
    return _without_absent(
        ("pod_name", names.pod_name),
        ("namespace_name", names.namespace),
        ("pod_id", pod.uid),
        ("labels", dict(pod.labels) if settings.labels and pod.labels is not None else None),
        (
            "annotations",
            dict(pod.annotations) if settings.annotations and pod.annotations is not None else None,
        ),
        ("ownerReferences", owners if settings.owner_references else None),
        ("workload", workload._asdict() if workload else None),
        ("host", pod.node),
        ("pod_ip", pod.pod_ip),
        ("container_name", names.container_name),
        ("docker_id", docker_id),
        ("container_hash", container_hash),
        ("container_image", image),
    )


def namespace_map(name: str, found: Metadata, settings: Settings) -> dict[str, Any]:
    return _without_absent(
        ("name", name),
        ("labels", dict(found.labels) if settings.namespace_labels and found.labels is not None else None),
        (
            "annotations",
            dict(found.annotations)
            if settings.namespace_annotations and found.annotations is not None
            else None,
        ),
    )


def _without_absent(*pairs: tuple[str, Any]) -> dict[str, Any]:
    """A map that is there and empty stays."""
    return {key: value for key, value in pairs if value is not None and value != ""}

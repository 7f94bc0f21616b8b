"""From the path of a cgroup to the container that owns it.

The kernel's path of a cgroup is the one name that a container cannot forge
from its head on: directories above a container's own are made by the kubelet
and the runtime. Below its own, a container with a writable cgroup file system
makes any name it likes, also `kubepods/pod<uid>/<id>` of somebody else. So the
path is read from the root and the first container found owns all below it.

There is one exception, because whole nodes run in containers (kind, minikube,
k3d): below a container of docker or podman that is *not* part of a pod, a
`kubepods` tree in the places where a kubelet puts it is taken for that node's.
Whoever runs such a container by hand on a node can therefore claim to be a pod;
a container of a pod never can.

Units that systemd delegates (`*.service`, `*.scope`; all of a user's session is
in one) hold names chosen by their inhabitants too: no pod is looked for in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CgroupOwner:
    """Whose cgroup it is. All "": the host's. A pod without container: the pod's own directory.

    `runtime` is "" where the path doesn't tell (the cgroupfs driver). Whether it is
    the pause container doesn't show in a path. `is_nested`: the cgroup is below the
    owner's own, so the container (or a session of the host) may have made it.
    """

    container_id: str = ""
    pod_uid: str = ""
    runtime: str = ""
    is_nested: bool = False


# A uid is what the kubelet goes by: the API's uid, or for a static pod the hash of its manifest (32 hex
# digits, no dashes) or whatever its manifest says. The API's mirror of a static pod has another uid.
_UID = r"[0-9A-Za-z][0-9A-Za-z-]{0,62}"
_UNIT_UID = r"[0-9A-Za-z][0-9A-Za-z_]{0,62}"  # in a systemd unit's name each dash is an underscore
_ID = r"[0-9a-f]{64}"
_QOS = frozenset(("besteffort", "burstable"))
_POD = re.compile(rf"pod({_UID})")
_KUBEPODS_SLICE = re.compile(r"(?:[^/]+-)?kubepods\.slice")
_QOS_SLICE = re.compile(r"(?:[^/]+-)?kubepods-(?:besteffort|burstable)\.slice")
_POD_SLICE = re.compile(rf"(?:[^/]+-)?kubepods(?:-besteffort|-burstable)?-pod({_UNIT_UID})\.slice")
_CONTAINER = re.compile(rf"(?:(cri-containerd|crio|docker|libpod|nerdctl)-)?({_ID})(?:\.scope)?")
_CONMON = re.compile(rf"(?:crio|libpod)-conmon-{_ID}(?:\.scope)?")
# runc without its systemd driver, given a systemd name by the kubelet: all in one directory.
_COLONS = re.compile(
    rf"(?:[^/]*-)?kubepods(?:-besteffort|-burstable)?-pod({_UNIT_UID})\.slice:(cri-containerd|crio|docker):({_ID})"
)
_COLON_PARENTS = frozenset(
    f"{unit}.service"
    for unit in ("containerd", "crio", "docker", "k3s", "k3s-agent", "rke2-agent", "rke2-server")
)
_RUNTIMES = {
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "docker": "docker",
    "libpod": "podman",
}
# Where a kubelet inside a container (a node of kind or the like) hangs its pods below the container.
_NODE_PREFIXES = frozenset(("kubelet", "kubelet.slice", "container"))
_HOST = CgroupOwner()


def owner_of(path: str) -> CgroupOwner | None:
    """Who owns the cgroup at a path from the root of the cgroup hierarchy.

    None for a path that leaves the reader's cgroup namespace (`/../..`): its head,
    the part that counts, is missing.
    """
    names = [name for name in path.split("/") if name]
    if ".." in names:
        return None
    for index, name in enumerate(names):
        below = names[index + 1 :]
        if pod_below := _pod_below(name, below):
            return pod_below
        if found := _CONTAINER.fullmatch(name):
            return _outside_pods(found, names[index - 1] if index else "", below)
        if colons := _COLONS.fullmatch(name):
            return _in_one_name(colons, below)
        if _is_delegated(name) and not _holds_colons(name, below):
            return CgroupOwner(is_nested=bool(below))
    return _HOST


def _pod_below(name: str, below: list[str]) -> CgroupOwner | None:
    """The owner in a tree of pods that starts at `name`; None when none starts there."""
    if name == "kubepods":
        rest = below[1:] if below and below[0] in _QOS else below
        pod = _POD.fullmatch(rest[0]) if rest else None
    elif _KUBEPODS_SLICE.fullmatch(name):
        rest = below[1:] if below and _QOS_SLICE.fullmatch(below[0]) else below
        pod = _POD_SLICE.fullmatch(rest[0]) if rest else None
    else:
        return None
    if pod is None:
        return CgroupOwner(is_nested=bool(rest))
    return _in_pod(pod[1].replace("_", "-"), rest[1:])


def _in_pod(pod_uid: str, names: list[str]) -> CgroupOwner:
    if not names:
        return CgroupOwner(pod_uid=pod_uid)
    if _CONMON.fullmatch(names[0]):
        return CgroupOwner(is_nested=len(names) > 1)
    found = _CONTAINER.fullmatch(names[0])
    if found is None:
        return CgroupOwner(pod_uid=pod_uid, is_nested=True)
    runtime = _RUNTIMES.get(found[1] or "", "")
    return CgroupOwner(found[2], pod_uid, runtime, is_nested=len(names) > 1)


def _in_one_name(found: re.Match[str], below: list[str]) -> CgroupOwner:
    pod_uid, runtime, container_id = found.groups()
    return CgroupOwner(container_id, pod_uid.replace("_", "-"), _RUNTIMES[runtime], is_nested=bool(below))


def _outside_pods(found: re.Match[str], parent: str, below: list[str]) -> CgroupOwner:
    """A container that no kubelet started: itself, unless it is a node with pods of its own."""
    inner = next((i for i, name in enumerate(below) if name not in _NODE_PREFIXES), len(below))
    if inner < len(below):
        pod = _pod_below(below[inner], below[inner + 1 :])
        if pod is not None and pod.pod_uid:
            return pod
    runtime = _RUNTIMES.get(found[1] or "", "")
    if not runtime and parent in ("docker", "k8s.io"):
        runtime = "docker" if parent == "docker" else "containerd"
    return CgroupOwner(found[2], "", runtime, is_nested=bool(below))


def _is_delegated(name: str) -> bool:
    return name.endswith((".service", ".scope"))


def _holds_colons(name: str, below: list[str]) -> bool:
    return name in _COLON_PARENTS and bool(below) and _COLONS.fullmatch(below[0]) is not None

"""From the path of a log file to the names of its container.

The kubelet writes `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log`, renames it to
`<restart>.log.<YYYYMMDD-HHMMSS>` and later compresses that; the link
`/var/log/containers/<pod>_<namespace>_<container>-<container id>.log` leads there. No name that Kubernetes
admits has an underscore, so a path splits in one way only; what it would not have admitted is nobody's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PODS = "/var/log/pods"
CONTAINERS = "/var/log/containers"

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123: a namespace, a container
_POD = (
    r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"  # RFC 1123 subdomain, as the API checks it: all labels together
)
_UID = r"[0-9A-Za-z][0-9A-Za-z-]{0,62}"
_POD_DIRECTORY = re.compile(rf"({_LABEL})_({_POD})_({_UID})")
_CONTAINER_NAME = _NAMESPACE_NAME = re.compile(_LABEL)
_POD_NAME = re.compile(_POD)
_UID_TEXT = re.compile(_UID)
# CRI-O's conmon numbers its backups; `.tmp` is a file that the kubelet is compressing or moving.
_LOG_FILE = re.compile(r"([0-9]{1,9})\.log((?:\.[0-9]{8}-[0-9]{6})?(?:\.tmp|\.gz)*|\.[0-9]{1,4})")
_LINK = re.compile(rf"({_POD})_({_LABEL})_({_LABEL})-([0-9a-f]{{64}})\.log")


@dataclass(frozen=True, slots=True)
class LogName:
    """What a path says. `pod_uid` is "" for a link, `container_id` is "" for a file below /var/log/pods.

    The uid of a static pod is the hash of its manifest, as in its cgroup; its mirror in the API has another.
    """

    namespace: str
    pod_name: str
    container_name: str
    pod_uid: str = ""
    container_id: str = ""
    restart: int = 0  # of the container, 0 for the first start
    is_rotated: bool = False
    is_compressed: bool = False


def read_pod_directory(name: str) -> tuple[str, str, str] | None:
    """(namespace, pod name, uid) of a directory's name in /var/log/pods; None when it is not a pod's."""
    found = _POD_DIRECTORY.fullmatch(name)
    return (found[1], found[2], found[3]) if found else None


def is_container_name(name: str) -> bool:
    return _CONTAINER_NAME.fullmatch(name) is not None


def is_pod_name(namespace: str, name: str) -> bool:
    return _NAMESPACE_NAME.fullmatch(namespace) is not None and _POD_NAME.fullmatch(name) is not None


def is_uid(uid: str) -> bool:
    return _UID_TEXT.fullmatch(uid) is not None


def read_pod_log(path: str, pods: str = PODS) -> LogName | None:
    """The names in a path below /var/log/pods (or the directory given); None for any other path."""
    if not path.startswith(pods + "/"):
        return None
    parts = path[len(pods) + 1 :].split("/")
    if len(parts) != 3:
        return None
    pod = read_pod_directory(parts[0])
    file = _LOG_FILE.fullmatch(parts[2])
    if pod is None or file is None or not is_container_name(parts[1]):
        return None
    namespace, pod_name, pod_uid = pod
    return LogName(
        namespace,
        pod_name,
        parts[1],
        pod_uid=pod_uid,
        restart=int(file[1]),
        is_rotated=bool(file[2]),
        is_compressed=file[2].endswith(".gz"),
    )


def read_container_link(name: str) -> LogName | None:
    """The names in the file name of a link in /var/log/containers.

    None for a name that the kubelet cut at 255 bytes (long pod names): the target of the link still tells.
    """
    found = _LINK.fullmatch(name)
    if found is None:
        return None
    pod_name, namespace, container_name, container_id = found.groups()
    return LogName(namespace, pod_name, container_name, container_id=container_id)


def read_tag(tag: str, prefix_length: int) -> LogName | None:
    """The names in a tag that was made of a link's path.

    As in Fluent Bit the prefix is skipped by its length and not compared, except that it has to end where a
    part of the tag ends: a shorter prefix would otherwise cut the pod's name.
    """
    if prefix_length and tag[prefix_length - 1 : prefix_length] != ".":
        return None
    return read_container_link(tag[prefix_length:])

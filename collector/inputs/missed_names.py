"""Whether a log that was gone before it could be opened was one that Path means, as far as its name tells.

Where Path means the kubelet's links, the files that they lead to are looked for among those of all pods: most
may be other inputs', or nobody's. Of a pod's directory the containers are not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from collector.inputs.tail_paths import UNKNOWN_CONTAINER_ID, KubeletRoots, Selection

# What may have been in a directory: as good a name as any other, and no other is known.
LOG = "0.log"
CONTAINER = "container"


def missed_name(path: str, selection: Selection, kubelet: KubeletRoots) -> str | None:
    """The name by which a log, or a directory of logs, would have been known; None: it is not meant."""
    below = path.removeprefix(kubelet.pods + "/")
    if below != path and kubelet.pods_pattern(selection) and not _means_pods(selection, kubelet):
        return _link_of(below.split("/"), path, selection, kubelet)
    return None if any(selection.excludes(one) for one in _maybe_in(path)) else path


def _means_pods(selection: Selection, kubelet: KubeletRoots) -> bool:
    return any((pattern.fixed + "/").startswith(kubelet.pods + "/") for pattern in selection.patterns)


def _maybe_in(path: str) -> Iterator[str]:
    yield from (path, f"{path}/{LOG}", f"{path}/{CONTAINER}/{LOG}")


def _link_of(names: list[str], path: str, selection: Selection, kubelet: KubeletRoots) -> str | None:
    """As the kubelet would have named it; of a pod's directory the path itself."""
    log = kubelet.log_name("/".join((kubelet.pods, *names, *(CONTAINER, LOG)[len(names) - 1 :])))
    if log is None:
        return None
    link = kubelet.link_path(log, UNKNOWN_CONTAINER_ID)
    if len(names) > 1:
        return link if selection.wants(link) else None
    links = (one.coarse[-1] for one in selection.patterns if one.fixed == kubelet.containers)
    is_meant = any(may_begin(pattern, f"{log.pod_name}_{log.namespace}_") for pattern in links)
    return path if is_meant and not selection.excludes(link) else None


def may_begin(pattern: str, beginning: str) -> bool:
    """Whether a name that begins so, with no underscore behind it, may meet a pattern in which `*` alone is
    special. No name of a container has one."""
    pattern = re.sub(r"\*+", "*", pattern)
    places = {0}
    for letter in beginning:
        places |= {at + 1 for at in places if pattern[at : at + 1] == "*"}
        places = {at + (pattern[at] != "*") for at in places if pattern[at : at + 1] in ("*", letter)}
    return any("_" not in pattern[at:] for at in places)

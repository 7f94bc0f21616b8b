"""The kubelet's directories of logs: which containers a pod has, and which container wrote which file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Container, Iterator
from dataclasses import replace

from collector.identity.paths import (
    CONTAINERS,
    PODS,
    LogName,
    is_container_name,
    read_container_link,
    read_pod_directory,
    read_pod_log,
)

_DOCKER_LOG = re.compile(r"/var/lib/docker/containers/([0-9a-f]{64})/\1-json\.log(?:\.[0-9]+)?(?:\.gz)?")
_TICK_NS = 20_000_000


class LogDirectories:
    """/var/log/pods and /var/log/containers, below `root` or (often mounted so) at their own path."""

    def __init__(self, root: str = "/") -> None:
        prefix = root.rstrip("/")
        self._prefixes = (prefix, "") if prefix else ("",)
        self._links_read_ns = -1
        self._links_known: set[str] = set()

    def name_of(self, path: str) -> LogName | None:
        """Who a path belongs to by its names alone, links resolved; None: no container's log."""
        inside = self._inside(path)
        docker = _DOCKER_LOG.fullmatch(inside)
        if docker:
            return LogName("", "", "", container_id=docker[1])
        if not inside.startswith(CONTAINERS + "/"):
            return read_pod_log(inside)
        link = read_container_link(os.path.basename(path))
        target = self._target(path)
        if target is None:
            return link
        # The target has the uid, and all names even where the link's own name was cut.
        return replace(target, container_id=link.container_id) if link else target

    def pods(self, uids: Container[str] | None = None) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
        """(namespace, pod name, uid, container names) of pods that have logs: all, or of these uids."""
        for prefix in self._prefixes:
            for name in _names(prefix + PODS):
                # To list 10,000 takes milliseconds, to look into each of them a second.
                is_asked = uids is None or name.rpartition("_")[2] in uids
                pod = read_pod_directory(name) if is_asked else None
                if pod is not None:
                    yield *pod, self._containers(f"{prefix}{PODS}/{name}")

    def containers_of(self, namespace: str, pod_name: str, pod_uid: str) -> tuple[str, ...]:
        """Names of the containers of one pod that have logs, init containers among them."""
        for prefix in self._prefixes:
            names = self._containers(f"{prefix}{PODS}/{namespace}_{pod_name}_{pod_uid}")
            if names:
                return names
        return ()

    def changed_links(self) -> Iterator[LogName]:
        """Links of /var/log/containers that are new, with the names of their targets.

        A link's name has the id of its container, so one that is known says nothing new.
        """
        for prefix in self._prefixes:
            directory = prefix + CONTAINERS
            try:
                changed_ns = os.stat(directory).st_mtime_ns
            except OSError:
                continue
            if changed_ns == self._links_read_ns:
                return
            # Within one tick of the file system's clock there may be another change of the same time.
            if time.time_ns() - changed_ns > _TICK_NS:
                self._links_read_ns = changed_ns
            names = _names(directory)
            before, self._links_known = self._links_known, set(names)
            for name in names:
                if name in before:
                    continue
                found = self.name_of(f"{directory}/{name}")
                if found is not None and found.container_id:
                    yield found
            return

    def _inside(self, path: str) -> str:
        prefix = self._prefixes[0]
        return path.removeprefix(prefix) if prefix and path.startswith(prefix + "/") else path

    def _target(self, link: str) -> LogName | None:
        try:
            return read_pod_log(self._inside(os.readlink(link)))
        except OSError:
            return None

    def _containers(self, directory: str) -> tuple[str, ...]:
        return tuple(name for name in _names(directory) if is_container_name(name))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []

"""Whose a record is by its tag, or by the name that docker gave a container, as Fluent Bit's kube_regex.h."""

from __future__ import annotations

from collector.config.onigmo import Pattern
from collector.filters.kubernetes_map import Names

TAG = (
    r"(?<pod_name>[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)"
    r"_(?<namespace_name>[^_]+)_(?<container_name>.+)-(?<docker_id>[a-z0-9]{64})\.log$"
)
JOURNAL = (
    r"^(?<name_prefix>[^_]+)_(?<container_name>[^\._]+)(\.(?<container_hash>[^_]+))?"
    r"_(?<pod_name>[^_]+)_(?<namespace_name>[^_]+)_[^_]+_[^_]+$"
)
_KEYS = ("pod_name", "namespace_name", "container_name", "docker_id", "container_hash")


def names_by(pattern: Pattern | None, text: str) -> Names | None:
    """None where the pattern is not found, or finds no pod: then nobody can be asked."""
    found = pattern.fields(text.encode("utf-8", "surrogateescape")) if pattern else None
    if found is None:
        return None
    said = {name: (value or b"").decode("utf-8", "surrogateescape") for name, value in found}
    return Names(*(said.get(key, "") for key in _KEYS))

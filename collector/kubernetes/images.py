"""Ids in a pod's status, as Fluent Bit reads them (kube_meta.c, extract_hash)."""

from __future__ import annotations

import re

_SLASHES = re.compile(r"/+")


def hash_of(written: str) -> str:
    """What stands behind the slashes of `docker-pullable://`; all of it without them, "" without a colon."""
    colon = written.find(":")
    if colon < 0 or len(written) <= 1:
        return ""
    slashes = _SLASHES.match(written, colon + 1)
    return written[slashes.end() :] if slashes else written

"""Which hooks this kernel has."""

from __future__ import annotations

from probes.catalog import hooks_of, needed
from probes.compiler import find_btf_ids
from probes.headers import running_kernel


def hooks_here(*subjects: str) -> list[str]:
    """By tracepoint, in the order of the catalog; those that are attached, unless something fails."""
    return [hook.tracepoint for hook in needed(hooks_of(subjects), find_btf_ids(running_kernel()[0]))]

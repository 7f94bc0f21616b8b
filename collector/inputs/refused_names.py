"""Names that match Path and are no log files: each is said once, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.context import InputContext

# Who can write to a log directory could make a million.
MAX_REFUSED = 1000


class RefusedNames:
    """`refuse` may be called from any thread."""

    def __init__(self, context: InputContext) -> None:
        self._context = context
        self._told: set[str] = set()

    def refuse(self, path: str, reason: str) -> None:
        if path not in self._told and len(self._told) < MAX_REFUSED:
            self._told.add(path)
            self._context.log.warning("%s is not followed: %s", path, reason)
            self._context.metrics.add("podwitness_tail_files_refused_total", self._context.name)

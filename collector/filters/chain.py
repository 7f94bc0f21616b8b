"""The filters of a configuration, in their order, as inputs use them."""

from __future__ import annotations

from collections.abc import Sequence

from collector.entries import count, rewrite
from collector.identity.identity import Identity
from collector.plan import EventPlan, LogPlan
from collector.plugin import Filter, LogSource, Pairs

Rest = tuple[Filter, ...]
"""Filters that have to see the records of a stream."""


class FilterChain:
    """Folds filters into plans as far as they are constant, and applies the rest to records.

    The first filter that can't be folded ends a plan: it and all that follow
    work on what the plan made.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = tuple(filters)

    def log_plan(self, source: LogSource, plan: LogPlan) -> tuple[LogPlan, Rest]:
        """The plan of a followed file, and the filters for its records."""
        matching = self._matching(source.tag)
        for number, one in enumerate(matching):
            folded = one.fold_log(plan, source)
            if folded is None:
                return plan, matching[number:]
            plan = folded
        return plan, ()

    def event_plan(self, tag: str, plan: EventPlan, identity: Identity) -> tuple[EventPlan, Rest]:
        """The same for the kernel events of one container, or of the host."""
        matching = self._matching(tag)
        for number, one in enumerate(matching):
            folded = one.fold_event(plan, tag, identity)
            if folded is None:
                return plan, matching[number:]
            plan = folded
        return plan, ()

    def record_plan(self, tag: str) -> tuple[EventPlan, Rest]:
        """The same for records made in Python, where there is nothing to fold into."""
        return EventPlan(), self._matching(tag)

    def apply(self, rest: Rest, tag: str, entries: bytes, identity: Identity | None) -> tuple[bytes, int]:
        """Entries after the filters, and how many are left. Raises ValueError for what are no entries."""
        if not rest:
            return entries, count(entries)

        def change(record: Pairs) -> Pairs | None:
            current: Pairs | None = record
            for one in rest:
                if current is None:
                    return None
                current = one.apply(tag, current, identity)
            return current

        return rewrite(entries, change)

    def _matching(self, tag: str) -> Rest:
        return tuple(one for one in self._filters if one.matches(tag))

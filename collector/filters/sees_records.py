"""What filters have in common that are constant for no stream."""

from __future__ import annotations

from collector.identity.identity import Identity
from collector.plan import EventPlan, LogPlan
from collector.plugin import LogSource


class SeesRecords:
    """Folded into no plan: it is given the records of every stream that it matches."""

    def fold_log(self, plan: LogPlan, source: LogSource) -> LogPlan | None:
        return None

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        return None

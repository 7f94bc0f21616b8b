"""A filter that sees records is folded into no plan, and so is none behind it."""

from __future__ import annotations

from pathlib import Path

from collector.entries import Pairs
from collector.filters import modify
from collector.filters.chain import FilterChain
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.plan import EventPlan, Framing, Layout, LogPlan
from collector.plugin import LogSource
from tests.unit.filtering import SectionText, make


class Passing(SeesRecords):
    def matches(self, tag: str) -> bool:
        return tag == "seen"

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        return record


def test_nothing_is_folded_from_it_on(tmp_path: Path) -> None:
    constant, passing = make(modify, SectionText(tmp_path, "Add a 1")), Passing()
    chain, plan = FilterChain([passing, constant]), LogPlan(Framing.LINE, Layout())
    assert chain.log_plan(LogSource("seen", "/x", None), plan) == (plan, (passing, constant))
    assert chain.event_plan("seen", EventPlan(), Identity("n1")) == (EventPlan(), (passing, constant))
    folded, rest = chain.log_plan(LogSource("other", "/x", None), plan)
    assert (len(folded.steps), rest) == (1, ())

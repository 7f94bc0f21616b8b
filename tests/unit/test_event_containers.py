"""collector.inputs.event_containers: the encoder's tables follow the identities of cgroups."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.filters.chain import FilterChain
from collector.identity.identity import Identity
from collector.inputs import event_containers
from collector.inputs.event_containers import ASK_AGAIN_NS, KEEP_GONE_NS, EventContainers
from collector.inputs.event_plans import Planner, SubjectPlan
from collector.native.event_kinds import Scope
from collector.native.events import CgroupChange
from tests.reference.cgroups import CONTAINER_ID, CONTAINER_PATH, HOST_PATH, Cgroups, identity_table

SECOND = 10**9


class Picky(Planner):
    """A planner of a chain with a filter that has to see the records of containers."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag, FilterChain(()), "node1")
        plain = self.plan

        def plan(identity: Identity | None) -> SubjectPlan:
            made = plain(identity)
            sees = identity is not None and not identity.is_host
            return made._replace(rest=(object(),)) if sees else made  # type: ignore[arg-type]

        self.plan = plan  # type: ignore[assignment]


def planner(subject: str) -> Planner:
    return Planner(f"kernel.{subject}", FilterChain(()), "node1")


def containers(cgroups: Cgroups, process: Planner | None = None) -> EventContainers:
    return EventContainers(identity_table(cgroups), process or planner("process"), planner("network"))


def test_a_cgroup_is_looked_up_once_and_then_known_to_the_encoder() -> None:
    cgroups = Cgroups({5: CONTAINER_PATH})
    known = containers(cgroups)
    for _ in range(3):
        plans = known.plans(5, 0)
        assert plans is not None
        assert plans.process.identity is not None
        assert plans.process.identity.container_id == CONTAINER_ID
    assert plans is not None
    assert cgroups.asked == [5]
    assert known.tables.process.find(5) == plans.process.fragment
    assert known.tables.network.find(5) == plans.network.fragment


def test_whose_a_target_is_is_known_with_its_cgroup_and_forgotten_with_it() -> None:
    known = containers(Cgroups({}))
    known.note(CgroupChange(True, 9, 1, 3, CONTAINER_PATH), SECOND)
    target = known.targets.find(9)
    assert target is not None
    assert (target.scope, CONTAINER_ID.encode() in target.pairs) == (Scope.CONTAINER, True)
    known.give_up(5, 0)
    assert known.targets.find(5) is None
    known.note(CgroupChange(False, 9, 2, 3, CONTAINER_PATH), 2 * SECOND)
    known.expire(2 * SECOND + KEEP_GONE_NS)
    assert known.targets.find(9) is None


def test_an_unknown_cgroup_is_given_up_for_a_while_only() -> None:
    cgroups = Cgroups({})
    known = containers(cgroups)
    assert known.plans(5, 0) is None
    assert known.give_up(5, 0).process.fragment.scope is Scope.UNRESOLVED
    cgroups.paths[5] = HOST_PATH
    known.expire(ASK_AGAIN_NS - 1)
    found = known.tables.process.find(5)
    assert found is not None
    assert found.scope is Scope.UNRESOLVED
    known.expire(ASK_AGAIN_NS)
    plans = known.plans(5, ASK_AGAIN_NS)
    assert plans is not None
    assert plans.network.fragment.scope is Scope.HOST


def test_records_without_a_cgroup_are_not_looked_up() -> None:
    cgroups = Cgroups({})
    assert containers(cgroups).plans(0, 0) is None
    assert cgroups.asked == []


def test_a_cgroup_that_is_made_is_known_before_its_first_event_and_after_its_last() -> None:
    known = containers(Cgroups({}))
    known.note(CgroupChange(True, 9, 1, 3, CONTAINER_PATH), SECOND)
    made = known.tables.process.find(9)
    assert made is not None
    assert made.scope is Scope.CONTAINER
    known.note(CgroupChange(False, 9, 2, 3, CONTAINER_PATH), 2 * SECOND)
    known.expire(2 * SECOND + KEEP_GONE_NS - 1)
    assert known.tables.process.find(9) == made
    known.expire(2 * SECOND + KEEP_GONE_NS)
    assert known.tables.process.find(9) is None
    # A socket that lives even longer: the identity table still remembers.
    assert known.plans(9, 2 * SECOND + KEEP_GONE_NS) is not None


def test_a_better_identity_replaces_the_pairs() -> None:
    identities = identity_table(Cgroups({5: CONTAINER_PATH}))
    known = EventContainers(identities, planner("process"), planner("network"))
    plans = known.plans(5, 0)
    assert plans is not None
    assert plans.process.identity is not None
    better = replace(plans.process.identity, image="httpd:2")
    for tell in identities.changed:
        tell(5, better)
        tell(6, better)  # not in use here
    now = known.plans(5, 0)
    assert now is not None
    assert now.process.identity == better
    assert known.tables.network.find(5) == now.network.fragment
    assert known.tables.network.find(6) is None
    known.close()
    assert identities.changed == []


def test_a_subject_whose_filters_see_records_is_kept_out_of_the_encoders_table() -> None:
    known = containers(Cgroups({5: CONTAINER_PATH, 6: HOST_PATH}), Picky("kernel.process"))
    for cgroup in (5, 6):
        assert known.plans(cgroup, 0) is not None
    assert known.tables.process.find(5) is None
    assert known.tables.network.find(5) is not None
    assert known.tables.process.find(6) is not None


def test_the_first_learnt_makes_room_and_is_learnt_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_containers, "MAX_CGROUPS", 3)
    known = containers(Cgroups(dict.fromkeys(range(1, 10), HOST_PATH)))
    for cgroup in (1, 2, 3, 4):
        known.plans(cgroup, 0)
    assert len(known.tables.process) == len(known.tables.network) == 3
    assert known.tables.process.find(1) is None
    assert known.plans(1, 0) is not None
    assert known.tables.process.find(2) is None


def test_pairs_that_fill_the_table_make_room_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_containers, "TABLE_BYTES", 1000)
    known = containers(Cgroups(dict.fromkeys(range(1, 10), CONTAINER_PATH)))
    for cgroup in range(1, 10):
        known.plans(cgroup, 0)
        assert known.tables.process.find(cgroup) is not None
        assert known.tables.process.size_bytes <= 1000


def test_cgroups_that_come_and_go_fast_are_not_remembered_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_containers, "MAX_CGROUPS", 4)
    known = containers(Cgroups({}))
    for cgroup in range(1, 100):
        known.note(CgroupChange(True, cgroup, 0, 3, CONTAINER_PATH), 0)
        known.note(CgroupChange(False, cgroup, 0, 3, CONTAINER_PATH), 0)
    assert len(known._leaving) == 4
    assert len(known.tables.process) <= 4

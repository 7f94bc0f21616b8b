"""The table of live processes, when it is full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.event_layout import LAYOUT
from tests.kernel.map_places import PLACES, MapPlaces
from tests.kernel.sandbox import Cgroup, run
from tests.kernel.witness import Witness

UNTRACKED = LAYOUT.constants["PW_UNTRACKED"]
STATE_BYTES = 352


class Table(MapPlaces):
    """The map `processes`. struct process_state begins with claims, pid, start_ns."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness.probes.maps["processes"], "<IIQ", STATE_BYTES)

    @contextmanager
    def full(self) -> Iterator[None]:
        """What is free is taken by processes that there are not."""
        for place in range(PLACES):
            if not self.head(place)[0]:
                self.put(place, 1, 0x8000_0000 + place, 1)
        yield


@pytest.fixture
def witness() -> Iterator[Witness]:
    made = Witness.attach(["process"])
    yield made
    made.close()


def execute(programs: Path, times: int) -> None:
    for _ in range(times):
        os.waitpid(os.posix_spawn(programs / "nothing", ["nothing"], {}), 0)


def test_processes_beyond_the_table_of_live_ones_are_told_and_counted(
    witness: Witness, cgroup: Cgroup, programs: Path
) -> None:
    before = witness.probes.lost()[UNTRACKED]
    with Table(witness).full():
        run(cgroup, lambda: execute(programs, 17))
    counts = witness.counts(cgroup.id)
    assert (counts["FORK"], counts["EXEC"], counts["EXIT"]) == (17, 17, 18)
    # A place that a process left may have gone to one of these; others on the machine count, too.
    assert witness.probes.lost()[UNTRACKED] - before >= 10


def test_untracked_process_is_told_with_its_tree_and_ancestors(
    witness: Witness, cgroup: Cgroup, programs: Path
) -> None:
    """Its maker has a place; what it lacks is looked for by its parents."""
    with Table(witness).full():
        pid, _ = run(cgroup, lambda: execute(programs, 17))
    for event in witness.events(cgroup.id, "EXEC"):
        assert event.ancestors >= 1
        assert event.parent_pid == pid


def test_process_leaves_its_place_when_it_ends(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    run(cgroup, lambda: execute(programs, 53))
    table = Table(witness)
    gone = {(event.pid, event.start_ns) for event in witness.events(cgroup.id, "EXIT")}
    heads = [table.head(place) for place in range(PLACES)]
    assert len(gone) == 54
    assert not gone & {(pid, start_ns) for claims, pid, start_ns in heads}
    assert {claims for claims, _, _ in heads} <= {0, 1, 2}  # 2: one is being taken at this very moment
    assert all(claims for claims, _, start_ns in heads if start_ns)


def test_next_places_are_tried_and_what_stands_there_is_left_alone(
    witness: Witness, cgroup: Cgroup, programs: Path
) -> None:
    """Of the eight places of each process at most four are free."""
    table = Table(witness)
    made = [place for place in range(PLACES) if place % 2 and not table.head(place)[0]]
    for place in made:
        table.put(place, 1, 0x8000_0000 + place, 1)
    before = witness.probes.lost()[UNTRACKED]
    run(cgroup, lambda: execute(programs, 53))
    assert witness.probes.lost()[UNTRACKED] == before
    assert all(table.head(place) == (1, 0x8000_0000 + place, 1) for place in made)

"""probes.cpus: as many as there may be, and every one of them with memory of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from probes.catalog import RingSizes, maps
from probes.cpus import possible_cpus

LIVE_PROCESSES, SCRATCHES = 32768, 3  # lineage.h


@pytest.mark.parametrize(
    ("told", "cpus"), [("0\n", 1), ("0-1\n", 2), ("0-1023\n", 1024), ("0-3,8-11\n", 12), ("0-3,8\n", 9)]
)
def test_the_highest_number_counts(tmp_path: Path, told: str, cpus: int) -> None:
    file = tmp_path / "possible"
    file.write_text(told)
    assert possible_cpus(file) == cpus


def test_where_the_kernel_does_not_tell_those_that_are_configured_count(tmp_path: Path) -> None:
    assert possible_cpus(tmp_path / "missing") == os.sysconf("SC_NPROCESSORS_CONF")
    assert possible_cpus() >= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("cpus", [1, 2, 1024])
def test_each_has_memory_for_what_is_not_kept(cpus: int) -> None:
    (processes,) = [made for made in maps(RingSizes(4096, 4096), cpus) if made.name == "processes"]
    assert processes.entries == LIVE_PROCESSES + cpus * SCRATCHES

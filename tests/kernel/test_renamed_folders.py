"""Paths of folders that are renamed while they are read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.catalog import RecordKind
from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import Cgroup, run
from tests.kernel.witness import Witness

ROUNDS, CALLS = 20, 10_000  # a ring of the size that is read here has room for one round
LONG, SHORT = b"a" * 30, b"b"
CHROOT = RecordKind.PRIVILEGE_CHROOT.to_bytes(2, "little")
HEAD_BYTES = LAYOUT.sizes["pw_privilege"]


@pytest.fixture(scope="module")
def calls() -> Iterator[Witness]:
    witness = Witness.attach(("syscalls",))
    yield witness
    witness.close()


@pytest.fixture
def place() -> Iterator[str]:
    """In memory: there a folder is renamed most often."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield made


def test_a_name_that_is_being_changed_does_not_become_two(
    calls: Witness, cgroup: Cgroup, programs: Path, place: str
) -> None:
    """The race is won about once in 10,000 times."""
    above = b"\0".join(reversed(os.fsencode(place).split(b"/")[1:])) + b"\0"
    command = [str(programs / "renamed_folder"), place, str(CALLS)]
    told: set[bytes] = set()
    for _ in range(ROUNDS):
        calls.forget()
        assert run(cgroup, lambda: os.spawnv(os.P_WAIT, command[0], command))[1] == 0
        for reader in calls.readers:
            told |= {record[HEAD_BYTES:] for record in reader.drain() if record.startswith(CHROOT)}
    below = {one.removesuffix(above) for one in told}
    assert {LONG + b"\0", SHORT + b"\0"} <= below
    assert [one for one in below if one.count(b"\0") != 1] == []

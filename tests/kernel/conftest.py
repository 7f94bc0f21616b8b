"""Probes in the running kernel, once in a session for each dialect."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.catalog import SUBJECTS, Dialect
from tests.kernel.sandbox import Cgroup, unified_mount
from tests.kernel.witness import Witness

WORKLOADS = Path(__file__).parent / "workloads"
# The others tell of what tests do to make their cgroups, namespaces and users; they have tests of their own.
COUNTED = [subject for subject in SUBJECTS if subject not in ("flow", "privilege", "syscalls")]
_serial = itertools.count()


@pytest.fixture(scope="session", params=list(Dialect), ids=str)
def attached(request: pytest.FixtureRequest) -> Iterator[Witness]:
    witness = Witness.attach(COUNTED, dialect=request.param)
    assert {hook.state for hook in witness.probes.hooks} == {"attached"}
    yield witness
    witness.close()


@pytest.fixture
def witness(attached: Witness, cgroup: Cgroup, other_cgroup: Cgroup) -> Iterator[Witness]:
    """Has seen nothing yet, not even how the cgroups were made. Nothing of the test may be lost."""
    attached.forget()
    lost = attached.probes.lost()
    yield attached
    assert attached.probes.lost() == lost


def make_cgroup() -> Cgroup:
    path = unified_mount() / f"podwitness-test-{os.getpid()}-{next(_serial)}"
    path.mkdir()
    return Cgroup(path)


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    made = make_cgroup()
    yield made
    made.remove()


@pytest.fixture
def other_cgroup() -> Iterator[Cgroup]:
    made = make_cgroup()
    yield made
    made.remove()


@pytest.fixture
def memory_cgroup(cgroup: Cgroup) -> Iterator[Path]:
    """A cgroup of the memory controller with little memory; version 1 where the controller is there."""
    for root in (Path("/sys/fs/cgroup/memory"), cgroup.path.parent):
        limits = {"memory.limit_in_bytes": root, "memory.max": root}
        made = root / f"podwitness-memory-{os.getpid()}"
        made.mkdir()
        found = [made / name for name in limits if (made / name).exists()]
        if found:
            found[0].write_text(str(16 << 20))
            break
        made.rmdir()
    yield made
    made.rmdir()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the compiled workloads. Static: no loader of libraries runs before them."""
    directory = tmp_path_factory.mktemp("workloads")
    for source in sorted(WORKLOADS.glob("*.c")):
        command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-pthread"]
        subprocess.run([*command, str(source), "-o", str(directory / source.stem)], check=True)
    return directory

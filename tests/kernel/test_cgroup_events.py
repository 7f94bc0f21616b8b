"""Cgroups of the default hierarchy, in the order in which things happen in them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from tests.kernel.event_layout import LAYOUT
from tests.kernel.sandbox import Cgroup, execve, mount, private_mounts, run, unified_mount
from tests.kernel.witness import Witness


def path_of(event: SimpleNamespace) -> str:
    assert event.tail.endswith(b"\0")
    assert len(event.tail) == event.path_bytes + 1
    return str(event.tail[:-1].decode())


def test_made_before_the_first_exec_and_removed_after_the_last_exit(
    witness: Witness, cgroup: Cgroup, programs: Path
) -> None:
    made = Cgroup(cgroup.path / "pod" / "container")
    made.path.mkdir(parents=True)
    made_id = made.id
    run(made, lambda: execve(str(programs / "nothing"), [b"nothing"]))
    made.path.rmdir()
    events = witness.events(made_id)
    assert [event.kind for event in events] == ["CGROUP_MKDIR", "EXEC", "EXIT", "CGROUP_RMDIR"]
    first, last = events[0], events[-1]
    path = f"/{made.path.relative_to(unified_mount())}"
    assert path_of(first) == path_of(last) == path
    assert first.level == last.level == len(Path(path).parts) - 1
    made.path.parent.rmdir()


def test_each_level_has_its_record(witness: Witness, cgroup: Cgroup) -> None:
    ids = []
    path = cgroup.path
    for number in range(7):
        path = path / f"level-{number}"
        path.mkdir()
        ids.append(path.stat().st_ino)
    made = [only_of(witness, cgroup_id) for cgroup_id in ids]
    assert made == ["CGROUP_MKDIR"] * 7


def only_of(witness: Witness, cgroup_id: int) -> str:
    (event,) = witness.events(cgroup_id)
    return str(event.kind)


def test_of_a_long_path_the_end_is_kept(witness: Witness, cgroup: Cgroup) -> None:
    path = cgroup.path
    for letter in "abc":
        path = path / (letter * 200)
        path.mkdir()
    (event,) = witness.events(path.stat().st_ino)
    whole = f"/{path.relative_to(unified_mount())}"
    assert len(whole) > LAYOUT.constants["PW_CGROUP_PATH_BYTES"]
    assert path_of(event) == whole[-(LAYOUT.constants["PW_CGROUP_PATH_BYTES"] - 1) :]


def test_other_hierarchies_are_not_seen(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    """Ids of v1 hierarchies are other numbers of the same kind: they must not be taken for ours."""
    name = f"podwitness-test-{os.getpid()}"

    def work() -> None:
        private_mounts()
        mount("none", str(tmp_path), "cgroup", 0, f"none,name={name}")
        (tmp_path / name).mkdir()
        (tmp_path / name).rmdir()

    _, status = run(cgroup, work)
    assert status == 0
    seen = witness.events(None, "CGROUP_MKDIR", "CGROUP_RMDIR")
    assert [event for event in seen if path_of(event).endswith(name)] == []

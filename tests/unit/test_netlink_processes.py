"""probes.netlink_processes: what events mean, with real processes and made up times."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes import netlink_processes
from probes.cgroup_paths import CgroupPaths
from probes.netlink_processes import ProcessTable
from probes.proc_connector import ProcessEvent, What
from probes.process_files import ProcessFiles
from tests.polling import until

GONE = 2**22 + 1  # beyond the largest process number
TICK_NS = 10_000_000


@pytest.fixture
def cat() -> Iterator[int]:
    """A program that waits for input."""
    reading, writing = os.pipe()
    pid = os.posix_spawn("/bin/cat", ["cat", "-"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)])
    # posix_spawn() returns when the old program is left, a moment before the new one's arguments are there.
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes(), every_s=0.001)
    yield pid
    os.close(reading)
    os.close(writing)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def event(what: What, pid: int, time_ns: int | None = None, **more: int) -> ProcessEvent:
    return ProcessEvent(what, time.monotonic_ns() if time_ns is None else time_ns, pid, pid, **more)


def test_an_exec_is_described_from_proc(cat: int) -> None:
    (seen,) = ProcessTable(None).take([event(What.EXEC, cat, 5)], 1000)
    assert (seen.action, seen.time_ns, seen.unread) == ("exec", 1005, "")
    assert seen.image is not None
    assert seen.image.arguments == (b"cat\0-\0", 6, 2)
    assert seen.process.comm == b"cat"
    assert seen.process.parent is not None
    assert seen.process.parent.pid == os.getpid()
    assert seen.process.parent.start_ns % TICK_NS == 0
    assert dict(seen.process.namespaces)["pid"] == os.stat("/proc/self/ns/pid").st_ino


def test_an_exec_read_after_the_next_one_is_not_told_as_the_first(cat: int) -> None:
    """Both were executed before /proc was read: what it says is of the second."""
    now = time.monotonic_ns()
    first, second = ProcessTable(None).take(
        [event(What.EXEC, cat, now - 2000), event(What.EXEC, cat, now - 1000)], 0
    )
    assert (first.unread, first.image, first.process.comm) == ("replaced", None, b"")
    assert second.unread == ""
    assert second.image is not None


def test_an_exec_read_before_the_next_one_stays(cat: int) -> None:
    table = ProcessTable(None)
    (first,) = table.take([event(What.EXEC, cat)], 0)
    later = time.monotonic_ns() + netlink_processes.EXEC_WINDOW_NS + 1
    table.take([event(What.EXEC, cat, later)], 0)
    assert first.unread == ""
    assert first.image is not None


def test_an_exec_that_is_gone_has_what_was_known_of_the_process() -> None:
    table = ProcessTable(None)
    fork, execed, exited = table.take(
        [
            event(What.FORK, GONE, 123_456_789, parent_pid=os.getpid()),
            event(What.EXEC, GONE, 123_999_999),
            event(What.EXIT, GONE, 133_000_000, status=256, parent_pid=os.getpid()),
        ],
        0,
    )
    assert fork.unread == execed.unread == "gone"
    assert {one.process.start_ns for one in (fork, execed, exited)} == {120_000_000}
    assert {one.process.parent for one in (fork, execed, exited)} == {fork.process.parent}
    assert fork.process.parent is not None
    assert fork.process.parent.pid == os.getpid()
    assert fork.process.comm == fork.process.parent.comm != b""
    assert execed.process.comm == b""  # another program's, which nobody has seen
    assert exited.ending == (256, None, None, 13_000_000)
    assert fork.process.credentials is not None
    assert fork.process.credentials.namespace_pid == 0


def test_nothing_known_at_all() -> None:
    (seen,) = ProcessTable(None).take([event(What.EXEC, GONE)], 0)
    assert (seen.process.pid, seen.process.start_ns, seen.unread) == (GONE, 0, "gone")
    (seen,) = ProcessTable(None).take([event(What.EXIT, GONE, status=9, parent_pid=7)], 0)
    assert seen.ending == (9, None, None, 0)
    assert seen.process.parent == (7, 0, b"")


def test_a_zombie_still_has_its_times() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    (seen,) = ProcessTable(None).take([event(What.EXIT, pid, status=0)], 0)
    os.waitpid(pid, 0)
    assert seen.process.comm == b"true"
    assert seen.ending is not None
    assert seen.ending.user_ns is not None


def test_the_exit_of_a_thread_that_another_one_replaces_is_none(cat: int) -> None:
    """The kernel ends the first thread, then tells of the exec; the process is there all the time."""
    table = ProcessTable(None)
    assert table.take([event(What.EXIT, cat)], 0) == []
    (seen,) = table.take([event(What.EXEC, cat)], 0)
    assert seen.action == "exec"


def test_a_number_that_is_used_again_is_another_process(cat: int) -> None:
    """The process that was known ended unseen; the exit is its, not that of its successor."""
    table = ProcessTable(None)
    table.prime([cat])
    known = table._known[cat]
    table._known[cat] = known._replace(start_ns=known.start_ns - TICK_NS)
    (seen,) = table.take([event(What.EXIT, cat)], 0)
    assert seen.process.start_ns == known.start_ns - TICK_NS


def test_ids_are_told_once_for_all_threads(cat: int) -> None:
    table = ProcessTable(None)
    change = event(What.UID, cat, real_id=1, effective_id=2)
    told = table.take([change, change._replace(tid=cat + 1), change._replace(effective_id=3), change], 0)
    effective = [seen.process.credentials.effective_uid for seen in told if seen.process.credentials]
    assert effective == [2, 3, 2]
    (group,) = table.take([event(What.GID, cat, real_id=1, effective_id=2)], 0)
    assert group.action == "change-gid"
    assert group.process.credentials is not None
    assert (group.process.credentials.effective_uid, group.process.credentials.effective_gid) == (2, 2)


def test_what_was_there_is_told_with_its_program(cat: int) -> None:
    table = ProcessTable(None)
    table.prime([cat, GONE])
    began_ns = table._known[cat].start_ns
    (seen,) = table.running(began_ns)
    assert (seen.action, seen.process.pid, seen.tid, seen.unread) == ("running", cat, cat, "")
    assert seen.process.comm == b"cat"
    assert seen.image is not None
    assert seen.image.binary is not None
    assert seen.image.binary.path.endswith(b"/cat")
    assert list(table.running(began_ns - 1)) == []  # its fork is heard of


def test_what_was_known_is_forgotten_after_a_loss(cat: int) -> None:
    table = ProcessTable(None)
    table.prime([cat, os.getpid(), GONE])
    assert len(table) == 2
    table.forget()
    assert len(table) == 0


def test_of_more_processes_than_there_is_room_for_the_oldest_is_looked_up_again(
    cat: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink_processes, "MAX_PROCESSES", 3)
    table = ProcessTable(None)
    for pid in range(GONE, GONE + 5):
        table.take([event(What.FORK, pid, parent_pid=os.getpid())], 0)
    assert len(table) == 3


class Hierarchy(CgroupPaths):
    """Without a file system: a cgroup's id is the length of its path."""

    def id_of(self, path: str) -> int:
        return len(path)


def shown_in(paths: dict[int, list[str]]) -> type[ProcessFiles]:
    """Processes that the kernel shows in these cgroups, one after the other."""

    class Shown(ProcessFiles):
        def __init__(self, pid: int) -> None:
            super().__init__(os.getpid())
            self._pid = pid

        def cgroup(self) -> str:
            shown = paths[self._pid]
            return shown.pop(0) if len(shown) > 1 else shown[0]

    return Shown


PARENT, CHILD = 7, 8


@pytest.mark.parametrize(
    ("parent", "child", "told"),
    [
        (["/pod"], ["/", "/pod"], "/pod"),  # not yet put there
        (["/", "/pod"], ["/pod"], "/pod"),  # the parent has moved
        (["/"], ["/pod"], "/pod"),  # by CLONE_INTO_CGROUP
        (["/pod"], ["/"], "/pod"),  # nor at the second look
        (["/", "/pod"], ["/"], "/pod"),  # neither, and the parent has moved
        (["/"], ["/"], "/"),
    ],
)
def test_a_child_in_another_cgroup_than_its_parent_was(
    parent: list[str], child: list[str], told: str
) -> None:
    moved_to = parent[-1]
    table = ProcessTable(Hierarchy(""), shown_in({PARENT: parent, CHILD: child}))
    table.prime([PARENT])
    (seen,) = table.take([event(What.FORK, CHILD, parent_pid=PARENT)], 0)
    assert seen.process.cgroup_path == told
    assert table._known[CHILD].cgroup_path == told
    assert table._known[PARENT].cgroup_path == moved_to

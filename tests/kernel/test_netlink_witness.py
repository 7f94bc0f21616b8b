"""probes.netlink_witness: what processes do is reported, exactly, and what is lost is counted."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from probes.netlink_processes import Seen
from tests.kernel.netlink_child import Child
from tests.kernel.sandbox import Cgroup, Process, execve, fork_one_by_one, run

pytestmark = pytest.mark.kernel

EXECS = 97


def arguments_of(seen: Seen) -> list[bytes]:
    assert seen.image is not None
    assert seen.image.arguments is not None
    return seen.image.arguments.kept.removesuffix(b"\0").split(b"\0")


def has_ended(child: Child, pid: int) -> bool:
    return any(seen.action == "exit" and seen.process.pid == pid for seen in child.processes)


def children_of(child: Child, parent: int, action: str = "") -> list[Seen]:
    return [
        seen
        for seen in child.processes
        if seen.process.parent and seen.process.parent.pid == parent and action in ("", seen.action)
    ]


def spawn_one_by_one(count: int) -> None:
    for number in range(count):
        os.waitpid(os.posix_spawn("/bin/true", ["/bin/true", str(number)], {}), 0)


class Go:
    """Lets a process that has had one child go on."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def await_then(self, work: Callable[[], None]) -> None:
        spawn_one_by_one(1)
        os.read(self._reading, 1)
        work()

    def say(self) -> None:
        os.write(self._writing, b"x")
        os.close(self._writing)
        os.close(self._reading)


def execute_until_seen(child: Child, cgroup: Cgroup, argv: list[bytes], count: int) -> None:
    """cat waits for the end of its input: it is there when /proc is read."""
    reading, writing = os.pipe()

    def work() -> None:
        os.dup2(reading, 0)
        os.close(writing)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        execve("/bin/cat", argv)

    process = Process(cgroup, work)
    os.close(reading)
    child.wait_for(lambda: len(child.of_cgroup(cgroup.id, "exec")) == count)
    os.close(writing)
    process.wait()


def test_what_was_there_before_is_told_with_its_program_and_sockets(cgroup: Cgroup) -> None:
    told, ready = os.pipe()

    def work() -> None:
        server = socket.create_server(("127.0.0.1", 0))
        with server, socket.create_connection(server.getsockname()):
            os.write(ready, server.getsockname()[1].to_bytes(2, "big"))
            signal.pause()

    process = Process(cgroup, work)
    port = int.from_bytes(os.read(told, 2), "big")
    with Child() as child:
        child.wait_for(lambda: bool(child.of_cgroup(cgroup.id, "running")))
        child.wait_for(lambda: len(child.of_port(port)) == 3)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        child.wait_for(lambda: has_ended(child, process.pid))
    assert [one.action for one in child.of_cgroup(cgroup.id)] == ["running", "exit"]
    (seen,) = child.of_cgroup(cgroup.id, "running")
    assert seen.process.pid == process.pid
    own = Path("/proc/self/cmdline").read_bytes()
    assert seen.image is not None
    assert seen.image.arguments is not None
    assert seen.image.arguments.kept == own[:4096]
    states = [
        one for one in child.of_port(port) if one.preexisting and one.action in ("listening", "connected")
    ]
    assert sorted((one.action, one.role) for one in states) == [
        ("connected", "client"),
        ("connected", "server"),
        ("listening", "listener"),
    ]
    assert {one.cgroup_id for one in states} == {cgroup.id}


def test_every_exec_with_its_arguments(cgroup: Cgroup) -> None:
    odd = [
        [b"/bin/cat"],
        [b"/bin/cat", b"", b"", b"-"],
        [b"/bin/cat", b"-", b"\xff\xfe\\x41", b"tab\there\nand line"],
        [b"/bin/cat", b"-", "ä€🐋".encode()],
        [b"not the program's name", b"-"],
        [b"/bin/cat", b"-", b"x" * 5000],
    ]
    with Child(("process",)) as child:
        for number in range(EXECS):
            execute_until_seen(child, cgroup, odd[number % len(odd)], number + 1)
        child.wait_for(lambda: len(child.of_cgroup(cgroup.id, "exit")) == EXECS)
    execs = child.of_cgroup(cgroup.id, "exec")
    assert len(execs) == len(child.of_cgroup(cgroup.id, "exit")) == EXECS
    for number, seen in enumerate(execs):
        argv = odd[number % len(odd)]
        assert seen.unread == ""
        assert seen.image is not None
        assert seen.image.arguments is not None
        assert seen.image.arguments.argument_count == len(argv)
        assert seen.image.arguments.total_bytes == sum(len(one) + 1 for one in argv)
        assert b"\0".join(argv).startswith(b"\0".join(arguments_of(seen)))
        assert len(seen.image.arguments.kept) == min(4096, seen.image.arguments.total_bytes)
        assert seen.image.binary is not None
        assert seen.image.binary.path == os.path.realpath(b"/bin/cat")
    assert child.lost == []


def test_short_processes_are_all_seen_and_most_with_arguments(cgroup: Cgroup) -> None:
    """How many of them end before they are looked at is a matter of luck; that they were is not."""
    count = 499
    go = Go()
    with Child(("process",)) as child:
        process = Process(cgroup, lambda: go.await_then(lambda: spawn_one_by_one(count - 1)))
        child.wait_for(lambda: len(children_of(child, process.pid, "exit")) == 1)
        go.say()
        assert process.wait() == 0
        child.wait_for(lambda: has_ended(child, process.pid))
    own = children_of(child, process.pid)
    assert Counter(seen.action for seen in own) == {"fork": count, "exec": count, "exit": count}
    read = [seen for seen in own if seen.action == "exec" and not seen.unread]
    assert [arguments_of(seen)[0] for seen in read] == [b"/bin/true"] * len(read)
    assert read
    by_pid: dict[int, set[int]] = {}
    for seen in own:
        by_pid.setdefault(seen.process.pid, set()).add(seen.process.start_ns)
        assert seen.unread in ("", "gone")
        assert seen.process.cgroup_id == cgroup.id  # of those that were gone, by their parent
    assert all(len(starts) == 1 and 0 not in starts for starts in by_pid.values())


def test_children_that_are_gone_are_where_others_of_their_parent_were(
    cgroup: Cgroup,
) -> None:
    """The parent has moved since its start. Stopped, the witness finds neither it nor its later children."""
    count = 23
    go = Go()
    with Child(("process",)) as child:
        process = Process(cgroup, lambda: go.await_then(lambda: fork_one_by_one(count)))
        child.wait_for(lambda: len(children_of(child, process.pid, "exit")) == 1)
        child.process.send_signal(signal.SIGSTOP)
        go.say()
        assert process.wait() == 0
        child.process.send_signal(signal.SIGCONT)
        child.wait_for(lambda: has_ended(child, process.pid))
    forks = children_of(child, process.pid, "fork")
    assert Counter(seen.unread for seen in forks[1:]) == {"gone": count}
    assert {seen.process.cgroup_id for seen in forks} == {cgroup.id}


def test_ends_are_told_with_status_and_time(cgroup: Cgroup) -> None:
    with Child(("process",)) as child:
        first, _ = run(cgroup, lambda: 7)
        killed = Process(cgroup, lambda: time.sleep(60))
        killed.kill()
        killed.wait()
        child.wait_for(lambda: has_ended(child, killed.pid))
    ends = {seen.process.pid: seen for seen in child.processes if seen.action == "exit"}
    seven, nine = ends[first].ending, ends[killed.pid].ending
    assert seven is not None
    assert nine is not None
    assert (seven.status, nine.status) == (7 << 8, 9)
    assert 0 <= seven.lived_ns < 60e9


@pytest.mark.parametrize(
    ("what", "status"),
    [
        (["exec", "/bin/true"], 0),
        (["leader-first"], None),
        (["group"], 11 << 8),
        (["burst", "23"], None),
    ],
)
def test_a_process_ends_once_and_with_its_last_thread(
    cgroup: Cgroup, programs: Path, what: list[str], status: int | None
) -> None:
    """None: the first thread's status may be told, or that the process's is not known."""
    with Child(("process",)) as child:
        argv = [b"threads", *(one.encode() for one in what)]
        pid, _ = run(cgroup, lambda: execve(str(programs / "threads"), argv))
        child.wait_for(lambda: has_ended(child, pid))
        child.finish()
    own = [seen for seen in child.processes if seen.process.pid == pid]
    actions = [seen.action for seen in own]
    assert actions == ["fork", "exec", *(["exec"] if what[0] == "exec" else []), "exit"]
    ending = own[-1].ending
    assert ending is not None
    assert ending.status == status or status is None


def test_change_of_user_is_told_once_though_each_thread_makes_it(cgroup: Cgroup) -> None:
    code = """
import os, threading
event = threading.Event()
threads = [threading.Thread(target=event.wait) for _ in range(5)]
[one.start() for one in threads]
import ctypes
libc = ctypes.CDLL(None)
libc.setregid(4321, 1234); libc.setreuid(1111, 2222)  # by the C library: in all threads
event.set(); [one.join() for one in threads]
os._exit(0)
"""
    with Child(("process",)) as child:
        pid, status = run(cgroup, lambda: os.execv(sys.executable, [sys.executable, "-c", code]))
        child.wait_for(lambda: has_ended(child, pid))
    assert status == 0
    changes = [seen for seen in child.of_cgroup(cgroup.id) if seen.action.startswith("change-")]
    assert [seen.action for seen in changes] == ["change-gid", "change-uid"]
    ids = changes[1].process.credentials
    assert ids is not None
    assert (ids.real_uid, ids.effective_uid, ids.real_gid, ids.effective_gid) == (1111, 2222, 4321, 1234)


def test_what_the_kernel_had_no_room_for_is_counted(cgroup: Cgroup) -> None:
    """Stopped, the witness can't read: a small buffer overflows. Lost and seen are all there were."""
    count = 307
    with Child(("process",), receive_bytes=1) as child:
        child.process.send_signal(signal.SIGSTOP)
        run(cgroup, lambda: fork_one_by_one(count))
        child.process.send_signal(signal.SIGCONT)
        child.wait_for(lambda: bool(child.lost))
        child.finish()
    lost = sum(one.records for one in child.lost)
    assert {(one.subject, one.kind, one.cause) for one in child.lost} == {
        ("process", "any", "netlink_overrun")
    }
    # The rest of the machine makes events too; ours are 2 each, and the parent's.
    assert lost + len(child.processes) >= 2 * count + 2
    assert lost > count


def test_what_the_collector_does_not_take_is_counted_by_kind(cgroup: Cgroup) -> None:
    count = 499
    with Child(("process",), queue_bytes=64 << 10) as child:
        child.may_read.clear()
        run(cgroup, lambda: fork_one_by_one(count))
        time.sleep(0.5)  # nothing tells when the witness has looked at all
        child.may_read.set()
        child.wait_for(lambda: bool(child.lost))
        child.finish()
    lost = Counter[str]()
    for one in child.lost:
        assert one.cause == "queue_full"
        lost[one.kind] += one.records
    for action in ("fork", "exit"):
        assert lost[action] + len([one for one in child.processes if one.action == action]) >= count


def test_it_ends_with_the_collector() -> None:
    with Child() as child:
        assert child.process.poll() is None
    assert child.process.returncode == 0

"""collector.native.programs: what records tell of the program of their process, beside its specification."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from collector._native import ffi, lib
from hypothesis import given
from hypothesis import strategies as st

from collector.native.containers import ContainerTable, Fragment
from collector.native.event_kinds import Kind, Scope
from collector.native.events import DrainEnd, EventEncoder, Tables
from collector.native.programs import Programs
from collector.native.raw_records import RawRecord
from tests.reference import event_records as records
from tests.reference import programs as reference
from tests.reference.programs import Actor
from tests.reference.ring_memory import MemoryRing

CGROUP = 4242
FRAGMENT = Fragment(b"", 0, Scope.CONTAINER)
NAMES = ("executable", "args", "args_count")
Told = dict[str, Any]


class Scene:
    """An encoder with a table of programs, and a ring that it drains."""

    def __init__(self, programs: Programs | None = None) -> None:
        self.programs = Programs() if programs is None else programs
        self.encoder = EventEncoder(1)
        self.encoder.recall(self.programs)
        self.tables = Tables(ContainerTable(4), ContainerTable(4))
        assert self.tables.process.set(CGROUP, FRAGMENT)
        assert self.tables.network.set(CGROUP, FRAGMENT)

    def drain(self, *drained: bytes) -> list[Told]:
        """The records' maps `process`, in order; those of processes before those of connections."""
        ring = MemoryRing(1 << 18)
        for record in drained:
            assert ring.submit(record)
        found = self.encoder.drain(ring, self.tables, len(drained) + 1)
        assert found.end is DrainEnd.EMPTY
        unpacker = msgpack.Unpacker()
        unpacker.feed(found.process.entries + found.network.entries)
        return [record["process"] for _, record in unpacker]

    def ask(self, actor: Actor) -> Told:
        """By a connection's end."""
        (process,) = self.drain(closed(actor))
        return program(process)


def program(process: Told) -> Told:
    return {name: process[name] for name in NAMES if name in process}


def closed(actor: Actor) -> bytes:
    return records.record(
        lib.PW_TCP_CLOSE,
        cgroup_id=CGROUP,
        time_ns=actor.time_ns,
        duration_ns=actor.time_ns - actor.since_ns,
        owner_pid=actor.pid,
        owner_start_ns=actor.start_ns,
        comm=actor.comm,
    )


def execed(pid: int, start_ns: int, time_ns: int, comm: bytes, args: bytes = b"", **more: Any) -> bytes:
    more = {"exe": comm + b"\0bin\0", "argc": args.count(b"\0"), **more}
    return records.exec_record(
        args=args,
        task_pid=pid,
        task_start_ns=start_ns,
        task_comm=comm,
        time_ns=time_ns,
        cgroup_id=CGROUP,
        **more,
    )


def of_task(kind: int, pid: int, start_ns: int, time_ns: int, **more: Any) -> bytes:
    made = {"cgroup_id": CGROUP, "time_ns": time_ns, "task_pid": pid, "task_start_ns": start_ns, **more}
    return records.record(kind, **made)


def forked(pid: int, start_ns: int, parent: int, parent_start_ns: int, maker: int = 0) -> bytes:
    of_parent = {"task_parent_pid": parent, "task_parent_start_ns": parent_start_ns, "task_maker_pid": maker}
    return of_task(lib.PW_FORK, pid, start_ns, start_ns, **of_parent)


pids = st.integers(1, 4)
times = st.integers(1, 6)
names = st.sampled_from((b"sh", b"curl", b"fifteen-letters"))
noted = st.one_of(
    st.builds(execed, pids, times, times, names, records.hostile_text),
    st.builds(execed, pids, times, times, names, kind=st.just(lib.PW_STATE_PROCESS)),
    st.builds(forked, pids, times, pids, times, st.integers(0, 4)),
    st.builds(of_task, st.just(lib.PW_EXIT), pids, times, times),
)
actors = st.builds(
    lambda pid, start_ns, comm, since_ns, later: Actor(pid, start_ns, comm, since_ns, since_ns + later),
    *(pids, st.integers(0, 6), names, times, st.integers(0, 3)),
)
CHANGES = {  # by what it is called in the specification
    "doubt_ns": Programs.doubt,
    "numbers_doubt_ns": Programs.doubt_numbers,
    "known_until_ns": Programs.known_until,
}
steps = noted | actors | st.tuples(st.sampled_from(list(CHANGES)), times)


@given(st.lists(steps, max_size=40))
def test_what_is_told_is_that_of_the_specification(taken: list[Any]) -> None:
    scene, model = Scene(), reference.Programs()
    for step in taken:
        if isinstance(step, Actor):
            assert scene.ask(step) == model.find(step)
        elif isinstance(step, bytes):
            model.note(step)
            scene.drain(step)
        else:
            what, time_ns = step
            setattr(model, what, time_ns)
            CHANGES[what](scene.programs, time_ns)


@given(records.filled(lib.PW_EXEC))
def test_any_program_is_kept_as_the_specification_has_it(record: bytes) -> None:
    scene = Scene()
    padded = record + bytes(-len(record) % 8)
    scene.programs.note(RawRecord(lib.PW_EXEC, CGROUP, padded))
    task = ffi.from_buffer("struct pw_exec *", padded).task
    time_ns = 2**64 - 1
    actor = Actor(int(task.pid), int(task.start_ns), b"", time_ns, time_ns)
    expected = reference.program_of(padded).fields if actor.pid and actor.start_ns else {}
    told = scene.drain(closed(actor)) if actor.pid else [{}]
    assert program(told[0]) == expected


def test_every_record_of_a_process_tells_its_program() -> None:
    scene = Scene()
    scene.drain(execed(7, 1, 2, b"web", b"web\0-p\x0080\0"))
    web = {"executable": "/bin/web", "args": ["web", "-p", "80"], "args_count": 3}
    owner: dict[str, Any] = {"cgroup_id": CGROUP, "time_ns": 9, "owner_pid": 7, "owner_start_ns": 1}
    for kind in records.SHIPPED:
        if kind in (lib.PW_EXEC, lib.PW_STATE_PROCESS, lib.PW_SESSION_START):
            continue
        if kind == lib.PW_FORK:
            made = forked(8, 9, 7, 1)
        elif not lib.pw_kind_is_flow(kind):
            made = of_task(kind, 7, 1, 9)
        elif kind in (lib.PW_FLOW_START, lib.PW_FLOW_UPDATE, lib.PW_FLOW_END):
            made = records.record(kind, **owner, first_ns=9, last_ns=9)
        else:
            made = records.record(kind, **owner, comm=b"web")
        (process,) = scene.drain(made)
        assert program(process) == web, kind


def test_an_exec_tells_what_its_parent_runs() -> None:
    scene = Scene()
    parent: dict[str, Any] = {"task_parent_pid": 7, "task_parent_start_ns": 1}
    scene.drain(execed(7, 1, 2, b"sh", b"sh\0-c\0ls\0"), forked(8, 3, 7, 1))
    (process,) = scene.drain(execed(8, 3, 4, b"ls", **parent))
    assert program(process["parent"]) == {
        "executable": "/bin/sh",
        "args": ["sh", "-c", "ls"],
        "args_count": 3,
    }
    assert process["executable"] == "/bin/ls"
    (process,) = scene.drain(forked(9, 5, 7, 1))
    assert program(process["parent"]) == {}


def test_a_session_that_starts_does_not_tell_what_its_process_ran_before() -> None:
    scene = Scene()
    scene.drain(execed(7, 1, 2, b"runc"))
    (process,) = scene.drain(of_task(lib.PW_SESSION_START, 7, 1, 3))
    assert program(process) == {}


def test_a_child_of_another_maker_than_its_parent_runs_what_the_maker_runs() -> None:
    """CLONE_PARENT: the parent is its maker's."""
    scene = Scene()
    scene.drain(execed(1, 1, 1, b"init"), execed(2, 1, 2, b"worker"), forked(3, 3, 1, 1, maker=2))
    assert scene.ask(Actor(3, 3, b"", 4, 4))["executable"] == "/bin/worker"


def test_a_connection_that_outlives_the_program_that_made_it_tells_that() -> None:
    scene = Scene()
    scene.drain(execed(1, 1, 1, b"sh"), execed(1, 1, 5, b"nc"))
    assert scene.ask(Actor(1, 1, b"sh", 3, 9))["executable"] == "/bin/sh"
    assert scene.ask(Actor(1, 1, b"nc", 6, 9))["executable"] == "/bin/nc"
    assert scene.ask(Actor(1, 1, b"renamed", 6, 9))["executable"] == "/bin/nc"
    assert scene.ask(Actor(1, 1, b"renamed", 3, 9)) == {}


def read_file(pid: int, mnt_ns: int, **more: Any) -> bytes:
    made = {"task_mnt_ns": mnt_ns, **more}
    return of_task(lib.PW_PRIVILEGE_FILE_READ, pid, 1, made.pop("time_ns", 9), **made)


def test_what_is_untold_teaches_and_is_no_record() -> None:
    scene = Scene()
    scene.encoder.keep_untold({Kind.EXEC, Kind.FORK})
    scene.encoder.set_born_before(100)
    taken = (
        execed(7, 1, 2, b"sh"),
        of_task(lib.PW_FORK, 8, 3, 3, task_parent_pid=7, task_parent_start_ns=1, task_maker_pid=7),
        of_task(lib.PW_FORK, 9, 4, 4, cgroup_id=5),  # of no known cgroup: does not wait for it
    )
    ring = MemoryRing(1 << 16)
    assert all(map(ring.submit, taken))
    drained = scene.encoder.drain(ring, scene.tables, 10)
    assert (drained.process.records, drained.unknown, drained.events) == (0, b"", {})
    assert scene.encoder.newborns() == frozenset()
    assert scene.ask(Actor(7, 1, b"sh", 2, 9))["executable"] == "/bin/sh"
    scene.encoder.keep_untold(())
    assert len(scene.drain(taken[0])) == 1


NODE_MOUNTS = 77


class ExemptScene(Scene):
    """/bin/kubelet and others are exempt, and process 1 is known; the cgroup is the node's."""

    def __init__(self, *, scope: Scope = Scope.HOST, is_first_known: bool = True) -> None:
        super().__init__()
        self.programs.exempt(("/bin/other", "/bin/kubelet", "/bin/" + "l" * 40))
        assert self.tables.process.set(CGROUP, FRAGMENT._replace(scope=scope))
        if is_first_known:
            first = {"kind": lib.PW_STATE_PROCESS, "task_mnt_ns": NODE_MOUNTS}
            self.programs.note(RawRecord(0, 0, padded(execed(1, 1, 1, b"systemd", **first))))
        self.drain(execed(7, 1, 2, b"kubelet"))

    def is_told(self, record: bytes) -> bool:
        ring = MemoryRing(1 << 16)
        assert ring.submit(record)
        drained = self.encoder.drain(ring, self.tables, 10)
        (kind,) = drained.events
        assert drained.process.records + drained.exempt.get(kind, 0) == 1
        return bool(drained.process.records)


def padded(record: bytes) -> bytes:
    return record + bytes(-len(record) % 8)


def test_exempt_programs_of_the_node_use_watched_files_untold() -> None:
    scene = ExemptScene()
    assert not scene.is_told(read_file(7, NODE_MOUNTS))
    assert not scene.is_told(of_task(lib.PW_PRIVILEGE_FILE_CONNECT, 7, 1, 9, task_mnt_ns=NODE_MOUNTS))
    scene.drain(execed(8, 1, 2, b"l" * 15, exe=b"l" * 40 + b"\0bin\0"))
    assert not scene.is_told(read_file(8, NODE_MOUNTS))


def test_whatever_else_is_told() -> None:
    scene = ExemptScene()
    assert scene.is_told(of_task(lib.PW_PRIVILEGE_PTRACE, 7, 1, 9, task_mnt_ns=NODE_MOUNTS))
    assert scene.is_told(read_file(7, NODE_MOUNTS + 1))  # another file may be there under that name
    assert scene.is_told(read_file(9, NODE_MOUNTS))  # a process that is not known
    assert scene.is_told(read_file(7, NODE_MOUNTS, time_ns=1))  # before it executed that
    scene.drain(execed(8, 1, 2, b"cat"), execed(10, 1, 2, b"kubelet", flags=lib.PW_EXE_CUT))
    assert scene.is_told(read_file(8, NODE_MOUNTS))
    assert scene.is_told(read_file(10, NODE_MOUNTS))  # the start of its path is not known
    scene.programs.doubt(5)
    assert scene.is_told(read_file(7, NODE_MOUNTS))


@pytest.mark.parametrize("scope", [Scope.CONTAINER, Scope.POD, Scope.UNRESOLVED])
def test_containers_are_never_exempt(scope: Scope) -> None:
    assert ExemptScene(scope=scope).is_told(read_file(7, NODE_MOUNTS))


def test_nobody_is_exempt_before_the_nodes_mounts_are_known() -> None:
    scene = ExemptScene(is_first_known=False)
    assert scene.is_told(read_file(7, NODE_MOUNTS))
    assert scene.is_told(read_file(7, 0))


def test_a_drain_stops_before_what_is_later() -> None:
    scene, ring = Scene(), MemoryRing(1 << 16)
    for time_ns in (5, 6, 7, 5):
        assert ring.submit(closed(Actor(1, 1, b"a", time_ns, time_ns)))
    drained = scene.encoder.drain(ring, scene.tables, 10, until_ns=6)
    assert (drained.end, drained.network.records) == (DrainEnd.LATER, 2)
    drained = scene.encoder.drain(ring, scene.tables, 10, until_ns=7)
    assert (drained.end, drained.network.records) == (DrainEnd.EMPTY, 2)


def test_a_clock_that_is_far_ahead_stops_no_drain() -> None:
    scene, ring = Scene(), MemoryRing(1 << 16)
    assert ring.submit(closed(Actor(1, 1, b"a", 2 * 10**9, 2 * 10**9)))
    assert scene.encoder.drain(ring, scene.tables, 10, until_ns=1).end is DrainEnd.EMPTY


def test_the_ended_are_forgotten_first_then_who_was_not_asked_for() -> None:
    scene = Scene(Programs(max_processes=3))
    for pid in (1, 2, 3):
        scene.drain(execed(pid, 1, 1, b"a"))
    scene.drain(of_task(lib.PW_EXIT, 2, 1, 2))
    assert scene.ask(Actor(2, 1, b"a", 3, 3))  # what ends with it is told later
    scene.drain(execed(4, 1, 3, b"a"))
    assert [pid for pid in (1, 2, 3, 4) if scene.ask(Actor(pid, 1, b"a", 9, 9))] == [1, 3, 4]
    scene.drain(of_task(lib.PW_FORK, 5, 9, 9, task_parent_pid=4, task_parent_start_ns=1))
    assert len(scene.programs) == 3
    assert scene.ask(Actor(5, 9, b"a", 9, 9))


def test_of_the_ended_the_last_are_kept() -> None:
    scene = Scene(Programs(max_processes=80))
    for pid in range(1, 21):
        scene.drain(execed(pid, 1, 1, b"a"), of_task(lib.PW_EXIT, pid, 1, 2))
    assert len(scene.programs) == 11
    assert scene.ask(Actor(20, 1, b"a", 3, 3))
    assert not scene.ask(Actor(9, 1, b"a", 3, 3))


def test_who_is_asked_for_stays() -> None:
    scene = Scene(Programs(max_processes=3))
    for pid in (1, 2, 3):
        scene.drain(execed(pid, 1, 1, b"a"))
    assert scene.ask(Actor(1, 1, b"a", 3, 3))
    scene.drain(execed(4, 1, 3, b"a"), execed(5, 1, 3, b"a"))
    assert [pid for pid in (1, 2, 3, 4, 5) if scene.ask(Actor(pid, 1, b"a", 9, 9))] == [1, 4, 5]


def test_programs_of_the_living_that_have_no_room_are_counted_and_those_of_the_ended_are_not() -> None:
    scene = Scene(Programs(max_processes=3, max_bytes=1000))
    scene.drain(*(execed(pid, 1, 1, b"a") for pid in (1, 2, 3)), of_task(lib.PW_EXIT, 2, 1, 2))
    scene.drain(execed(4, 1, 3, b"a"))
    assert scene.programs.forgotten == 0
    scene.drain(execed(5, 1, 3, b"a"), forked(6, 4, 4, 1))
    assert scene.programs.forgotten == 2
    scene.drain(execed(7, 1, 5, b"a", b"x" * 1000))
    assert len(scene.programs) == 0
    assert scene.programs.forgotten == 2 + 3 + 1


def test_programs_have_a_bound_in_bytes_and_are_shared_by_those_that_inherit_them() -> None:
    scene = Scene(Programs(max_bytes=20000))
    scene.drain(execed(1, 1, 1, b"a", b"x" * 1000))
    once = scene.programs.size_bytes
    assert 1000 < once < 1200
    scene.drain(*(forked(pid, 2, 1, 1) for pid in range(2, 500)))
    assert (len(scene.programs), scene.programs.size_bytes) == (499, once)
    scene.drain(*(execed(pid, 3, 3, b"a", b"x" * 1000) for pid in range(1000, 1100)))
    assert scene.programs.size_bytes <= 20000
    assert scene.ask(Actor(1099, 3, b"a", 9, 9))


def test_a_program_that_has_no_room_is_not_told_as_the_one_before() -> None:
    scene = Scene(Programs(max_bytes=400))
    scene.drain(execed(1, 1, 1, b"a"))
    assert scene.ask(Actor(1, 1, b"a", 9, 9))
    scene.drain(execed(1, 1, 2, b"a", b"x" * 1000))
    assert scene.ask(Actor(1, 1, b"a", 9, 9)) == {}
    assert scene.programs.size_bytes == 0


@pytest.mark.parametrize("count", [1, 17, 16384])
def test_pids_of_one_bucket_are_told_apart(count: int) -> None:
    scene = Scene(Programs(max_processes=count + 3))
    for place in range(4):
        scene.drain(execed(1 + place * 16384, 1, 1, b"abcd"[place : place + 1]))
    found = [scene.ask(Actor(1 + place * 16384, 1, b"", 9, 9)).get("executable") for place in range(4)]
    assert found[-3:] == ["/bin/b", "/bin/c", "/bin/d"]

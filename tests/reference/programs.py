"""Which program a process runs, as ext/programs.c has it, in plain Python and without its bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from collector._native import ffi, lib

from tests.reference.event_exec import exec_parts
from tests.reference.event_text import path, text

Map = dict[str, Any]


class Program(NamedTuple):
    fields: Map
    comm: bytes


class Actor(NamedTuple):
    """The process of a record: `since_ns`, from when on it was known to be the one."""

    pid: int
    start_ns: int
    comm: bytes
    since_ns: int
    time_ns: int


@dataclass
class Process:
    start_ns: int
    since_ns: int
    now: Program
    before: Program | None = None
    has_ended: bool = False
    is_by_number: bool = False


def name_of(comm: Any) -> bytes:
    return bytes(ffi.buffer(comm)).split(b"\0")[0]


def program_of(record: bytes) -> Program:
    execed = ffi.from_buffer("struct pw_exec *", record)
    args, exe, *_ = exec_parts(record)
    flags = execed.head.flags
    kept = exe
    if len(exe) > lib.PW_PROGRAM_PATH_BYTES:
        kept = exe[: lib.PW_PROGRAM_PATH_BYTES]
        kept = kept[: kept.rfind(b"\0") + 1]
    is_cut = bool(flags & lib.PW_EXE_CUT) or kept != exe
    fields: Map = {}
    if exe or is_cut:
        fields["executable"] = path(kept, is_cut)
    if not flags & lib.PW_ARGS_UNREADABLE:
        shown = args[: lib.PW_PROGRAM_ARGS_BYTES]
        fields["args"] = [text(one) for one in shown.removesuffix(b"\0").split(b"\0")] if shown else []
    return Program({**fields, "args_count": execed.argc}, name_of(execed.task.comm))


class Programs:
    def __init__(self) -> None:
        self._known: dict[int, Process] = {}
        self.doubt_ns = self.numbers_doubt_ns = 0
        self.known_until_ns = 2**64 - 1

    def _find(self, pid: int, start_ns: int) -> Process | None:
        found = self._known.get(pid)
        return found if found and found.start_ns == start_ns else None

    def note(self, record: bytes) -> None:
        fork = ffi.from_buffer("struct pw_fork *", record)
        head, task = fork.head, fork.task
        known = self._find(task.pid, task.start_ns)
        if head.kind == lib.PW_EXEC or (head.kind == lib.PW_STATE_PROCESS and known is None):
            before = known.now if known else None
            has_ended = known.has_ended if known else False
            program = program_of(record)
            self._known[task.pid] = Process(task.start_ns, head.time_ns, program, before, has_ended)
        elif head.kind == lib.PW_FORK and known is None:
            self._note_fork(head.time_ns, task)
        elif head.kind == lib.PW_EXIT and known is not None:
            known.has_ended = True

    def _doubt_of(self, is_by_number: bool) -> int:
        return max(self.doubt_ns, self.numbers_doubt_ns) if is_by_number else self.doubt_ns

    def _note_fork(self, time_ns: int, child: Any) -> None:
        is_by_number = child.maker_pid not in (0, child.parent_pid)
        if is_by_number:
            maker = self._known.get(child.maker_pid)
        else:
            maker = self._find(child.parent_pid, child.parent_start_ns)
        former = self._known.pop(child.pid, None)
        if maker is None or maker is former or maker.has_ended or maker.since_ns > time_ns:
            return
        is_by_number = is_by_number or maker.is_by_number
        since_ns = maker.since_ns if maker.since_ns < self._doubt_of(is_by_number) else time_ns
        self._known[child.pid] = Process(child.start_ns, since_ns, maker.now, is_by_number=is_by_number)

    def find(self, actor: Actor) -> Map:
        """What is told of its program: nothing where there is none, or it can't be said which of two."""
        found = self._find(actor.pid, actor.start_ns)
        if found is None or actor.start_ns == 0:
            return {}
        is_known = actor.since_ns >= found.since_ns and actor.time_ns <= self.known_until_ns
        if is_known and found.since_ns >= self._doubt_of(found.is_by_number):
            return found.now.fields
        is_now = found.now.comm == actor.comm
        was_before = found.before is not None and found.before.comm == actor.comm
        if is_now == was_before:
            return {}
        return found.now.fields if is_now or found.before is None else found.before.fields

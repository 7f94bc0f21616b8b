"""From the proc connector's numbers to what happened, with what /proc can still say about it.

The connector gives process ids and little else. Everything is read from /proc
at once, programs that were just executed first, since they may end in a
millisecond; what a process was before is remembered, so that its end can be told
when nothing of it is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from probes.cgroup_paths import CgroupPaths
from probes.proc_connector import ProcessEvent, What
from probes.process_files import Arguments, Binary, Credentials, ProcessFiles, ProcessGone, Stat, processes

# About 1 KiB each. Of more processes the one known longest is looked up again when it is seen again.
MAX_PROCESSES = 32768
MAX_LEAVING = 1024
# From an executed program's arguments being in place to the kernel's event of it.
EXEC_WINDOW_NS = 50_000
# How long an exec may still turn out to have been read too late: far longer than it waits to be read.
EXEC_KEPT_NS = 1_000_000_000
_TICK_NS = 10_000_000
_ACTIONS = {What.UID: "change-uid", What.GID: "change-gid"}


class Parent(NamedTuple):
    pid: int
    start_ns: int = 0  # 0: not known
    comm: bytes = b""


class Process(NamedTuple):
    """What is known of one process. Its start is as /proc has it, in whole clock ticks, or 0."""

    pid: int
    start_ns: int = 0
    comm: bytes = b""
    parent: Parent | None = None
    credentials: Credentials | None = None
    login_uid: int | None = None
    namespaces: tuple[tuple[str, int], ...] = ()
    cgroup_path: str = ""
    cgroup_id: int = 0


class Image(NamedTuple):
    """What a process executes."""

    arguments: Arguments | None
    binary: Binary | None
    working_directory: bytes | None


class Ending(NamedTuple):
    status: int | None  # as wait(2) has it
    user_ns: int | None  # CPU time of all threads; None: /proc had nothing left
    system_ns: int | None
    lived_ns: int


class Seen(msgspec.Struct, array_like=True):
    """An event and the process as it was then. Times are CLOCK_BOOTTIME ns."""

    action: str
    time_ns: int
    process: Process
    tid: int
    image: Image | None = None
    ending: Ending | None = None
    unread: str = ""  # why /proc said nothing: gone, replaced
    read_ns: int = 0  # when /proc was read, CLOCK_MONOTONIC

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        size_bytes = 1024 + len(self.process.cgroup_path)
        if self.image is not None:
            arguments, binary, directory = self.image
            size_bytes += len(arguments.kept) if arguments else 0
            size_bytes += len(binary.path) if binary else 0
            size_bytes += len(directory or b"")
        return size_bytes


class _Look(NamedTuple):
    """One reading of /proc/PID."""

    process: Process
    image: Image | None
    read_ns: int


class ProcessTable:
    """Makes `Seen` of events. Not for several threads at once."""

    def __init__(
        self, cgroups: CgroupPaths | None, open_files: Callable[[int], ProcessFiles] = ProcessFiles
    ) -> None:
        self._cgroups = cgroups
        self._open = open_files
        self._known: dict[int, Process] = {}
        self._executed: dict[int, Seen] = {}  # by pid, oldest first
        self._told_ids: dict[tuple[int, What], tuple[int, int]] = {}
        self._leaving: dict[int, tuple[ProcessEvent, Process, int]] = {}  # event, process, times looked at

    def __len__(self) -> int:
        return len(self._known)

    @property
    def is_waiting(self) -> bool:
        """First threads have ended whose processes may go on: `settle` is to be called soon."""
        return bool(self._leaving)

    def prime(self, pids: Iterable[int] | None = None) -> None:
        """Gets to know the processes that are there, so that their ends have names."""
        for pid in processes() if pids is None else pids:
            if len(self._known) >= MAX_PROCESSES:
                return
            self._get(pid)

    def running(self, since_ns: int) -> Iterator[Seen]:
        """What `prime` found, as it is when it is asked for, without threads of the kernel.

        From `since_ns` (CLOCK_BOOTTIME) on forks are heard of; of what began 10 ms before both may come.
        """
        for pid in list(self._known):
            look = self._look_at_image(pid)
            if look is None or look.image is None or not 0 < look.process.start_ns <= since_ns:
                continue
            if look.image.arguments or look.image.binary:
                now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                yield Seen("running", now_ns, look.process, pid, look.image)

    def forget(self) -> None:
        """After lost events nothing that was known is certain."""
        self._known.clear()
        self._executed.clear()
        self._told_ids.clear()

    def take(self, batch: Sequence[ProcessEvent], boot_offset_ns: int) -> list[Seen]:
        """Events in their order. `boot_offset_ns`: CLOCK_BOOTTIME minus CLOCK_MONOTONIC."""
        looks = {at: self._look_at_image(one.pid) for at, one in enumerate(batch) if one.what is What.EXEC}
        found: list[Seen] = []
        for at, event in enumerate(batch):
            boot = event._replace(time_ns=event.time_ns + boot_offset_ns)
            if event.what is What.EXEC:
                found.append(self._on_exec(boot, looks[at], event.time_ns))
            elif event.what is What.FORK:
                found.append(self._on_fork(boot))
            elif event.what is What.EXIT:
                found += self._on_exit(boot)
            else:
                found += self._on_ids(boot)
        return found

    def settle(self, now_ns: int) -> list[Seen]:
        """Ends of processes that were waited for. `now_ns`: CLOCK_BOOTTIME."""
        ended: list[Seen] = []
        for pid, (event, process, looks) in list(self._leaving.items()):
            stat = self._stat(pid, process)
            if stat is not None and not stat.is_zombie:
                del self._leaving[pid]
            elif stat is not None and stat.threads > 1:
                self._leaving[pid] = (event, process, looks + 1)
            else:
                # Threads that are killed together are gone by the first look. What goes on for longer ends
                # later than its first thread, and by a status that is not the first thread's.
                status = event.status if looks == 0 else None
                late = event if looks == 0 else event._replace(time_ns=now_ns)
                ended.append(self._end(late, process, stat, status))
                del self._leaving[pid]
        return ended

    # ---- by event

    def _on_fork(self, event: ProcessEvent) -> Seen:
        """The child is its parent's copy. What /proc says of it may already be of what it executes."""
        parent = self._get(event.parent_pid) or Process(event.parent_pid)
        look = self._look(event.pid)
        if look is None:  # then its cgroup is the parent's, who may have moved since its own start
            parent = self._follow(parent)
            child = _copy_of(parent, event)
        else:
            parent, child = self._agreed(parent, look.process)
            child = child._replace(comm=parent.comm or child.comm)
        child = child._replace(parent=_as_parent(parent))
        self._remember(child)
        self._executed.pop(event.pid, None)
        return Seen("fork", event.time_ns, child, event.tid, unread="" if look else "gone")

    def _agreed(self, parent: Process, child: Process) -> tuple[Process, Process]:
        """A child that is found elsewhere than its parent was tells that the parent has moved: later children
        may be gone when they are looked at, and it with them. Or CLONE_INTO_CGROUP has put the child there.
        Or the kernel shows the root still: the connector's event comes before a child is in its cgroup."""
        if child.cgroup_id == parent.cgroup_id and child.cgroup_path != "/":
            return parent, child
        parent = self._follow(parent)
        if child.cgroup_id != parent.cgroup_id:
            child = self._moved(child)
        if child.cgroup_path == "/" and parent.cgroup_id:  # not there yet: few clone into the root
            child = child._replace(cgroup_id=parent.cgroup_id, cgroup_path=parent.cgroup_path)
        return parent, child

    def _follow(self, process: Process) -> Process:
        """With the cgroup that it is in now; remembered, if anything is known of it."""
        moved = self._moved(process)
        if moved.start_ns:
            self._remember(moved)
        return moved

    def _on_exec(self, event: ProcessEvent, look: _Look | None, monotonic_ns: int) -> Seen:
        self._mark_replaced(event.pid, monotonic_ns)
        self._leaving.pop(event.pid, None)  # it was another thread that executed, and is the first one now
        known = self._known.get(event.pid)
        if look is None:
            process = (known or Process(event.pid))._replace(comm=b"")
            self._remember(process)
            return Seen("exec", event.time_ns, process, event.tid, unread="gone")
        process = look.process
        if known is not None and process.parent is None:
            process = process._replace(parent=known.parent)
        self._remember(process)
        is_read = look.image is not None and look.image.arguments is not None
        seen = Seen("exec", event.time_ns, process, event.tid, look.image, unread="" if is_read else "gone")
        seen.read_ns = look.read_ns
        self._executed[event.pid] = seen
        return seen

    def _mark_replaced(self, pid: int, monotonic_ns: int) -> None:
        """What was read for the program before may have been this one already."""
        before = self._executed.pop(pid, None)
        if before is not None and before.read_ns > monotonic_ns - EXEC_WINDOW_NS:
            before.image = None
            before.unread = "replaced"
            before.process = before.process._replace(comm=b"")
        while self._executed:
            oldest = next(iter(self._executed))
            if self._executed[oldest].read_ns > monotonic_ns - EXEC_KEPT_NS:
                return
            del self._executed[oldest]

    def _on_exit(self, event: ProcessEvent) -> list[Seen]:
        """Of a process whose other threads go on, or are on their way out, the end comes later."""
        known = self._known.get(event.pid)
        stat = self._stat(event.pid, known)
        if stat is not None and not stat.is_zombie:
            return []  # another thread has executed a program, and has taken over the number
        parent = Parent(event.parent_pid) if event.parent_pid else None
        process = known or Process(event.pid, parent=parent)
        if stat is not None:
            process = self._moved(process)
        if stat is not None and stat.threads > 1 and len(self._leaving) < MAX_LEAVING:
            self._leaving[event.pid] = (event, process, 0)
            return []
        return [self._end(event, process, stat, event.status)]

    def _end(self, event: ProcessEvent, process: Process, stat: Stat | None, status: int | None) -> Seen:
        self._known.pop(event.pid, None)
        self._executed.pop(event.pid, None)
        for what in _ACTIONS:
            self._told_ids.pop((event.pid, what), None)
        lived_ns = max(0, event.time_ns - process.start_ns) if process.start_ns else 0
        user_ns, system_ns = (stat.user_ns, stat.system_ns) if stat else (None, None)
        ending = Ending(status, user_ns, system_ns, lived_ns)
        return Seen("exit", event.time_ns, process, event.pid, ending=ending)

    def _on_ids(self, event: ProcessEvent) -> list[Seen]:
        """The C library has each thread set the ids; the process's change is told once."""
        ids = (event.real_id, event.effective_id)
        if self._told_ids.get((event.pid, event.what)) == ids:
            return []
        process = self._get(event.pid) or Process(event.pid)
        if process.credentials is not None:
            names = ("real_uid", "effective_uid") if event.what is What.UID else ("real_gid", "effective_gid")
            changed = process.credentials._replace(**dict(zip(names, ids, strict=True)))
            process = process._replace(credentials=changed)
            self._remember(process)
        if len(self._told_ids) >= MAX_PROCESSES:
            self._told_ids.clear()
        self._told_ids[event.pid, event.what] = ids
        return [Seen(_ACTIONS[event.what], event.time_ns, process, event.tid)]

    # ---- /proc

    def _get(self, pid: int) -> Process | None:
        known = self._known.get(pid)
        if known is None and pid:
            look = self._look(pid)
            if look is not None:
                known = look.process
                self._remember(known)
        return known

    def _remember(self, process: Process) -> None:
        if process.pid not in self._known and len(self._known) >= MAX_PROCESSES:
            del self._known[next(iter(self._known))]
        self._known[process.pid] = process

    def _look_at_image(self, pid: int) -> _Look | None:
        """What is gone first is read first: memory, then directories, then what a zombie still has."""
        try:
            with self._open(pid) as files:
                arguments = files.arguments()
                image = Image(arguments, files.binary(), files.working_directory())
                read_ns = time.monotonic_ns()
                return _Look(self._describe(pid, files), image, read_ns)
        except ProcessGone:
            return None

    def _look(self, pid: int) -> _Look | None:
        try:
            with self._open(pid) as files:
                return _Look(self._describe(pid, files), None, time.monotonic_ns())
        except ProcessGone:
            return None

    def _moved(self, process: Process) -> Process:
        """With the cgroup that it is in now, and all that a zombie has if nothing was known of it."""
        if not process.start_ns:
            look = self._look(process.pid)
            return look.process if look else process
        try:
            with self._open(process.pid) as files:
                cgroup_id, path = self._cgroup(files)
        except ProcessGone:
            return process
        return process._replace(cgroup_path=path, cgroup_id=cgroup_id) if cgroup_id else process

    def _stat(self, pid: int, known: Process | None) -> Stat | None:
        """None: the process is gone; what has its number now is another one."""
        try:
            with self._open(pid) as files:
                stat = files.stat()
        except ProcessGone:
            return None
        is_other = known is not None and known.start_ns and stat.start_ns != known.start_ns
        return None if is_other else stat

    def _describe(self, pid: int, files: ProcessFiles) -> Process:
        stat = files.stat()
        credentials = files.credentials()
        cgroup_id, path = self._cgroup(files)
        return Process(
            pid,
            stat.start_ns,
            stat.comm,
            self._parent(stat.parent_pid),
            credentials,
            files.login_uid(),
            tuple(files.namespaces().items()),
            path,
            cgroup_id,
        )

    def _cgroup(self, files: ProcessFiles) -> tuple[int, str]:
        shown = files.cgroup()
        return (0, "") if shown is None or self._cgroups is None else self._cgroups.find(shown)

    def _parent(self, pid: int) -> Parent | None:
        if not pid:
            return None
        known = self._known.get(pid)
        if known is not None:
            return _as_parent(known)
        try:
            with self._open(pid) as files:
                stat = files.stat()
        except ProcessGone:
            return Parent(pid)
        return Parent(pid, stat.start_ns, stat.comm)


def _copy_of(parent: Process, event: ProcessEvent) -> Process:
    """What a child is that nobody has looked at. Its number in a pid namespace of its own is not known."""
    own = parent.credentials and parent.credentials._replace(namespace_pid=0)
    start_ns = event.time_ns // _TICK_NS * _TICK_NS
    return parent._replace(pid=event.pid, start_ns=start_ns, credentials=own)


def _as_parent(process: Process) -> Parent:
    return Parent(process.pid, process.start_ns, process.comm)

"""`[INPUT] Name tail`: follows log files, as Fluent Bit's in_tail, and loses nothing at rotation or deletion.

Files are found by tail_files.py in a thread. All else happens in one coroutine: files take turns, a portion
each; a portion becomes a chunk. What finds no room waits (tail_portions.py), and its log with it; while
there is none files wait on disk, and what is unlinked meanwhile is held open.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from collector.inputs.beginnings import Beginnings
from collector.inputs.due import Due
from collector.inputs.file_events import FileEvents
from collector.inputs.follow import FollowedFile
from collector.inputs.followed import Followed
from collector.inputs.inotify_limits import POLL_S
from collector.inputs.portion import Portion
from collector.inputs.reading_thread import ReadingThread
from collector.inputs.refused_names import RefusedNames
from collector.inputs.replanning import Replanning
from collector.inputs.succession import Plans, Succession
from collector.inputs.tail_deleted import DeletedFiles
from collector.inputs.tail_files import Discovery, Found, Reports
from collector.inputs.tail_paths import KubeletRoots, select
from collector.inputs.tail_portions import Portions
from collector.inputs.tail_room import LOOK_S, HeldBack
from collector.inputs.tail_settings import Settings, grouping_of, max_record_bytes, plan_of, step_of
from collector.inputs.tail_unread import UnreadFiles
from collector.native.files import has_writer
from collector.plan import LogPlan

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input
    from collector.service.stalls import Stall

__all__ = ["SUMMARY", "Settings", "Tail", "make"]

SUMMARY = "Follows log files."

# After quiet, reading happens at once; then no more often than this: what comes between is read together.
PACE_S = 0.01
# Files begun in one go, some 0.3 ms each, and how long the other tasks of the process wait at most.
ARRIVALS = 20
ALONE_S = 0.01
# From here on a read is worth the hop to another thread (some 40 us), so that outputs go on meanwhile.
THREAD_BYTES = 64 << 10
# The file that takes the place of a rotated one is found within milliseconds of the rename, if there is one.
HEIR_WAIT_S = 1.0
# A deleted file that can not be read is counted now and then, until it may be or too much is held.
DELETED_LOOK_S = 5.0
IDENTITY_RETRY_S = 0.05
# At the end; some 100 MB. A file that is written faster than it is read must not hold up the end.
CATCH_UP_S = 0.3


class Tail:
    """The running input."""

    def __init__(self, settings: Settings, plan: LogPlan, context: InputContext) -> None:
        self._settings = settings
        self._context = context
        host_root = context.document.service.host_root
        self._kubelet = KubeletRoots.below(host_root)
        self._selection = select(settings.path, settings.exclude_path, host_root)
        is_first_start = not settings.db or not os.path.exists(settings.db)
        positions = context.positions(settings.db or None, settings.db_modes)
        # An input that a reload began anew goes on where it was, database or not.
        is_first_start = is_first_start and not positions.all()
        self._beginnings = Beginnings(
            positions, context.name, is_first_start=is_first_start, read_from_head=settings.read_from_head
        )
        self._grouping = grouping_of(settings, context)
        self._step = step_of(settings, context)
        self._plans = Plans(
            plan,
            context.plugin.tag,
            settings.path_key,
            self._kubelet,
            context.identities,
            context.chain,
            tag_pattern=settings.tag_regex,
            folds=self._grouping is None,
            step=self._step,
            max_record_bytes=max_record_bytes(settings, context),
        )
        self._ready: deque[FollowedFile] = deque()
        self._due = Due[FollowedFile]()
        self._arrived: deque[Found] = deque()
        self._has_scanned = False
        self.has_looked = asyncio.Event()  # all files that were there at the start are followed
        self._wake = asyncio.Event()
        self._problem = functools.partial(context.log.warning, "%s")
        self._refused = RefusedNames(
            context, functools.partial(self._plans.tag_of_missed, selection=self._selection)
        )
        self._has_ended = False
        self._unread: UnreadFiles | None = None
        self._held_back = HeldBack(context.name, context.intake, self._wake.set)

    async def run(self, stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        # What is begun last ends first: nobody reads a file any more that is closed.
        async with asyncio.TaskGroup() as tasks, contextlib.AsyncExitStack() as ending:
            self._begin_following(ending)
            self._portions = Portions(self._context, self._step, self._found_room, self._deleted.lose, tasks)
            ending.callback(self._portions.close)
            self._thread = ReadingThread[Portion](self._context.name)
            ending.push_async_callback(self._loop.run_in_executor, None, self._thread.close)
            context = self._context
            replanning = Replanning(self._followed, self._plans, context.identities, context.chain)
            replanning.begin()
            ending.callback(replanning.end)
            stopping = tasks.create_task(stop.wait())
            stopping.add_done_callback(lambda _: self._wake.set())
            ending.callback(stopping.cancel)
            discovery = self._discovery()
            discovery.start()
            ending.callback(tasks.create_task(discovery.failure()).cancel)
            ending.push_async_callback(self._loop.run_in_executor, None, discovery.close)
            await self._follow(stop)
            await self._loop.run_in_executor(None, discovery.close)
            await self._hand_over()
            await self._catch_up()
            self._close_heirs()
            await self._portions.finish()

    def _begin_following(self, ending: contextlib.AsyncExitStack) -> None:
        ending.callback(self._held_back.close)
        self._events = FileEvents(self._problem, watches=self._settings.inotify_watcher)
        ending.callback(self._events.close)
        self._followed = Followed(
            self._settings,
            self._selection,
            self._plans,
            self._beginnings,
            self._events,
            grouping=self._grouping,
            ready=self._make_ready,
            refuse=self._refused.refuse,
            count=lambda name: self._context.metrics.add(name, self._context.name),
            log=self._context.log,
        )
        ending.callback(self._followed.close)
        ending.callback(self._refused.close)
        ending.callback(self._close_arrived)
        successions = self._followed.successions
        self._deleted = DeletedFiles(self._context, self._settings.deleted_limit_bytes, successions)
        refresh_s = self._settings.refresh_interval_s
        self._unread = UnreadFiles(self._context.name, successions, refresh_s)

    def _discovery(self) -> Discovery:
        reports = Reports(self._found, self._problem, *self._refused.from_thread(self._loop), self._scanned)
        return Discovery(
            self._selection,
            self._kubelet.pods_pattern(self._selection),
            self._followed.names,
            reports,
            refresh_s=self._settings.refresh_interval_s,
            watches=self._settings.inotify_watcher,
            left=self._followed.left,
        )

    def stalls(self, now_s: float) -> Iterable[Stall]:
        """Files that nobody reads."""
        return self._unread.stalls(now_s) if self._unread is not None else ()

    @property
    def logs_known(self) -> int:
        """Logs of which something is kept, whether or not a file of theirs is open."""
        return len(self._followed.successions)

    def followed_file(self, device: int, inode: int) -> FollowedFile | None:
        """The file, if it is held open."""
        return self._followed.files.get((device, inode))

    # Told by Discovery, from its thread
    def _found(self, found: Found) -> None:
        self._arrived.append(found)
        self._loop.call_soon_threadsafe(self._wake.set)

    def _scanned(self) -> None:
        self._has_scanned = True
        self._loop.call_soon_threadsafe(self._wake.set)

    # The course of things

    async def _follow(self, stop: asyncio.Event) -> None:
        look_s = self._now_s + self._settings.refresh_interval_s
        read_s = looked_s = 0.0
        while not stop.is_set():
            if not self._ready:
                await self._wait_until(min(look_s, self._due.next_s))
                await asyncio.sleep(max(0.0, read_s + PACE_S - self._now_s))
            self._take_news()
            if self._now_s >= look_s:
                self._look()
                looked_s, look_s = self._now_s, self._now_s + self._settings.refresh_interval_s
            elif self._events.must_look and self._now_s >= looked_s + POLL_S:
                self._make_ready(self._events.look())
                looked_s = self._now_s
            self._make_ready(self._due.take(self._now_s))
            await self._take_turns(stop)
            if self._settings.exit_on_eof:
                self._exit_on_eof()
            read_s = self._now_s

    async def _take_turns(self, stop: asyncio.Event) -> None:
        """For ALONE_S; a log that is written faster than it is read has something to read for ever."""
        end_s = self._now_s + ALONE_S
        while self._ready and not stop.is_set():
            await self._turn(self._ready.popleft())
            self._take_news()
            if self._now_s >= end_s:
                break
        await asyncio.sleep(0)

    def _exit_on_eof(self) -> None:
        """As somebody who stops the agent would."""
        all_is_read = all(file.is_read for file in self._followed.files.values())
        if not self._has_ended and self.has_looked.is_set() and all_is_read:
            self._has_ended = True
            signal.raise_signal(signal.SIGTERM)

    async def _catch_up(self) -> None:
        """What was written before the end: without a DB nobody will read it later."""
        end_s = self._now_s + CATCH_UP_S
        while self._ready and self._now_s < end_s:
            await self._turn(self._ready.popleft())

    async def _wait_until(self, when_s: float) -> None:
        if self._events.must_look:
            when_s = min(when_s, self._now_s + POLL_S)
        watch_fd = self._events.watch_fd
        if watch_fd >= 0:
            self._loop.add_reader(watch_fd, self._wake.set)
        try:
            async with asyncio.timeout_at(when_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            # Left in, it would make the loop spin until the events are read.
            if watch_fd >= 0:
                self._loop.remove_reader(watch_fd)
        self._wake.clear()

    @property
    def _now_s(self) -> float:
        return self._loop.time()

    def _take_all_news(self) -> None:
        self._take_news()
        while self._arrived:
            self._take_news()

    def _take_news(self) -> None:
        for _ in range(min(len(self._arrived), ARRIVALS)):
            self._followed.take(self._arrived.popleft(), self._now_s)
        if self._arrived:
            self._wake.set()
        elif self._has_scanned:
            self._has_scanned = False
            self._followed.first_look_is_over(self._now_s)
            self.has_looked.set()
        touched, events_lost = self._events.take()
        self._make_ready((*touched, *self._held_back.news()))
        if events_lost:
            self._make_ready(self._events.look(self._followed.files.values()))

    def _found_room(self, place: str) -> None:
        """What was read of a log has been handed over."""
        succession = self._followed.successions.get(place)
        if succession is not None:
            self._make_ready(succession.files)
        self._held_back.room_came()
        self._wake.set()

    def _make_ready(self, files: Iterable[FollowedFile]) -> None:
        for file in (one for one in files if not one.is_ready):
            file.is_ready = True
            self._ready.append(file)

    def _look(self) -> None:
        """The net below inotify."""
        self._make_ready(self._events.look_at_some(self._settings.refresh_interval_s))
        self._followed.forget(self._now_s)

    # Reading

    async def _turn(self, file: FollowedFile) -> None:
        """Reads a portion of a file, or decides that there is nothing to wait for any more."""
        file.is_ready, file.turned_s = False, self._now_s
        succession = self._followed.succession_of(file)
        if succession is None:
            return
        self._events.behind.add(file)
        if not succession.path and file.is_gone:
            link = self._plans.link_of(succession.place, self._selection)
            if link is None:
                self._leave(succession, file)
                return
            self._followed.name(succession, link)
        if not self._may_read(succession, file):
            if file.is_gone:
                self._make_ready(self._deleted.hold(file, self._now_s))
                self._due.put(file, self._now_s + DELETED_LOOK_S)
            return
        try:
            await self._read_on(succession, file)
        except OSError as error:
            # Left, it is found again by the next look, and begins where it was left.
            self._context.log.warning("%s can't be read: %s", succession.path, error)
            self._context.metrics.add("podwitness_tail_read_errors_total", self._context.name)
            self._leave(succession, file, file.take_partials())

    async def _read_on(self, succession: Succession, file: FollowedFile) -> None:
        if await self._goes_on_in_copy(succession, file):
            return
        portion, is_lost = await self._read(file), file.is_given_up
        self._portions.submit(succession, file, portion, file.key)
        self._close_overdue_records(succession, file)
        file.is_read = portion.at_end
        file.is_given_up = is_lost and not portion.at_end  # what is written from here on is not
        if self._portions.is_waiting(succession) and not is_lost:
            return  # it gets its turn when all that was read has found room
        if portion.at_end:
            await self._at_end(succession, file)
        else:
            self._make_ready((file,))

    def _leave(
        self, succession: Succession, file: FollowedFile, partials: tuple[int, int] = (-1, -1)
    ) -> None:
        self._due.drop(file)
        self._held_back.forget(file)
        self._deleted.leave(file)
        self._followed.leave(succession, file, self._now_s, partials)

    def _may_read(self, succession: Succession, file: FollowedFile) -> bool:
        """Whether the name is known, what was written before it is read, and the outputs have room."""
        now_s = self._now_s
        is_waiting = self._portions.is_waiting(succession) and not file.is_given_up
        if not succession.path or is_waiting:
            return False
        if not succession.is_planned and not self._plans.settle(succession, now_s):
            self._due.put(file, now_s + IDENTITY_RETRY_S)
            return False
        alone_s = file.found_s + self._settings.rotate_wait_s
        for other in succession.before(file):
            if not other.is_read:
                return False
            if now_s < alone_s:
                self._due.put(file, alone_s)
                return False
        is_full = bool(succession.rest) and self._portions.is_full
        if file.is_given_up or self._held_back.takes(succession.tag, file, is_full=is_full):
            return True
        self._due.put(file, now_s + LOOK_S)
        return False

    async def _goes_on_in_copy(self, succession: Succession, file: FollowedFile) -> bool:
        """Whether the file was truncated and what it had is to be read in a copy first (copytruncate)."""
        key = file.key
        was_truncated, has_copy = self._followed.look_for_truncation(succession, file, self._now_s)
        if was_truncated and not has_copy:
            self._portions.submit(succession, file, file.close_open_records(time.time_ns()), key)
            file.cut_off()
        if was_truncated:
            file.begin_anew()
        return has_copy

    async def _read(self, file: FollowedFile, *, end: bool = False) -> Portion:
        now_ns = time.time_ns()
        file.looked_s = self._now_s
        unread_bytes = file.unread_bytes
        if unread_bytes < THREAD_BYTES:
            portion = file.read_portion(now_ns, end=end)
        else:
            portion = await self._thread.ask(lambda: file.read_portion(now_ns, end=end))
        if portion.to_offset != portion.from_offset:
            file.grown_s = self._now_s
        if portion.to_offset - portion.from_offset >= unread_bytes and not file.file.is_compressed:
            self._events.behind.discard(file)
        return portion

    # The end of a file

    async def _at_end(self, succession: Succession, file: FollowedFile) -> None:
        now_s, wait_s = self._now_s, self._settings.rotate_wait_s
        if file.is_final(now_s, wait_s):
            file.final_s = file.final_s or now_s
            if self._awaits_heir(succession, file) and now_s < file.final_s + HEIR_WAIT_S:
                self._due.put(file, file.final_s + HEIR_WAIT_S)
            else:
                await self._finish(succession, file)
        elif file.is_gone or file.is_rotated:
            # A writer's close is told; without that, time decides.
            self._due.put(file, max(file.grown_s, now_s - wait_s / 2) + wait_s)
            self._make_ready(later for later in succession.files if later is not file and not later.is_read)
        elif file.was_closed and file.has_open_records:
            await self._close_open_records(succession, file)

    def _awaits_heir(self, succession: Succession, file: FollowedFile) -> bool:
        """Whether records are open that go on in a file which is not found yet."""
        return file.joins and file.has_open_records and succession.after(file) is None

    async def _finish(self, succession: Succession, file: FollowedFile) -> bool:
        """Reads what came until nobody could write any more; what is open then is complete or goes on.

        False: there is no room, and more to read; it goes on when the file has its turn again.
        """
        later = succession.after(file)
        goes_on = file.joins and (file.is_done or (later is not None and file.goes_on_in(later)))
        if not await self._read_to_end(succession, file, end=not goes_on):
            return False
        if goes_on and (file.has_rest or later is None or later.has_begun) and not file.is_done:
            if not await self._read_to_end(succession, file, end=True):
                return False
        elif goes_on and later is not None and not file.is_done:
            later.inherit(file)
        self._leave(succession, file)
        return True

    async def _read_to_end(self, succession: Succession, file: FollowedFile, *, end: bool) -> bool:
        """Whether it is read to its end, though the last of it may wait for room."""
        while True:
            portion = await self._read(file, end=end)
            self._portions.submit(succession, file, portion, file.key)
            file.is_read = portion.at_end
            if portion.at_end or self._portions.is_waiting(succession):
                return portion.at_end

    def _close_overdue_records(self, succession: Succession, file: FollowedFile) -> None:
        """Records of several lines whose next line is late, as Fluent Bit's flush_timeout."""
        if file.groups is None:
            return
        self._portions.submit(succession, file, file.close_overdue_records(self._now_s), file.key)
        if file.groups.due_s is not None:
            self._due.put(file, file.groups.due_s)

    async def _close_open_records(self, succession: Succession, file: FollowedFile) -> None:
        """A container that ended in the middle of a line leaves a part without an end.

        The runtime closes the log then. It also does so when it is restarted
        itself, so it gets Rotate_Wait to open it again.
        """
        quiet_s = self._now_s - file.grown_s
        if has_writer(file.fd):
            file.was_closed = False
        elif quiet_s < self._settings.rotate_wait_s:
            self._due.put(file, file.grown_s + self._settings.rotate_wait_s)
        else:
            file.was_closed = False
            self._portions.submit(succession, file, file.close_open_records(time.time_ns()), file.key)

    async def _hand_over(self) -> None:
        """At the end, first: what can't be read again after a restart, as it is in files without a name."""
        self._take_all_news()
        self._make_ready(self._events.look(self._followed.files.values()))
        for succession in list(self._followed.successions.values()):
            path = succession.path or self._plans.link_of(succession.place, self._selection)
            if path is None or not any(file.is_gone or file.is_only_heir for file in succession.files):
                continue
            self._followed.name(succession, path)
            self._plans.settle(succession, math.inf)
            await self._finish_gone(succession)

    async def _finish_gone(self, succession: Succession) -> None:
        """All files up to the last without a name, in order; singly, so that not all are in memory."""
        while file := succession.first_up_to_gone():
            if not await self._goes_on_in_copy(succession, file):
                await self._finish(succession, file)
            await self._portions.until_room(succession)

    def _close_heirs(self) -> None:
        """Of files without a name, what would have gone on in others."""
        for file in self._followed.files.values():
            if file.is_only_heir and max(file.inherited) >= 0:
                portion = file.close_open_records(time.time_ns())
                self._portions.submit(self._followed.successions[file.place], file, portion, file.key)

    def _close_arrived(self) -> None:
        while self._arrived:
            os.close(self._arrived.popleft().file.fd)


def make(settings: Settings, context: InputContext) -> Input:
    return Tail(settings, plan_of(settings, context), context)

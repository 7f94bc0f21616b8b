"""Log bytes to entries, over ext/log.h: a plan in C's form, a stream, the shared buffers."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from collector._native import ffi, lib
from collector.delivery.chunk import PORTION_BYTES, Packed, Position
from collector.native.log_steps import Constant, concatenated, direct, watched
from collector.native.slabs import SLAB_BYTES, Slabs, mapped
from collector.native.status import check
from collector.packing import pack
from collector.plan import Framing, LogPlan, Merge, Op

DEFAULT_MAX_RECORD_BYTES = 2 << 20
"""As much as Fluent Bit joins of one record (multiline buffer limit)."""

OPEN_RECORDS_BYTES = 24 << 20
"""Bound of all open records of all files together; beyond it a record is cut earlier."""

INPUT_BYTES = 256 << 10
"""Of one read: input, scratch and the entries made of it stay within the caches."""


class LogBatch(NamedTuple):
    """What came of one call. `partials`: file offset of the first line of the record open
    on stdout and on stderr, -1: none. `unparsed`: lines kept raw as they did not fit the
    framing. `cut`: records cut at their bound, `cut_bytes`: what they lost, `starved`: those
    that were cut earlier as the open records of all files were at their bound together.
    `skipped`: lines left out as they were too long, and their bytes."""

    entries: Packed
    records: int
    consumed: int
    partials: tuple[int, int]
    unparsed: int
    cut: int
    cut_bytes: int
    starved: int
    skipped: int = 0
    skipped_bytes: int = 0


class Arena:
    """Buffers that all streams of the process share; whoever uses them holds `lock`.

    The scratch memory is large enough for the largest record of any stream: each stream reserves at its
    start. Pages are only taken when they are written.
    """

    def __init__(self, input_bytes: int = INPUT_BYTES, slab_bytes: int = SLAB_BYTES) -> None:
        self.lock = threading.Lock()
        self.batch = ffi.new("struct pw_log_batch *")
        self._input, self._input_bytes = mapped("uint8_t[]", input_bytes), input_bytes
        self.input = ffi.new("struct pw_tail_input *", (self._input, input_bytes, PORTION_BYTES))
        self.at_end = ffi.new("int32_t *")
        self._work: Any = None
        self._slabs = Slabs(slab_bytes)
        self._use_slab()

    def reserve(self, work_bytes: int) -> None:
        with self.lock:
            if work_bytes > self.batch.work_capacity:
                self._work = mapped("uint8_t[]", work_bytes)
                self.batch.work, self.batch.work_capacity = self._work, work_bytes

    @property
    def portions(self) -> int:
        """Large ones that were encoded so far."""
        return self._slabs.parts

    def rest(self) -> None:
        """Gives back what the next portion would find ready: freed memory, and buffers that are not in use.

        Waits for nobody: a read may hang in the kernel for as long as a file system likes.
        """
        if self.lock.acquire(blocking=False):
            try:
                self._slabs.rest()
                lib.pw_memory_forget(self._input, self._input_bytes)
                if self._work is not None:
                    lib.pw_memory_forget(self._work, self.batch.work_capacity)
            finally:
                self.lock.release()
        lib.pw_memory_give_back()

    def call(self, encode: Callable[[], int], largest_bytes: int) -> LogBatch:
        """What `encode`, a C call, makes of its input; again with `largest_bytes` of output when a record is
        larger than a slab. Raises OSError, MemoryError."""
        try:
            status = encode()
            if status != lib.PW_E_OUTPUT_FULL:
                check(status)
                return self._result(self._slabs.part(self.batch.out_bytes))
            large = mapped("uint8_t[]", largest_bytes)
            self.batch.out, self.batch.out_capacity = large, largest_bytes
            check(encode())
            return self._result(bytes(ffi.buffer(large, self.batch.out_bytes)))
        finally:
            self._use_slab()

    def _use_slab(self) -> None:
        self.batch.out, self.batch.out_capacity = self._slabs.current, self._slabs.slab_bytes

    def _result(self, entries: Packed) -> LogBatch:
        """What the last call left in the batch."""
        batch = self.batch
        return LogBatch(
            entries,
            batch.records,
            batch.consumed,
            (batch.partials[0], batch.partials[1]),
            batch.unparsed,
            batch.cut,
            batch.cut_bytes,
            batch.starved,
            batch.skipped,
            batch.skipped_bytes,
        )


# Copies of what is little, and what is joined of them, are below the first, slabs are not.
lib.pw_memory_keep(2 << 20, 8 << 20)

ARENA = Arena()
_BUDGET = ffi.new("struct pw_log_budget *", {"limit_bytes": OPEN_RECORDS_BYTES})


def _closer(budget: Any) -> Callable[[Any], None]:
    """Closes a stream, and until then keeps the budget alive that it gives its memory back to."""
    close = lib.pw_log_close

    def close_stream(stream: Any, _budget: Any = budget) -> None:
        close(stream)

    return close_stream


def open_records_bytes() -> int:
    """What the open records of all files take now."""
    return int(_BUDGET.taken_bytes)


_close_stream = _closer(_BUDGET)


class LogStream:
    """The state of one followed file: records whose last part has not come yet.

    `native` and `native_plan` are for the C calls of this package. Of a file that says nothing the plan in
    C's form, 1.4 KiB, is not kept (`forget_unused_plans`); it is made in 30 us.
    """

    __slots__ = (
        *("__weakref__", "_log_plan", "_max_record_bytes", "_plan", "_was_used", "native", "partials"),
    )

    def __init__(self, plan: LogPlan, *, max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES) -> None:
        self._max_record_bytes = max_record_bytes
        opened = lib.pw_log_open(max_record_bytes, _BUDGET)
        if opened == ffi.NULL:
            raise MemoryError("no memory for the state of a log file")
        self.native = ffi.gc(opened, _close_stream)
        self.partials: tuple[int, int] = (-1, -1)
        self._was_used = False
        self.set_plan(plan)
        ARENA.reserve(lib.pw_log_work_bytes(max_record_bytes))

    def set_plan(self, plan: LogPlan) -> None:
        """The plan of the batches that follow."""
        self._log_plan = plan
        self._plan: _Plan | None = None

    @property
    def native_plan(self) -> Any:
        """To be asked for by who holds the arena's lock: its memory is good for that long."""
        self._was_used = True
        if self._plan is None:
            self._plan = _Plan(self._log_plan)
            _WITH_PLAN.add(self)
        return self._plan.native

    def forget_unused_plan(self) -> None:
        """If it was not used since the last call. By who holds the arena's lock."""
        if not self._was_used:
            self._plan = None
            _WITH_PLAN.discard(self)
        self._was_used = False

    def encode(
        self, data: bytes | bytearray | memoryview, offset: int, now_ns: int, *, end: bool = False
    ) -> LogBatch:
        """Encodes the whole lines of `data`, which starts at file offset `offset`.

        `end`: an unterminated last line and what is open are records now. An
        unterminated rest of 64 KiB is consumed too (see ext/log.h), so a larger
        buffer always makes progress. Raises MemoryError.
        """
        view = memoryview(data)
        batches = []
        consumed = 0
        full = True
        while full:
            batch, full = self._step(view[consumed:], offset + consumed, now_ns, end)
            consumed += batch.consumed
            batches.append(batch)
        return batches[0] if len(batches) == 1 else joined(batches)

    def _step(self, data: memoryview, offset: int, now_ns: int, end: bool) -> tuple[LogBatch, bool]:
        flags = lib.PW_LOG_END if end else 0
        batch, size = ARENA.batch, len(data)
        with ARENA.lock, ffi.from_buffer(data) as pointer:
            plan = self.native_plan
            made = self.take(
                lambda: lib.pw_log_encode(self.native, plan, pointer, size, offset, flags, now_ns, batch)
            )
            return made, bool(batch.full)

    def take(self, encode: Callable[[], int]) -> LogBatch:
        """The result of a C call for this stream that fills ARENA.batch. Raises OSError, MemoryError."""
        largest_bytes = lib.pw_log_out_bytes(self.native_plan, self._max_record_bytes)
        result = ARENA.call(encode, largest_bytes)
        self.partials = result.partials
        return result

    def resume(self, position: Position) -> int:
        """Starts anew at a saved position; returns the file offset where reading restarts.

        Lines before `position.offset` that belong to no open record are passed over.
        """
        self.partials = position.partials
        return int(lib.pw_log_resume(self.native, position.offset, *position.partials))

    def close(self) -> None:
        """Gives the memory back. The stream is not to be used any more."""
        ffi.release(self.native)


_WITH_PLAN = weakref.WeakSet[LogStream]()


def forget_unused_plans() -> None:
    """Of files that were not read since the last call; waits for nobody."""
    if ARENA.lock.acquire(blocking=False):
        try:
            for stream in tuple(_WITH_PLAN):
                stream.forget_unused_plan()
        finally:
            ARENA.lock.release()


def joined(batches: Sequence[LogBatch]) -> LogBatch:
    """What came of several calls for one stream, one behind the other."""
    return LogBatch(
        b"".join(batch.entries for batch in batches),
        sum(batch.records for batch in batches),
        sum(batch.consumed for batch in batches),
        batches[-1].partials,
        sum(batch.unparsed for batch in batches),
        sum(batch.cut for batch in batches),
        sum(batch.cut_bytes for batch in batches),
        sum(batch.starved for batch in batches),
        sum(batch.skipped for batch in batches),
        sum(batch.skipped_bytes for batch in batches),
    )


VECTORS: int = lib.pw_vectors()
"""How much JSON this processor looks at in one step (enum pw_vectors in ext/log.h)."""


def json_pairs(text: bytes, *, trim: bool = False) -> tuple[int, bytes] | None:
    """One JSON object as the pairs of a msgpack map: how many, and their bytes; None: not exactly one."""
    out = ffi.new("uint8_t[]", lib.pw_json_bytes(len(text)))
    out_bytes = ffi.new("size_t *")
    pairs = lib.pw_json_pairs(text, len(text), trim, VECTORS, out, out_bytes)
    return None if pairs < 0 else (pairs, ffi.buffer(out, out_bytes[0])[:])


class _Plan:
    """A LogPlan as struct pw_plan, with everything it points to kept alive."""

    def __init__(self, plan: LogPlan) -> None:
        self._kept: list[Any] = []
        self._texts: list[tuple[Any, bytes]] = []
        self._watches, noted_count = watched(plan)
        steps = concatenated(plan.steps, self._watches)
        native = self.native = ffi.new("struct pw_plan *")
        native.framing = plan.framing
        native.vectors = VECTORS
        native.skip_long, native.skip_empty = plan.skips_long, plan.skips_empty
        self._set_keys(plan)
        native.steps = self._keep(ffi.new("struct pw_step[]", len(steps)))
        native.step_count = len(steps)
        for index, step in enumerate(steps):
            self._set_step(native.steps[index], step)
        native.watches = self._keep(ffi.new("struct pw_text[]", len(self._watches)))
        native.watch_count = len(self._watches)
        native.noted_count = noted_count
        for key, index in self._watches.items():
            self._set_text(native.watches[index], pack(key))
        native.seen = self._keep(ffi.new("uint8_t[]", len(self._watches)))
        self._set_direct(plan)
        native.pieces = self._keep(ffi.new("struct pw_piece[]", len(steps) + lib.PW_LOG_PIECES))
        self._place_texts()

    def _keep(self, value: Any) -> Any:
        self._kept.append(value)
        return value

    def _set_text(self, text: Any, value: bytes) -> None:
        self._texts.append((text, value))

    def _place_texts(self) -> None:
        """In one buffer: each of its own would take a hundred bytes, of some thirty in each followed file."""
        at = self._keep(ffi.from_buffer("uint8_t[]", b"".join(value for _, value in self._texts))) + 0
        for text, value in self._texts:
            text.at, text.bytes = at, len(value)
            at += len(value)
        self._texts.clear()

    def _set_key(self, key: Any, name: str) -> None:
        self._set_text(key.packed, pack(name) if name else b"")
        key.watch = self._watches.get(name, -1)

    def _set_keys(self, plan: LogPlan) -> None:
        native, layout = self.native, plan.layout
        self._set_key(native.time, layout.time)
        self._set_key(native.stream, layout.stream)
        self._set_key(native.logtag, layout.logtag)
        self._set_key(native.content, layout.content)
        self._set_key(native.raw, layout.raw)
        self._set_key(native.truncated, "truncated")
        self._set_key(native.offset, layout.offset)

    def _set_direct(self, plan: LogPlan) -> None:
        found, native = direct(plan), self.native.direct
        if found is None:
            return
        native.is_on, native.merges = True, found.merge is not None
        for name in ("time", "stream", "logtag", "content"):
            key: str = getattr(found.layout, name)
            self._set_text(getattr(native, name), pack(key) if key else b"")
        self._set_text(native.tail, found.tail)
        native.tail_pairs = found.tail_pairs

    def _set_step(self, native: Any, step: Constant | Merge) -> None:
        if isinstance(step, Merge):
            native.op = lib.PW_MERGE
            native.watch = self._watches[step.key]
            self._set_key(self.native.merge.under, step.under)
            self.native.merge.keep = step.keep
            self.native.merge.trim = step.trim
            return
        native.op = step.op
        native.watch = self._watches.get(step.key, -1)
        self._set_text(native.packed, step.packed)
        native.key_bytes = step.key_bytes
        native.pairs = step.pairs


assert tuple(Framing) == (
    lib.PW_LINE,
    lib.PW_CRI,
    lib.PW_CRI_JOINED,
    lib.PW_JSON,
    lib.PW_DOCKER_JOINED,
    lib.PW_CONTAINER_JOINED,
)
assert (Op.APPEND, Op.ADD, Op.SET, Op.REMOVE) == (lib.PW_APPEND, lib.PW_ADD, lib.PW_SET, lib.PW_REMOVE)

"""Memory of entries: a view keeps what it shows, and its slab comes back when nobody has a view of it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from collector._native import ffi
from hypothesis import given
from hypothesis import strategies as st

from collector.native import logs
from collector.native.logs import Arena, LogStream
from collector.native.slabs import KEPT_SLABS, Slabs
from collector.plan import Framing, Layout, LogPlan
from tests.native.log_inputs import NOW_NS
from tests.reference.plan import entry

SLAB_BYTES = 64
PLAN = LogPlan(Framing.LINE, Layout())


def written(slabs: Slabs, fill: bytes, count: int) -> bytes | memoryview:
    ffi.memmove(slabs.current, fill * count, count)
    return slabs.part(count)


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def test_little_is_copied_and_the_slab_is_used_again() -> None:
    slabs = Slabs(SLAB_BYTES)
    before = slabs.current
    part = written(slabs, b"a", SLAB_BYTES // 2 - 1)
    assert isinstance(part, bytes)
    assert slabs.current is before
    assert written(slabs, b"b", 3) == b"bbb"
    assert part == b"a" * (SLAB_BYTES // 2 - 1)


def test_much_is_a_view_that_nothing_writes_to() -> None:
    slabs = Slabs(SLAB_BYTES)
    before = slabs.current
    part = written(slabs, b"a", SLAB_BYTES)
    assert isinstance(part, memoryview)
    assert part.readonly
    assert slabs.current is not before
    written(slabs, b"b", SLAB_BYTES)
    assert part == b"a" * SLAB_BYTES


def test_a_slab_comes_back_with_the_last_view_of_it() -> None:
    slabs = Slabs(SLAB_BYTES)
    whole = written(slabs, b"a", SLAB_BYTES)
    rest = whole[10:]
    del whole
    others = [written(slabs, b"b", SLAB_BYTES) for _ in range(2)]
    assert rest == b"a" * (SLAB_BYTES - 10)
    used = slabs.current
    address = _address(ffi.from_buffer(rest)) - 10
    del rest
    others.append(written(slabs, b"c", SLAB_BYTES))
    assert slabs.current is not used
    assert _address(slabs.current) == address
    assert [bytes(one[:1]) for one in others] == [b"b", b"b", b"c"]


def test_without_memory_for_another_slab_the_current_one_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slabs = Slabs(SLAB_BYTES)
    used = slabs.current
    ffi.memmove(used, b"a" * SLAB_BYTES, SLAB_BYTES)
    monkeypatch.setattr(slabs, "slab_bytes", 1 << 60)
    with pytest.raises(MemoryError):
        slabs.part(1 << 59)
    assert slabs.current is used
    assert ffi.buffer(used, SLAB_BYTES)[:] == b"a" * SLAB_BYTES
    assert slabs.waiting == 0


def test_a_rest_does_not_wait_for_a_read_that_hangs() -> None:
    arena = Arena(slab_bytes=SLAB_BYTES)
    used = arena.batch.out
    with arena.lock:
        used[0] = 7
        arena.rest()
        assert used[0] == 7
    arena.rest()


def test_a_slab_whose_view_is_in_a_cycle_of_garbage_can_be_used_again() -> None:
    slabs = Slabs(SLAB_BYTES)
    ring: list[object] = [written(slabs, b"a", SLAB_BYTES)]
    ring.append(ring)
    del ring
    gc.collect()
    assert slabs.waiting == 1
    parts = [written(slabs, fill, SLAB_BYTES) for fill in (b"b", b"c", b"d")]
    assert [bytes(part) for part in parts] == [fill * SLAB_BYTES for fill in (b"b", b"c", b"d")]


def test_slabs_go_with_the_last_view_of_them() -> None:
    slabs = Slabs(SLAB_BYTES)
    view = written(slabs, b"a", SLAB_BYTES)
    del slabs
    assert view == b"a" * SLAB_BYTES


def test_few_slabs_wait_for_the_next() -> None:
    slabs = Slabs(SLAB_BYTES)
    parts = [written(slabs, b"a", SLAB_BYTES) for _ in range(3 * KEPT_SLABS)]
    assert slabs.waiting == 0
    parts.clear()
    assert slabs.waiting == KEPT_SLABS
    parts.append(written(slabs, b"a", SLAB_BYTES))
    assert slabs.waiting == KEPT_SLABS - 1


def test_a_rest_gives_back_what_waits_and_leaves_what_is_handed_out() -> None:
    arena = Arena(slab_bytes=1 << 20)
    logs.ARENA = arena
    lines = b"".join(b"%06d\n" % number for number in range(60_000))
    stream, expected = (
        LogStream(PLAN),
        [entry(NOW_NS, [("log", f"{number:06d}")]) for number in range(60_000)],
    )
    first, second = (stream.encode(lines, offset, NOW_NS) for offset in (0, len(lines)))
    assert arena.portions > 0
    del second
    arena.rest()
    assert first.entries == b"".join(expected)
    assert stream.encode(b"000000\n", 2 * len(lines), NOW_NS).entries == expected[0]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(0, 5))
def test_entries_stay_as_they_were_while_others_are_made(lengths: list[int], held: int) -> None:
    """Some are held while others are given back, in whatever order; each is what its line says."""
    logs.ARENA = Arena(slab_bytes=SLAB_BYTES)
    stream, offset, under_way = LogStream(PLAN), 0, []
    for number, length in enumerate(lengths):
        text = f"{number} ".rjust(length, "x")
        batch = stream.encode(f"{text}\n".encode(), offset, NOW_NS)
        offset += batch.consumed
        under_way.append((batch.entries, entry(NOW_NS, [("log", text)])))
        if len(under_way) > held:
            entries, expected = under_way.pop(number * 7 % len(under_way))
            assert entries == expected
    assert all(entries == expected for entries, expected in under_way)


@pytest.mark.parametrize("content_bytes", [SLAB_BYTES, 100 * SLAB_BYTES])
def test_a_record_larger_than_a_slab_has_memory_of_its_own(content_bytes: int) -> None:
    logs.ARENA = Arena(slab_bytes=SLAB_BYTES)
    lines = ["first", "x" * content_bytes, "last"]
    batch = LogStream(PLAN).encode("".join(f"{line}\n" for line in lines).encode(), 0, NOW_NS)
    assert batch.entries == b"".join(entry(NOW_NS, [("log", line)]) for line in lines)
    assert batch.records == 3
    assert logs.ARENA.batch.out_capacity == SLAB_BYTES

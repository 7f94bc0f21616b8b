"""The log core against the plain Python of tests/reference, whole and in pieces."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.delivery.chunk import FileKey, Position
from collector.native import logs
from collector.native.logs import Arena, LogStream, json_pairs
from collector.plan import CRI_JOINED_LAYOUT, CRI_LAYOUT, Field, Framing, Layout, LogPlan, Merge, Op
from tests.native.log_inputs import LIMITS, NOW_NS, VECTORS, Follower, direct_plans, files, follow, plans
from tests.reference.json_msgpack import pack_pairs
from tests.reference.pairs import Object
from tests.reference.plan import Pairs, encode, entry

KUBERNETES = Field(Op.APPEND, "kubernetes", {"pod_name": "web-0", "labels": {"app": "web"}})
JOINED = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT).then(Merge(keep=False), KUBERNETES)
T1 = b"2024-01-02T03:04:05.123456789Z"
T1_NS = 1_704_164_645_123_456_789
T2 = b"2024-01-02T04:04:06+01:00"
T2_NS = 1_704_164_646_000_000_000


@given(files(), plans(), LIMITS, VECTORS, st.booleans())
def test_whole_file_as_the_reference(
    data: bytes, plan: LogPlan, limit: int, vectors: int, is_direct: bool
) -> None:
    made = follow(data, plan, limit, vectors=vectors, is_direct=is_direct)
    assert made.total == encode(data, plan, NOW_NS, limit)


@given(files(), direct_plans(), VECTORS)
def test_records_written_straight_to_their_place_are_as_the_reference(
    data: bytes, plan: LogPlan, vectors: int
) -> None:
    follower = Follower(plan, 1 << 20, vectors, slab_bytes=1 << 20)
    assert follower.stream.native_plan.direct.is_on
    follower.feed(data, end=True)
    assert follower.total == encode(data, plan, NOW_NS, 1 << 20)


@given(files(), plans(), LIMITS, st.lists(st.integers(0, 600), max_size=8))
def test_pieces_make_the_same_as_the_whole(data: bytes, plan: LogPlan, limit: int, cuts: list[int]) -> None:
    pieces = follow(data, plan, limit, [min(cut, len(data)) for cut in cuts])
    assert pieces.total == encode(data, plan, NOW_NS, limit)
    assert pieces.offset == len(data)
    assert pieces.stream.partials == (-1, -1)


@given(files(), plans(), LIMITS, st.lists(st.integers(0, 600), max_size=8), st.integers(0, 8))
def test_resumed_file_has_each_record_once(
    data: bytes, plan: LogPlan, limit: int, cuts: list[int], place: int
) -> None:
    """A new stream starts at any place that was reported; nothing is doubled or lost."""
    whole = follow(data, plan, limit, [min(cut, len(data)) for cut in cuts])
    position, entries_before = whole.places[place % len(whole.places)]
    resumed = Follower(plan, limit)
    resumed.resume(position)
    resumed.feed(data[resumed.offset :], end=True)
    assert entries_before + resumed.total.entries == whole.total.entries


CORPUS = (
    T1 + b' stdout F {"level":"info","n":12,"f":-1.5e3,"s":"a\\u00e9\\n"}\n'
    + T1 + b" stdout P first \r\n"
    + T2 + b" stderr P error \n"
    + T2 + b" stdout P second \n"
    + b"no CRI line\r\n\n"
    + T2 + b" stderr F end\n"
    + T1 + b" stdout F:x third\r\n\0\0\0"
    + T1 + b" stdout P open"
)  # fmt: skip
DOCKER = (
    b'{"log":"{\\"a\\":1}\\n","stream":"stdout","time":"' + T1 + b'"}\n'
    + b'{"log":"first ","stream":"stdout","attrs":{"x":"y"},"time":"' + T1 + b'"}\n'
    + b'{"log":"error ","stream":"stderr","time":"' + T2 + b'"}\n'
    + b'{"log":"second\\n","stream":"stdout","attrs":{"x":"z"},"time":"' + T2 + b'"}\n'
    + T2 + b" stderr F end\n"
    + b'{"log":"no time\\n","stream":"stdout"}\n\n'
    + b'{"log":"open","stream":"stdout","time":"' + T2 + b'"}'
)  # fmt: skip
PLANS = (
    JOINED,
    LogPlan(Framing.DOCKER_JOINED, CRI_JOINED_LAYOUT).then(Merge(keep=False), Field(Op.SET, "attrs", 1)),
    LogPlan(Framing.CONTAINER_JOINED, replace(CRI_JOINED_LAYOUT, offset="offset"), skips_empty=True),
    LogPlan(Framing.JSON, Layout(time="time")),
    LogPlan(Framing.LINE, Layout(), skips_long=True),
    LogPlan(Framing.CRI, CRI_LAYOUT).then(Field(Op.SET, "stream", "s")),
    LogPlan(Framing.LINE, Layout()),
    LogPlan(Framing.JSON, Layout()).then(Field(Op.ADD, "level", "none")),
)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.framing.name)
@pytest.mark.parametrize("limit", [10, 1000])
def test_every_split_of_a_file(plan: LogPlan, limit: int) -> None:
    for corpus in (CORPUS, DOCKER):
        expected = encode(corpus, plan, NOW_NS, limit)
        for cut in range(len(corpus) + 1):
            follower = follow(corpus, plan, limit, [cut])
            assert follower.total == expected
        assert follow(corpus, plan, limit, range(len(corpus))).total == expected


def test_records_of_docker_joined_by_stream() -> None:
    plan = LogPlan(Framing.CONTAINER_JOINED, CRI_JOINED_LAYOUT)
    batch = LogStream(plan).encode(DOCKER, 0, NOW_NS)
    t1, t2 = T1.decode(), T2.decode()
    expected: list[tuple[int, Pairs]] = [
        (T1_NS, [("log", '{"a":1}\n'), ("stream", "stdout"), ("time", t1)]),
        (
            T1_NS,
            [("log", "first second\n"), ("stream", "stdout"), ("attrs", Object([("x", "z")])), ("time", t1)],
        ),
        (T2_NS, [("time", t2), ("stream", "stderr"), ("_p", ""), ("log", "error end")]),
        (NOW_NS, [("log", '{"log":"no time\\n","stream":"stdout"}')]),
        (NOW_NS, [("log", "")]),
    ]  # fmt: skip
    assert batch.entries == b"".join(entry(time_ns, pairs) for time_ns, pairs in expected)


def test_parser_docker_takes_the_time_of_the_line() -> None:
    first = DOCKER[: DOCKER.index(b"\n") + 1]
    batch = LogStream(LogPlan(Framing.JSON, Layout(time="time"))).encode(first, 0, NOW_NS)
    assert batch.entries == entry(T1_NS, [("log", '{"a":1}\n'), ("stream", "stdout"), ("time", T1.decode())])


def test_long_lines_are_left_out_and_counted_when_asked() -> None:
    plan = LogPlan(Framing.LINE, Layout(), skips_long=True, skips_empty=True)
    data = b"a\n" + b"x" * 1000 + b"\n\nb\n"
    batch = LogStream(plan, max_record_bytes=10).encode(data, 0, NOW_NS)
    assert batch.entries == entry(NOW_NS, [("log", "a")]) + entry(NOW_NS, [("log", "b")])
    assert (batch.skipped, batch.skipped_bytes, batch.cut) == (1, 1000, 0)


def test_lines_of_a_group_come_again_from_where_it_began() -> None:
    """What joins whole lines later has its own open records; their first line is a partial like any other."""
    stream = LogStream(LogPlan(Framing.LINE, Layout()))
    assert stream.resume(Position(FileKey(1, 2), "0.log", 6, (2, -1))) == 2
    batch = stream.encode(b"b\nc\nd\n", 2, NOW_NS)
    assert batch.entries == b"".join(entry(NOW_NS, [("log", text)]) for text in "bcd")


def test_record_of_fluent_bits_multiline_cri_with_merge_log() -> None:
    data = T1 + b' stdout P {"a":1,\n' + T2 + b' stdout F "b":"x\\n"}\n'
    pairs = [("time", T1.decode()), ("stream", "stdout"), ("_p", "P"), ("a", 1), ("b", "x")]
    batch = LogStream(JOINED).encode(data, 0, NOW_NS)
    assert batch.entries == entry(T1_NS, [*pairs, (KUBERNETES.key, KUBERNETES.value)])
    assert batch[1:] == (1, len(data), (-1, -1), 0, 0, 0, 0, 0, 0)


def test_record_of_fluent_bits_parser_cri() -> None:
    data = T1 + b" stderr P half\n"
    batch = LogStream(LogPlan(Framing.CRI, CRI_LAYOUT)).encode(data, 0, NOW_NS)
    pairs = [("time", T1.decode()), ("stream", "stderr"), ("logtag", "P"), ("message", "half")]
    assert batch.entries == entry(T1_NS, pairs)


def test_empty_line_is_a_record_and_a_carriage_return_is_cut() -> None:
    batch = LogStream(LogPlan(Framing.LINE, Layout())).encode(b"\n\r\nx\r\n", 0, NOW_NS)
    values = ["", "\r", "x"]  # Fluent Bit's tail: only lines of two bytes and more lose theirs
    assert batch.entries == b"".join(entry(NOW_NS, [("log", value)]) for value in values)


def test_open_records_tell_where_they_began() -> None:
    stream = LogStream(JOINED)
    lines = [T1 + b" stdout F whole\n", T1 + b" stderr P e\n", T1 + b" stdout P o\n"]
    batch = stream.encode(b"".join(lines), 1000, NOW_NS)
    starts = (1000 + len(lines[0]) + len(lines[1]), 1000 + len(lines[0]))
    assert batch.partials == stream.partials == starts
    assert batch.records == 1


def test_record_over_the_bound_is_cut_and_marked() -> None:
    data = b"".join(T1 + b" stdout %c " % tag + b"x" * 7 + b"\n" for tag in b"PPF")
    batch = LogStream(JOINED, max_record_bytes=16).encode(data, 0, NOW_NS)
    pairs = [("time", T1.decode()), ("stream", "stdout"), ("_p", "P"), ("log", "x" * 16), ("truncated", True)]
    assert batch.entries == entry(T1_NS, [*pairs, (KUBERNETES.key, KUBERNETES.value)])
    assert (batch.cut, batch.cut_bytes) == (1, 5)


def test_open_records_of_all_streams_share_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record that finds the budget used up is cut at its end, counted and marked; others are whole."""
    before = logs.open_records_bytes()
    monkeypatch.setattr(logs._BUDGET, "limit_bytes", before + 20_000)
    plan = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)
    hungry, late = LogStream(plan), LogStream(plan)
    hungry.encode(T1 + b" stdout P " + b"h" * 12_000 + b"\n", 0, NOW_NS)
    late.encode(T1 + b" stdout P first\n" + T1 + b" stdout P " + b"l" * 12_000 + b"\n", 0, NOW_NS)
    assert hungry.encode(T1 + b" stdout F end\n", 0, NOW_NS)[4:] == (0, 0, 0, 0, 0, 0)
    hungry.close()
    batch = late.encode(T1 + b" stdout F end\n", 0, NOW_NS)
    assert (batch.cut, batch.starved) == (1, 1)
    kept = 5 + 12_000 + 3 - batch.cut_bytes
    pairs = [("time", T1.decode()), ("stream", "stdout"), ("_p", "P")]
    log = ("first" + "l" * 12_000)[:kept]
    assert batch.entries == entry(T1_NS, [*pairs, ("log", log), ("truncated", True)])
    late.close()
    assert logs.open_records_bytes() == before


def test_memory_of_a_large_record_goes_back() -> None:
    stream = LogStream(JOINED)
    before = logs.open_records_bytes()
    stream.encode(T1 + b" stdout P " + b"x" * 1_000_000 + b"\n", 0, NOW_NS)
    assert 1_000_000 < logs.open_records_bytes() - before < 2_000_000
    stream.encode(T1 + b" stdout F \n", 0, NOW_NS)
    assert logs.open_records_bytes() == before


def test_line_longer_than_any_buffer_makes_one_record() -> None:
    """A line of 300 KiB through a buffer of 64 KiB, bounded at 100 KiB; then all goes on as before."""
    line = T1 + b" stdout F " + b"y" * (300 << 10) + b"\n"
    data = line + T1 + b" stdout F next\n"
    follower = Follower(LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT), 100 << 10)
    for start in range(0, len(data), 64 << 10):
        batch = follower.feed(data[start : start + (64 << 10)])
        if start == 64 << 10:
            assert (batch.consumed, batch.partials) == (64 << 10, (0, -1))
        assert len(follower.pending) < 64 << 10
    assert follower.total == encode(data, LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT), NOW_NS, 100 << 10)


def test_overlong_line_without_newline_is_not_lost_over_a_restart() -> None:
    data = b"z" * 70_000
    whole = follow(data, LogPlan(Framing.LINE, Layout()), 1 << 20, [len(data)])
    resumed = Follower(LogPlan(Framing.LINE, Layout()), 1 << 20)
    resumed.resume(whole.places[0][0])
    resumed.feed(data[resumed.offset :], end=True)
    assert resumed.total == whole.total
    assert resumed.total.records == 1


def test_hole_of_a_truncated_file_is_passed_over() -> None:
    hole = b"\0" * 200_000
    stream = LogStream(LogPlan(Framing.LINE, Layout()))
    assert stream.encode(hole, 0, NOW_NS)[:3] == (b"", 0, len(hole))
    assert stream.encode(hole + b"x\n", len(hole), NOW_NS).entries == entry(NOW_NS, [("log", "x")])


def test_output_too_small_for_one_record_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = LogStream(JOINED)
    monkeypatch.setattr(logs, "ARENA", Arena(slab_bytes=20))
    with pytest.raises(MemoryError, match="output buffer is too small"):
        stream.encode(T1 + b" stdout F x\n", 0, NOW_NS)  # no scratch memory was reserved in this arena


def test_many_appended_fields_are_one_copy_and_all_there() -> None:
    steps = [Field(Op.APPEND, f"k{number}", number) for number in range(70_000)]
    batch = LogStream(LogPlan(Framing.LINE, Layout()).then(*steps)).encode(b"x\n", 0, NOW_NS)
    assert batch.entries == entry(NOW_NS, [("log", "x"), *((step.key, step.value) for step in steps)])


def test_plan_changes_between_batches() -> None:
    stream = LogStream(LogPlan(Framing.LINE, Layout()))
    first = bytes(stream.encode(b"x\n", 0, NOW_NS).entries)
    stream.set_plan(LogPlan(Framing.LINE, Layout(content="message")))
    assert first + stream.encode(b"y\n", 2, NOW_NS).entries == entry(NOW_NS, [("log", "x")]) + entry(
        NOW_NS, [("message", "y")]
    )


def test_closed_stream_may_be_closed_again() -> None:
    stream = LogStream(JOINED)
    stream.encode(T1 + b" stdout P open\n", 0, NOW_NS)
    stream.close()
    stream.close()


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_map_headers_are_the_shortest(count: int) -> None:
    text = "{" + ",".join(f'"{number}":0' for number in range(count)) + "}"
    pairs = json_pairs(text.encode())
    assert pairs is not None
    body = pack_pairs([(str(number), 0) for number in range(count)])
    assert (pairs[0], body[len(body) - len(pairs[1]) :]) == (count, pairs[1])
    nested = json_pairs(b'{"":' + text.encode() + b"}")
    assert nested == (1, b"\xa0" + body)


def test_the_plan_of_a_file_that_says_nothing_is_not_kept() -> None:
    plan = LogPlan(Framing.LINE, Layout(content="log"), (Field(Op.APPEND, "key", "value"),))
    stream = LogStream(plan)
    before = stream.encode(b"one\n", 0, 0)
    made = weakref.ref(stream.native_plan)
    logs.forget_unused_plans()
    assert made() is not None
    logs.forget_unused_plans()
    assert made() is None
    assert stream.encode(b"one\n", 0, 0) == before
    with logs.ARENA.lock:  # somebody reads, for as long as the file system likes
        logs.forget_unused_plans()
    stream.close()

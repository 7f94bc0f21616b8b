"""Entries come out of the general path as they went in."""

from __future__ import annotations

import contextlib
import math
import tracemalloc
from time import process_time
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.entries import has_key, memory_bytes, pack_entry, rewrite, spans, time_ns, unpack_entries

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=40)
    | st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)
records = st.lists(st.tuples(st.sampled_from(["a", "b", "log"]) | scalars, values), max_size=20)
TIME_NS = 1_700_000_000_000_000_005
times = st.integers(0, (2**32 - 1) * 10**9)


@given(times, records)
def test_what_is_packed_is_unpacked(time: int, pairs: list[tuple[Any, Any]]) -> None:
    assert list(unpack_entries(pack_entry(time, pairs) * 2)) == [(time, pairs)] * 2


@given(times, st.lists(st.tuples(st.text(max_size=3), values), max_size=6), st.text(max_size=3))
def test_a_key_is_found_where_it_is_not_deeper(time: int, pairs: list[tuple[Any, Any]], key: str) -> None:
    assert has_key(pack_entry(time, pairs), key) == any(name == key for name, _ in pairs)
    assert not has_key(pack_entry(time, [("", {key: 1})]), key or "x")


@given(st.lists(st.tuples(times, records), max_size=5))
def test_untouched_records_keep_their_bytes(entries: list[tuple[int, list[tuple[Any, Any]]]]) -> None:
    packed = b"".join(pack_entry(time, pairs) for time, pairs in entries)
    assert rewrite(packed, lambda pairs: pairs) == (packed, len(entries))


# What no msgpack library would write again the same way: long forms, float32, duplicates, ext, bad UTF-8.
ODD = (
    b"\x92\xd7\x00" + b"\x00" * 8 + b"\xde\x00\x07"
    b"\xa1a\xcf\x00\x00\x00\x00\x00\x00\x00\x05"
    b"\xa1a\xca\x3f\x80\x00\x00"
    b"\xa1m\x82\xa1q\x01\xa1q\x02"
    b"\xd9\x01x\xda\x00\x02\xff\xfe"
    b"\xa1e\xc7\x03\x07abc"
    b"\xc4\x01k\xc4\x01v"
    b"\x81\xa1n\x01\xc0"
)


def test_odd_encodings_survive() -> None:
    assert rewrite(ODD, lambda pairs: pairs) == (ODD, 1)


def test_odd_encodings_survive_beside_a_changed_pair() -> None:
    changed, _ = rewrite(ODD, lambda pairs: [*pairs[1:], ("new", 1)])
    assert changed == ODD.replace(b"\xa1a\xcf\x00\x00\x00\x00\x00\x00\x00\x05", b"") + b"\xa3new\x01"


def test_dropped_records_are_gone() -> None:
    packed = pack_entry(0, [("a", 1)]) + pack_entry(0, [("b", 1)])
    assert rewrite(packed, lambda pairs: pairs if pairs[0][0] == "b" else None) == (
        pack_entry(0, [("b", 1)]),
        1,
    )


def test_maps_that_are_keys_of_maps_that_are_keys_cost_no_more_than_their_bytes() -> None:
    """Written out in each other they would double with every level."""
    inner = b"\x81\xa1k\x01"
    for _ in range(300):
        inner = b"\x81" + inner + b"\x01"
    begin_s = process_time()
    ((_, pairs),) = unpack_entries(b"\x92\x00\x81\xa1a" + inner)
    assert process_time() - begin_s < 1
    ((key, value),) = pairs[0][1].items()
    assert (len(key) < 300, value) == (True, 1)


def test_long_keys_that_are_maps_stay_apart() -> None:
    keys = [b"\x82\xa1k\xda\x01\x00" + b"x" * 256 + b"\xa1n" + bytes([number]) for number in range(3)]
    ((_, pairs),) = unpack_entries(b"\x92\x00\x81\xa1a\x83" + b"".join(key + b"\x05" for key in keys))
    assert len(pairs[0][1]) == 3


@pytest.mark.parametrize("size", [0, 15, 16, 65535, 65536])
def test_records_of_any_size(size: int) -> None:
    pairs = [(number, None) for number in range(size)]
    packed = pack_entry(0, pairs)
    assert packed == b"\x92\xd7\x00" + b"\x00" * 8 + msgpack.packb(dict(pairs))
    assert next(unpack_entries(packed)) == (0, pairs)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (msgpack.ExtType(0, b"\x00\x00\x00\x01\x00\x00\x00\x02"), 1_000_000_002),
        (7, 7_000_000_000),
        (1.5, 1_500_000_000),
        ([7, {}], 7_000_000_000),
    ],
)
def test_times(time: Any, expected: int) -> None:
    assert time_ns(time) == expected


@pytest.mark.parametrize("time", ["now", None, True, [], math.nan, math.inf, msgpack.ExtType(1, b"12345678")])
def test_what_is_no_time(time: Any) -> None:
    with pytest.raises(ValueError, match="not the time"):
        time_ns(time)


def test_times_out_of_range_are_clamped() -> None:
    assert next(unpack_entries(pack_entry(-1, [])))[0] == 0
    assert next(unpack_entries(pack_entry(10**30, [])))[0] == 0xFFFFFFFF * 10**9 + 10**9 - 1


@given(
    st.binary(max_size=60) | st.binary(max_size=60).map(lambda noise: pack_entry(0, [("a", {})])[:-1] + noise)
)
def test_noise_raises_only_value_error(noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        list(unpack_entries(noise))


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgpack's own StackError has no text
        list(unpack_entries(b"\x92\x00\x81\xa1a" + b"\x91" * 5000 + b"\x01"))


def test_cut_entries_are_refused_with_the_place() -> None:
    packed = pack_entry(0, [("a", 1)])
    with pytest.raises(ValueError, match=f"cut after {len(packed)} bytes"):
        list(unpack_entries(packed + packed[:5]))


@pytest.mark.parametrize("value", [b"\xd4\xff\x01", b"\xc7\x0c\xff" + b"\xff" * 12])
def test_a_record_that_can_not_be_decoded_is_kept_raw(value: bytes) -> None:
    good, record = pack_entry(TIME_NS, [("a", 1)]), b"\x81\xa1t" + value
    entries = good + good[:-4] + record + good
    assert list(unpack_entries(entries)) == [
        (TIME_NS, [("a", 1)]),
        (TIME_NS, [("log", record)]),
        (TIME_NS, [("a", 1)]),
    ]
    assert rewrite(entries, lambda pairs: pairs) == (entries, 3)
    changed, records = rewrite(entries, lambda pairs: [*pairs, ("b", 2)])
    assert records == 3
    assert [pairs for _, pairs in unpack_entries(changed)][1] == [("log", record), ("b", 2)]


def test_extensions() -> None:
    entries = pack_entry(TIME_NS, [])[:-1] + b"\x82\xa1a\xd4\xfe\x07\xa1b\xd4\x05\x07"
    assert list(unpack_entries(entries)) == [(TIME_NS, [("a", b"\x07"), ("b", msgpack.ExtType(5, b"\x07"))])]


def test_spans() -> None:
    one, two = pack_entry(TIME_NS, [("a", 1)]), pack_entry(TIME_NS, [])
    assert list(spans(one + two)) == [one, two]
    with pytest.raises(ValueError, match="cut after 0 bytes"):
        list(spans(one[:-1]))


def test_many_records_that_can_not_be_decoded_cost_their_number_and_not_its_square() -> None:
    one = pack_entry(TIME_NS, [])[:-1] + b"\x81\xa1t\xd4\xff\x01"

    def cost_s(count: int) -> float:
        begin_s = process_time()
        assert sum(1 for _ in unpack_entries(one * count)) == count
        return process_time() - begin_s

    cost_s(1000)
    assert cost_s(80_000) < 12 * cost_s(20_000)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1_000_000,
        ["x" * 1000] * 1000,
        [[]] * 30_000,
        [{}] * 30_000,
        [{str(number): {"y": [0.5]}} for number in range(5000)],
        {"x" * 1000 + str(number): None for number in range(1000)},
    ],
    ids=["text", "texts", "lists", "maps", "nested", "keys"],
)
def test_memory_of_a_value_is_what_decoding_takes(value: Any) -> None:
    packed = msgpack.packb(value)
    tracemalloc.start()
    decoded = msgpack.unpackb(packed)
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.9 * taken_bytes < memory_bytes(decoded) < 2 * taken_bytes

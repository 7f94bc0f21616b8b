"""A record keeps the bytes of what nobody touched, and its time unless it is given another."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.entries import pack_entry, pack_time, unpack_entries
from collector.record import Record, packed, records_of

VALUES = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.text(max_size=5), st.none(), st.lists(st.booleans(), max_size=2)
)
PAIRS = st.lists(st.tuples(st.text(max_size=4), VALUES), max_size=20)


@given(st.lists(st.tuples(st.integers(0, 2**60), PAIRS), max_size=5))
def test_untouched_records_keep_their_bytes(written: list[tuple[int, list[tuple[str, object]]]]) -> None:
    entries = b"".join(pack_entry(time_ns, pairs) for time_ns, pairs in written)
    assert packed(records_of(entries)) == entries


def test_odd_forms_of_numbers_and_headers_are_kept() -> None:
    long_seven = b"\xd3" + (7).to_bytes(8, "big")
    entry = b"\x92" + pack_time(5) + b"\xdf\x00\x00\x00\x02" + b"\xa1a" + long_seven + b"\xa1b\x01"
    (record,) = records_of(entry)
    assert record.packed() == entry
    record.pairs = [*record.pairs, ("c", 1)]
    assert record.packed() == b"\x92" + pack_time(5) + b"\x83" + b"\xa1a" + long_seven + b"\xa1b\x01\xa1c\x01"


def test_another_time_and_other_pairs() -> None:
    (record,) = records_of(pack_entry(5, [("a", 1), ("b", 2)]))
    assert record.time_ns == 5
    other = record.like([record.pairs[1], ("c", 3)], 9)
    assert list(unpack_entries(other.packed())) == [(9, [("b", 2), ("c", 3)])]
    assert list(unpack_entries(record.like([("x", 1)]).packed())) == [(5, [("x", 1)])]


def test_a_record_made_anew() -> None:
    assert list(unpack_entries(Record([("a", "b")], 7).packed())) == [(7, [("a", "b")])]


def test_metadata_beside_the_time_stays() -> None:
    entry = b"\x92\x92" + pack_time(3) + b"\x81\xa1m\x01" + b"\x81\xa1a\x01"
    (record,) = records_of(entry)
    assert record.time_ns == 3
    record.pairs = [("z", 1)]
    assert record.packed() == b"\x92\x92" + pack_time(3) + b"\x81\xa1m\x01" + b"\x81\xa1z\x01"


def test_memory_is_that_of_all_it_holds() -> None:
    """Metadata, pairs as they came and decoded, and one that a filter took the place of."""
    large = "x" * 100_000
    body = {"m": large}
    entry = b"\x92\x92" + pack_time(3) + msgpack.packb(body) + msgpack.packb({"a": large, "b": large})
    (record,) = records_of(entry)
    assert 6 * len(large) < record.memory_bytes < 6 * len(large) + 4000
    record = record.like([record.pairs[0], ("b", large)])
    assert 7 * len(large) < record.memory_bytes < 7 * len(large) + 4000
    made = Record([("a", large)], 7)
    assert len(large) < made.memory_bytes < len(large) + 1000


def test_what_is_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="cut"):
        list(records_of(msgpack.packb([1, {"a": 1}])[:-1]))

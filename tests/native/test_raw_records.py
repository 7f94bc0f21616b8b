"""collector.native.raw_records: what a drain hands back is taken apart again."""

from __future__ import annotations

from collector._native import lib
from hypothesis import given
from hypothesis import strategies as st

from collector.native.raw_records import HEAD, RawRecord, split
from tests.reference import event_records as records


@given(st.lists(st.sampled_from(records.SHIPPED).flatmap(records.filled), max_size=5))
def test_records_are_taken_apart_as_they_were_put_together(made: list[bytes]) -> None:
    padded = [record + bytes(-len(record) % 8) for record in made]
    heads = [HEAD.unpack_from(record) for record in made]
    assert list(split(b"".join(padded))) == [
        RawRecord(kind, cgroup_id, record)
        for (kind, *_, cgroup_id), record in zip(heads, padded, strict=True)
    ]


def test_a_head_is_that_of_the_header_file() -> None:
    raw = HEAD.pack(lib.PW_FORK, 0, HEAD.size, 5, 7)
    assert list(split(raw)) == [RawRecord(lib.PW_FORK, 7, raw)]

"""Entries on the general path: read, rewritten with and without a change, read again."""

from __future__ import annotations

from collector.entries import count, pack_entry, rewrite, unpack_entries


def target(data: bytes) -> None:
    try:
        records = list(unpack_entries(data))
    except ValueError:
        return
    assert count(data) == len(records)
    kept, left = rewrite(data, lambda pairs: pairs)
    assert (kept, left) == (data, len(records))
    longer, left = rewrite(data, lambda pairs: [*pairs, ("added", 1)])
    assert left == len(records)
    # As text, in which a NaN is like another.
    assert repr([pairs[:-1] for _, pairs in unpack_entries(longer)]) == repr([pairs for _, pairs in records])
    for time_ns, pairs in records:
        pack_entry(time_ns, pairs)

"""Chunks for tests of outputs: with views of memory, as those of files mostly are."""

from __future__ import annotations

from typing import Any

from collector.delivery.chunk import Chunk, chunk_id
from collector.entries import pack_entry

TIME_NS = 1_700_000_000_000_000_000


def chunk(*records: list[tuple[Any, Any]], tag: str = "kube.x") -> Chunk:
    """Records a second apart, the first at TIME_NS + 5."""
    entries = b"".join(
        pack_entry(TIME_NS + number * 10**9 + 5, pairs) for number, pairs in enumerate(records)
    )
    return Chunk(b"i" * 16, tag, memoryview(entries), len(records), "tail.0", 0)


def chunk_of(*records: dict[Any, Any], tag: str = "kube.a", time_ns: int = TIME_NS) -> Chunk:
    """Records of one time; the id is that of the content."""
    entries = b"".join(pack_entry(time_ns, list(record.items())) for record in records)
    return Chunk(chunk_id(tag, entries), tag, memoryview(entries), len(records), "tail.0", 0)


def broken(tag: str = "kube.x") -> Chunk:
    return Chunk(b"i" * 16, tag, b"\x92\x00", 1, "tail.0", 0)

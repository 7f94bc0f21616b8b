"""An output behind processors: what it gets, what is counted, and that a second try gets the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collector.delivery.chunk import Chunk
from collector.entries import Pairs, pack_entry, unpack_entries
from collector.filters import grep, modify
from collector.filters.chain import Counts
from collector.packing import pack
from collector.plugin import AnyFilter, DeliveryError
from collector.processed_output import ProcessedOutput
from tests.unit.filtering import SectionText, make


class Receiver:
    """Keeps what it is given; refuses it as often as `failures` says."""

    deliveries = 3

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.chunks: list[Chunk] = []
        self.is_closed = False

    async def deliver(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if len(self.chunks) <= self.failures:
            raise DeliveryError("not now")

    async def close(self) -> None:
        self.is_closed = True


def chunk(*records: Pairs) -> Chunk:
    entries = b"".join(pack_entry(number, record) for number, record in enumerate(records))
    return Chunk(bytes(16), "t", entries, len(records), "dummy.0", 0)


def processors(folder: Path) -> list[AnyFilter]:
    return [
        make(grep, SectionText(folder, "Exclude log secret")),
        make(modify, SectionText(folder, "Add by output")),
    ]


def pairs(given: Chunk) -> list[tuple[int, Pairs]]:
    return list(unpack_entries(given.entries))


def test_each_try_gets_the_same_and_what_was_delivered_is_counted_once(tmp_path: Path) -> None:
    receiver, counts = Receiver(failures=1), []
    made = processors(tmp_path)
    output = ProcessedOutput(receiver, made, lambda *count: counts.append(count))
    given = chunk([("log", "a")], [("log", "a secret")], [("log", "b")])
    with pytest.raises(DeliveryError, match="not now"):
        asyncio.run(output.deliver(given))
    assert counts == []
    asyncio.run(output.deliver(given))
    first, second = receiver.chunks
    assert first == second
    assert pairs(first) == [(0, [("log", "a"), ("by", "output")]), (2, [("log", "b"), ("by", "output")])]
    assert (first.records, first.id, first.tag) == (2, given.id, given.tag)
    sent_bytes = len(given.entries) - len(pack_entry(1, [("log", "a secret")]))
    kept = Counts(passed=2, passed_bytes=sent_bytes + 2 * len(pack("by") + pack("output")))
    assert counts == [(made[0], Counts(dropped=1)), (made[0], kept), (made[1], kept)]
    assert (output.deliveries, given.records) == (3, 3)


def test_a_chunk_of_which_nothing_is_left_is_delivered(tmp_path: Path) -> None:
    receiver = Receiver()
    output = ProcessedOutput(receiver, processors(tmp_path), lambda *_: None)
    asyncio.run(output.deliver(chunk([("log", "secret")])))
    assert receiver.chunks == []
    asyncio.run(output.close())
    assert receiver.is_closed


def test_what_is_no_chunk_is_not_delivered(tmp_path: Path) -> None:
    output = ProcessedOutput(Receiver(), processors(tmp_path), lambda *_: None)
    broken = Chunk(bytes(16), "t", b"\xc1", 1, "dummy.0", 0)
    with pytest.raises(DeliveryError, match="its processors can't read the chunk"):
        asyncio.run(output.deliver(broken))

"""Compressed files read in pieces (collector.inputs.tail_gzip)."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import resource
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.inputs.tail_gzip import Damaged, GzipReader, head, size_mod_4gib

CONTENT = b"".join(b"line %d %d\n" % (number, number * number) for number in range(5000))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(CONTENT))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def read_all(fd: int, count: int) -> bytes:
    reader = GzipReader(fd)
    return b"".join(iter(lambda: reader.read(count), b""))


def fd_of(content: bytes) -> int:
    fd = os.memfd_create("gzip")
    os.write(fd, content)
    return fd


@pytest.mark.parametrize("count", [7, 1000, 1 << 20])
def test_pieces_are_the_whole(opened: int, count: int) -> None:
    assert read_all(opened, count) == CONTENT
    assert size_mod_4gib(opened) == len(CONTENT)
    assert head(opened, 100) == CONTENT[:100]


def test_reading_goes_on_where_it_was(opened: int) -> None:
    reader = GzipReader(opened)
    assert reader.skip(12_345) == 12_345
    assert reader.offset == 12_345
    assert reader.read(10) == CONTENT[12_345:12_355]
    assert reader.skip(1 << 30) == len(CONTENT) - 12_355


def test_members_one_behind_the_other_and_padding() -> None:
    fd = fd_of(gzip.compress(b"a\n") + gzip.compress(b"") + gzip.compress(b"b\n" * 100_000) + b"\0" * 70_000)
    assert read_all(fd, 1000) == b"a\n" + b"b\n" * 100_000
    os.close(fd)


def test_damage_is_told_behind_what_is_good(opened: int) -> None:
    whole = gzip.compress(CONTENT)
    turned = bytearray(whole)
    turned[-6] ^= 1  # of the checksum
    for content, good in ((whole[: len(whole) // 2], 1000), (bytes(turned), 0), (b"\x1f\x8bno", 0)):
        fd = fd_of(content)
        reader = GzipReader(fd)
        found = bytearray()
        with pytest.raises(Damaged):  # noqa: PT012 - all pieces before it count
            while piece := reader.read(1000):
                found += piece
        assert CONTENT.startswith(found)
        assert len(found) >= good
        os.close(fd)


def test_what_unpacks_to_a_thousand_times_its_size_takes_no_memory() -> None:
    fd = fd_of(gzip.compress(b"\0" * (512 << 20), compresslevel=1))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader = GzipReader(fd)
    pieces = 0
    while reader.read(64 << 10):
        pieces += 1
    os.close(fd)
    assert reader.offset == 512 << 20
    assert pieces >= 8192
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8 << 10


@given(st.binary(max_size=300), st.integers(0, 10_000), st.integers(1, 300), st.integers(0, 255))
def test_any_bytes_are_read_or_damage(content: bytes, at: int, count: int, byte: int) -> None:
    """Whatever stands in the file: pieces within their bound, and an end."""
    packed = bytearray(gzip.compress(content) + gzip.compress(content[:10]))
    packed[at % len(packed)] = byte
    fd = fd_of(bytes(packed))
    reader = GzipReader(fd)
    try:
        with contextlib.suppress(Damaged):
            while piece := reader.read(count):
                assert len(piece) <= count
            assert reader.offset <= 400
    finally:
        os.close(fd)


def test_random_content_of_some_size() -> None:
    content = random.Random(1).randbytes(1 << 20)
    fd = fd_of(gzip.compress(content))
    assert read_all(fd, 12_345) == content
    os.close(fd)


def until_damage(reader: GzipReader, count: int) -> Iterator[bytes]:
    with contextlib.suppress(Damaged):
        while piece := reader.read(count):
            yield piece


@pytest.mark.parametrize("count", [100, 4096, 1 << 20])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.99])
def test_all_that_is_before_the_damage_is_read_however_much_is_asked_for(count: int, at: float) -> None:
    packed = bytearray(gzip.compress(CONTENT, mtime=0))
    place = int(len(packed) * at)
    packed[place : place + 8] = b"\xff" * 8
    fd = fd_of(bytes(packed))
    reader = GzipReader(fd)
    found = b"".join(until_damage(reader, count))
    good = zlib.decompressobj(31)
    least = sum(len(good.decompress(packed[one : one + 1])) for one in range(place - 1))
    assert len(found) >= least
    assert CONTENT.startswith(found[:least])
    assert reader.offset == len(found)
    with pytest.raises(Damaged, match="Error -3"):
        reader.read(count)
    os.close(fd)

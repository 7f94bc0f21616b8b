"""Payloads there and back, cut, garbled, and larger than they may be."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector import compression
from collector.compression import TooLarge, compress, decompress

KINDS = ("gzip", "zstd")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.binary(max_size=4096))
def test_there_and_back(kind: str, data: bytes) -> None:
    packed = compress(data, kind)
    assert decompress(packed, kind, len(data)) == data
    independent = (
        gzip.decompress(packed) if kind == "gzip" else zstandard.ZstdDecompressor().decompress(packed)
    )
    assert independent == data


@pytest.mark.parametrize("kind", KINDS)
def test_several_members_are_one_payload(kind: str) -> None:
    packed = compress(b"one", kind) + compress(b"two", kind)
    assert decompress(packed, kind, 6) == b"onetwo"
    with pytest.raises(TooLarge, match="more than 5 bytes once decompressed"):
        decompress(packed, kind, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_or_garbled(kind: str) -> None:
    packed = compress(bytes(range(256)) * 20, kind)
    for cut in (len(packed) - 1, len(packed) // 2, 5):
        with pytest.raises(ValueError, match="ends too early"):
            decompress(packed[:cut], kind, 1 << 20)
    with pytest.raises(ValueError, match=f"not {kind}"):
        decompress(b"neither of them", kind, 1 << 20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_takes_no_more_memory_than_its_bound(kind: str) -> None:
    bomb = compress(bytes(64 << 20), kind)
    assert len(bomb) < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decompress(bomb, kind, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_window_larger_than_the_bound_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = frame.compress(b"x" * 100) + frame.flush()
    assert zstandard.get_frame_parameters(packed).window_size == 1 << 27
    with pytest.raises(ValueError, match=r"not zstd: .*memory"):
        decompress(packed, "zstd", 100)
    assert decompress(packed, "zstd", 1 << 27) == b"x" * 100


def test_a_zstd_that_is_not_there_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    compression.require("gzip")
    compression.require("zstd")
    monkeypatch.setattr(compression, "has_zstd", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'podwitness\[zstd\]'"):
        compression.require("zstd")

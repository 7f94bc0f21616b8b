"""The Huffman code of HPACK: collector.cri.huffman against the RFC's examples and its own properties."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.cri import huffman


@pytest.mark.parametrize(
    ("coded", "text"),
    [  # RFC 7541, C.4 and C.6
        ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
        ("a8eb10649cbf", "no-cache"),
        ("25a849e95ba97d7f", "custom-key"),
        ("25a849e95bb8e8b4bf", "custom-value"),
        ("6402", "302"),
        ("aec3771a4b", "private"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
        ("9bd9ab", "gzip"),
        ("", ""),
    ],
)
def test_examples_of_the_rfc(coded: str, text: str) -> None:
    assert huffman.decode(bytes.fromhex(coded)) == text.encode()


def test_every_byte_has_a_code_and_no_code_begins_another() -> None:
    symbols = b"".join(huffman._SYMBOLS.values())
    assert sorted(symbols) == list(range(256))
    # With the end of the text, 30 bits long, the code is complete (Kraft).
    assert sum(len(of) * 2 ** (30 - bits) for bits, of in huffman._SYMBOLS.items()) + 1 == 2**30


@pytest.mark.parametrize("coded", ["00", "1f00", "ffffffff", "ff", "fffffffc"])
def test_what_is_cut_or_holds_the_end_is_refused(coded: str) -> None:
    """`00` is a digit and three bits that are no padding; eight ones are more than padding may be."""
    with pytest.raises(ValueError, match="text"):
        huffman.decode(bytes.fromhex(coded))


@given(st.binary(max_size=40))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(huffman.decode(data)) <= len(data) * 8 // 5

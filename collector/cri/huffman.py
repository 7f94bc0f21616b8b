"""The Huffman code of HPACK (RFC 7541, appendix B), read.

The code is canonical: the codes of a length follow one another in the order of their symbols, and begin
where the next shorter ones end. So the symbols by length are all that there is to it.
"""

from __future__ import annotations

_SYMBOLS: dict[int, bytes] = {
    5: bytes.fromhex("303132616365696f7374"),
    6: bytes.fromhex("20252d2e2f333435363738393d415f62646667686c6d6e707275"),
    7: bytes.fromhex("3a42434445464748494a4b4c4d4e4f5051525354555657596a6b71767778797a"),
    8: bytes.fromhex("262a2c3b585a"),
    10: bytes.fromhex("212228293f"),
    11: bytes.fromhex("272b7c"),
    12: bytes.fromhex("233e"),
    13: bytes.fromhex("0024405b5d7e"),
    14: bytes.fromhex("5e7d"),
    15: bytes.fromhex("3c607b"),
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("8184858688929a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("0187898a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    30: bytes.fromhex("0a0d16"),
}
_LONGEST = max(_SYMBOLS)


def decode(data: bytes) -> bytes:
    """The text. Raises ValueError for what is no such code."""
    found = bytearray()
    code = first = length = 0  # of the symbol under way; the first code of its length so far
    for at in range(len(data) * 8):
        code = code << 1 | data[at >> 3] >> (7 - (at & 7)) & 1
        length += 1
        first <<= 1
        symbols = _SYMBOLS.get(length, b"")
        if code - first < len(symbols):
            found.append(symbols[code - first])
            code = first = length = 0
        elif length >= _LONGEST:
            raise ValueError("the end of the text within it")
        else:
            first += len(symbols)
    if length > 7 or code != (1 << length) - 1:
        raise ValueError("the text is cut")
    return bytes(found)

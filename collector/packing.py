"""Values as msgpack, by one packer.

Each packer has a buffer of 256 KiB, before msgpack 1.1 of 1 MiB. msgpack.packb() makes one for each value:
that takes few pages, but leaves holes in the heap, which grows.
"""

from __future__ import annotations

from typing import Any

import msgpack

KEPT_BYTES = 256 << 10
"""What a larger value made of the buffer is not kept."""


def _new_packer() -> Any:
    return msgpack.Packer(unicode_errors="surrogateescape")


_packer = _new_packer()


def pack(value: Any) -> bytes:
    """Of one value; text that is not UTF-8 comes through surrogateescape. May be called in any thread."""
    global _packer
    # In one step as far as other threads are concerned: a packer keeps the GIL.
    packed: bytes = _packer.pack(value)
    if len(packed) > KEPT_BYTES:
        _packer = _new_packer()
    return packed

"""Compression of payloads, gzip and zstd; what comes from others is unpacked within a bound.

zstd needs the library zstandard (Python has it only from 3.14 on), which is loaded
when it is asked for: 4 MiB of memory that a node without it keeps.
"""

from __future__ import annotations

import importlib.util
import io
import zlib
from typing import Any

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to ask for a gzip header
_PIECE_BYTES = 1 << 16
MISSING_ZSTD = (
    "asks for zstd, but the Python library zstandard is not installed (pip install 'podwitness[zstd]')."
)


class TooLarge(ValueError):
    """What was compressed is larger than it may be."""


def has_zstd() -> bool:
    """Whether zstd can be used."""
    return importlib.util.find_spec("zstandard") is not None


def require(compression: str | None) -> None:
    """Raises ValueError with a sentence where this compression can't be done."""
    if compression == "zstd" and not has_zstd():
        raise ValueError(MISSING_ZSTD)


def compress(data: bytes | memoryview, compression: str) -> bytes:
    """To be called in a thread: 2 MiB take some 50 ms by gzip. Both libraries let others run meanwhile."""
    if compression == "gzip":
        return zlib.compress(data, wbits=_GZIP)
    packed: bytes = _zstandard().ZstdCompressor().compress(data)
    return packed


def decompress(data: bytes, compression: str, limit_bytes: int) -> bytes:
    """All members (gzip) or frames (zstd) one after the other.

    Raises TooLarge beyond `limit_bytes`, and ValueError for what is not of this kind or cut.
    """
    return _gunzip(data, limit_bytes) if compression == "gzip" else _unzstd(data, limit_bytes)


def _gunzip(data: bytes, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data:
        member = zlib.decompressobj(_GZIP)
        rest = data
        while not member.eof:
            try:
                part = member.decompress(rest, _PIECE_BYTES)
            except zlib.error as reason:
                raise ValueError(f"not gzip: {reason}") from None
            rest = member.unconsumed_tail
            if not part and not rest and not member.eof:
                raise ValueError("gzip that ends too early")
            size += len(part)
            if size > limit_bytes:
                raise TooLarge(f"more than {limit_bytes} bytes once decompressed")
            parts.append(part)
        data = member.unused_data
    return b"".join(parts)


def _unzstd(data: bytes, limit_bytes: int) -> bytes:
    library = _zstandard()
    # The window is what a frame may make the decoder allocate before its first byte of output.
    window_bytes = max(limit_bytes, 1 << 23)
    try:
        reader = library.ZstdDecompressor(max_window_size=window_bytes).stream_reader(
            io.BytesIO(data), read_across_frames=True
        )
        unpacked: bytes = reader.read(limit_bytes + 1)
        if len(unpacked) > limit_bytes:
            raise TooLarge(f"more than {limit_bytes} bytes once decompressed")
        # A reader tells a cut frame from its end by nothing; the object for a single frame does.
        if not _is_whole(library, data, window_bytes):
            raise ValueError("zstd that ends too early")
    except library.ZstdError as reason:
        raise ValueError(f"not zstd: {reason}") from None
    return unpacked


def _is_whole(library: Any, data: bytes, window_bytes: int) -> bool:
    while data:
        frame = library.ZstdDecompressor(max_window_size=window_bytes).decompressobj()
        frame.decompress(data)
        if not frame.eof:
            return False
        data = frame.unused_data
    return True


def _zstandard() -> Any:
    import zstandard

    return zstandard

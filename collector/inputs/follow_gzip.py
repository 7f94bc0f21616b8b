"""A rotated file that was compressed before it was read to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from collector.delivery.chunk import Position
from collector.inputs.follow import FINGERPRINT_BYTES, PIECE_BYTES, FollowedFile
from collector.inputs.tail_gzip import Damaged, GzipReader, head
from collector.native.logs import LogBatch

SKIP_BYTES = 8 << 20  # in one go


@dataclass(slots=True, eq=False)
class CompressedFile(FollowedFile):
    """As FollowedFile; offsets are those of the uncompressed bytes. It does not grow, and is read once."""

    reader: GzipReader | None = None
    rest: bytes = b""  # behind the offset: read, and not a whole line

    @property
    def unread_bytes(self) -> int:
        return 1 << 62  # unpacking is never done in the event loop

    @property
    def has_rest(self) -> bool:
        return bool(self.rest)

    def look_at_head(self) -> bool:
        self.head = self.head or head(self.fd, FINGERPRINT_BYTES)
        return True

    def is_truncated(self) -> bool:
        self.look_at_head()
        return False

    def resume(self, position: Position) -> None:
        FollowedFile.resume(self, position)
        self.reader, self.rest = None, b""

    def _read_batch(self, now_ns: int, *, end: bool) -> tuple[LogBatch, bool]:
        piece = self._next_piece()
        at_end = piece == b""
        self.rest += piece or b""
        batch = self.log.encode(self.rest, self.offset, now_ns, end=end and at_end)
        self.rest = self.rest[batch.consumed :]
        return batch, at_end

    def _next_piece(self) -> bytes | None:
        """b"" at the end, and behind what is damaged; None: what was read before is still passed over."""
        if self.damage:
            return b""
        try:
            if self.reader is None:
                self.reader = GzipReader(self.fd)
            if not self._is_passed_over(self.reader):
                return b"" if self.damage else None
            return self.reader.read(PIECE_BYTES)
        except Damaged as reason:
            self.damage = str(reason)
            return b""

    def _is_passed_over(self, reader: GzipReader) -> bool:
        behind = min(self.offset - reader.offset, SKIP_BYTES)
        if behind > 0 and reader.skip(behind) < behind:
            self.damage = f"it holds {reader.offset} bytes, of which {self.offset} were read before"
        return not self.damage and reader.offset >= self.offset

    def _pieces(self, start: int) -> Iterator[bytes]:
        reader = GzipReader(self.fd)
        with contextlib.suppress(Damaged):  # told when it was read
            reader.skip(start)
            while reader.offset < self.offset:
                piece = reader.read(min(PIECE_BYTES, self.offset - reader.offset))
                if not piece:
                    return
                yield piece

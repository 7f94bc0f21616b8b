"""gRPC's calls (PROTOCOL-HTTP2.md of grpc), without a socket: what a call sends, and what its answer says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from urllib.parse import unquote

from collector import protobuf
from collector.cri.http2 import Content, Event, Headers, ProtocolError, Reset

# The kubelet takes answers of 16 MiB; a node with 500 pods makes one of 2 MiB.
MAX_ANSWER_BYTES = 16 << 20
# A pod has at most 256 KiB of annotations; what is larger is left out, the rest of the list counts.
MAX_ELEMENT_BYTES = 1 << 20
MAX_ELEMENTS = 50_000
_MAX_WORDS = 200

_NAMES = {1: "cancelled", 2: "unknown", 3: "invalid argument", 4: "deadline exceeded", 5: "not found",
          7: "permission denied", 8: "resource exhausted", 9: "failed precondition", 12: "unimplemented",
          13: "internal", 14: "unavailable"}  # fmt: skip


class Refused(Exception):
    """The server did not do it. `code` is gRPC's."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{_NAMES.get(code, code)}: {words}" if words else str(_NAMES.get(code, code)))
        self.code = code


def headers(method: str, user_agent: str, timeout_s: int = 0) -> list[tuple[str, str]]:
    """Of a call; `method` is `/package.Service/Name`. The server gives it up after `timeout_s`."""
    pairs = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", method),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", user_agent),
    ]
    return [*pairs, ("grpc-timeout", f"{timeout_s}S")] if timeout_s else pairs


def message(content: bytes) -> bytes:
    """A message as a body has it: not compressed, its size in front."""
    return b"\0" + len(content).to_bytes(4, "big") + content


class Call(ABC):
    """What is the same for one message and for a stream of them: size in front, status at the end."""

    def __init__(self) -> None:
        self.is_done = False
        self._head = bytearray()
        self._left_bytes = 0  # of the message under way

    def take(self, event: Event) -> Iterator[tuple[int, int | bytes]]:
        """What the answer says next. Raises Refused, ProtocolError."""
        if isinstance(event, Reset):
            raise Refused(14, f"the stream was reset (code {event.code})")
        if isinstance(event, Headers):
            self._take_status(event)
            return
        yield from self._take_content(event)
        if event.is_end:
            raise ProtocolError("an answer without a status")

    def _take_status(self, event: Headers) -> None:
        pairs = event.pairs
        if pairs.get(":status", "200") != "200":
            raise Refused(2, f"HTTP status {_words(pairs[':status'])}")
        if not event.is_end:
            return
        code = pairs.get("grpc-status", "")
        if code != "0":
            number = int(code) if code.isascii() and code.isdecimal() and len(code) < 4 else 2
            raise Refused(number, _words(unquote(pairs.get("grpc-message", ""))))
        if self._left_bytes or self._head:
            raise ProtocolError("an answer that is cut")
        self.is_done = True

    def _take_content(self, event: Content) -> Iterator[tuple[int, int | bytes]]:
        data = event.data
        while data:
            if not self._left_bytes:
                needed = 5 - len(self._head)
                self._head += data[:needed]
                data = data[needed:]
                if len(self._head) == 5:
                    yield from self._begin()
                continue
            piece, data = data[: self._left_bytes], data[self._left_bytes :]
            self._left_bytes -= len(piece)
            try:
                yield from self._take_piece(piece)
            except ValueError as reason:
                raise ProtocolError(f"an answer that can't be read: {reason}") from reason

    def _begin(self) -> Iterator[tuple[int, int | bytes]]:
        if self._head[0]:
            raise ProtocolError("a compressed answer, which nobody asked for")
        self._left_bytes = int.from_bytes(self._head[1:], "big")
        self._head.clear()
        self._check_size(self._left_bytes)
        if not self._left_bytes:
            yield from self._take_piece(b"")

    @abstractmethod
    def _check_size(self, size_bytes: int) -> None: ...

    @abstractmethod
    def _take_piece(self, piece: bytes) -> Iterator[tuple[int, int | bytes]]: ...


class Answer(Call):
    """One message, which is given out field by field: a list of any length takes the room of one element."""

    def __init__(self) -> None:
        super().__init__()
        self._fields = protobuf.Elements(MAX_ELEMENT_BYTES)
        self._has_begun = False
        self._elements = 0

    @property
    def skipped(self) -> int:
        """Elements that were too large."""
        return self._fields.skipped

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > MAX_ANSWER_BYTES:
            raise ProtocolError(f"an answer of {size_bytes} bytes, more than {MAX_ANSWER_BYTES}")
        if self._has_begun:
            raise ProtocolError("a second answer")
        self._has_begun = True

    def _take_piece(self, piece: bytes) -> Iterator[tuple[int, int | bytes]]:
        for field in self._fields.feed(piece):
            self._elements += 1
            if self._elements > MAX_ELEMENTS:
                raise ValueError(f"more than {MAX_ELEMENTS} elements")
            yield field
        if not self._left_bytes and self._fields.is_within:
            raise ValueError("the message is cut")


class Stream(Call):
    """Messages without end, each given out whole, with the number 0."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0  # messages that were too large
        self._message = bytearray()
        self._is_kept = True

    def _check_size(self, size_bytes: int) -> None:
        self._is_kept = size_bytes <= MAX_ELEMENT_BYTES
        self.skipped += not self._is_kept

    def _take_piece(self, piece: bytes) -> Iterator[tuple[int, int | bytes]]:
        if self._is_kept:
            self._message += piece
        if not self._left_bytes and self._is_kept:
            whole = bytes(self._message)
            self._message.clear()
            yield 0, whole


def _words(text: str) -> str:
    """What a server says, for a line of the log."""
    return "".join(char if char.isprintable() else "?" for char in text[:_MAX_WORDS])

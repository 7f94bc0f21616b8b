"""An HTTP/1.1 response as a client reads it, without a socket: bytes in, a response out (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from collector.outputs.connector import ProtocolError

MAX_HEAD_BYTES = 64 << 10
_STATUS = re.compile(rb"HTTP/1\.(?P<minor>[01]) (?P<status>[1-9][0-9]{2})(?: (?P<reason>[^\r\n]*))?")
_LINE_END = -2
_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` by name in lower case; of repeated ones all values, with commas between them."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    reusable: bool  # whether the connection is

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(slots=True)
class _Head:
    status: int
    reason: str
    minor: int
    headers: dict[str, str] = field(default_factory=dict)


class ResponseReader:
    """Feed it what arrives until it returns the response; of a body `max_body_bytes` at most are kept."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._rest = bytearray()
        self._head: _Head | None = None
        self._body = bytearray()
        self._left: int | None = None  # of the body or the chunk; None: until the end of the connection
        self._chunked = False
        self._in_trailer = False

    def feed(self, data: bytes) -> Response | None:
        """Raises ProtocolError."""
        self._rest += data
        while self._head is None:
            if not self._read_head():
                return None
        return self._read_chunks() if self._chunked else self._read_body()

    def feed_head(self, data: bytes) -> int:
        """The status once the head is there, 0 before (CONNECT has no body). Raises ProtocolError."""
        self._rest += data
        while self._head is None:
            if not self._read_head():
                return 0
        return self._head.status

    def end(self) -> Response:
        """The connection has ended. Raises ProtocolError where the response had not."""
        if self._head is None or self._chunked or self._left is not None:
            raise ProtocolError("ended the connection within its response")
        return self._made(reusable=False)

    def take_body(self) -> bytearray:
        """What has arrived of the body since it was taken last, of a response that is read as it comes."""
        taken, self._body = self._body, bytearray()
        return taken

    @property
    def status(self) -> int:
        """0 before the head is there."""
        return self._head.status if self._head else 0

    @property
    def has_begun(self) -> bool:
        """Whether anything of a response has arrived."""
        return self._head is not None or bool(self._rest)

    def _read_head(self) -> bool:
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self._rest) > MAX_HEAD_BYTES or not b"HTTP/".startswith(self._rest[:5]):
                raise ProtocolError("sent what is not HTTP")
            return False
        lines = bytes(self._rest[:end]).split(b"\r\n")
        del self._rest[: end + 4]
        found = _STATUS.fullmatch(lines[0])
        if found is None:
            raise ProtocolError("sent what is not HTTP")
        head = _Head(int(found["status"]), (found["reason"] or b"").decode("latin-1"), int(found["minor"]))
        for line in lines[1:]:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise ProtocolError("sent a header without a colon")
            lowered, text = name.strip().lower(), value.strip()
            head.headers[lowered] = f"{head.headers[lowered]}, {text}" if lowered in head.headers else text
        if head.status >= 200:  # those before are interim
            self._head = head
            self._begin_body(head)
        return True

    def _begin_body(self, head: _Head) -> None:
        length = head.headers.get("content-length", "")
        if head.status in _WITHOUT_BODY:
            self._left = 0
        elif head.headers.get("transfer-encoding", "").lower().endswith("chunked"):
            self._chunked, self._left = True, 0
        elif length:
            first = length.split(",")[0].strip()
            if not first.isdecimal() or len(first) > 18:
                raise ProtocolError("sent a Content-Length that is no number")
            self._left = int(first)

    def _read_body(self) -> Response | None:
        self._take(len(self._rest) if self._left is None else min(self._left, len(self._rest)))
        return self._made(reusable=self._keeps_alive()) if self._left == 0 else None

    def _take(self, size: int) -> None:
        with memoryview(self._rest) as view:
            self._keep(view[:size])
        del self._rest[:size]
        if self._left is not None:
            self._left -= size

    def _keep(self, part: memoryview) -> None:
        self._body += part[: self._max_body_bytes - len(self._body)]

    def _read_chunks(self) -> Response | None:
        with memoryview(self._rest) as view:
            read, is_over = self._walk_chunks(view)
        del self._rest[:read]
        if not is_over and len(self._rest) > MAX_HEAD_BYTES:
            raise ProtocolError("sent a line without an end")
        return self._made(reusable=self._keeps_alive()) if is_over else None

    def _walk_chunks(self, view: memoryview) -> tuple[int, bool]:
        """How many bytes of it were read, and whether that was the end. `_left` is of the chunk's bytes, or
        _LINE_END behind them."""
        at, there, left = 0, len(view), self._left or 0
        while True:
            if left > 0:
                size = min(left, there - at)
                self._keep(view[at : at + size])
                at, left = at + size, left - size or _LINE_END
            if left == _LINE_END and there - at >= 2:
                at, left = at + 2, 0
            end = self._rest.find(b"\r\n", at) if left == 0 else -1
            if end < 0:
                self._left = left
                return at, False
            line, at = bytes(view[at:end]), end + 2
            if not self._in_trailer:
                left = _chunk_size(line)
                self._in_trailer = left == 0
            elif not line:
                return at, True

    def _keeps_alive(self) -> bool:
        assert self._head is not None
        said = self._head.headers.get("connection", "").lower()
        return not self._rest and "close" not in said and (self._head.minor == 1 or "keep-alive" in said)

    def _made(self, *, reusable: bool) -> Response:
        assert self._head is not None
        head = self._head
        return Response(head.status, head.reason, head.headers, bytes(self._body), reusable)


def _chunk_size(line: bytes) -> int:
    found = _SIZE.fullmatch(line)
    if found is None:
        raise ProtocolError("sent a chunk without its size")
    return int(found[1], 16)

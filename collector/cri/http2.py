"""HTTP/2 (RFC 9113) from the client's side, without a socket: bytes of the server in, what they say out.

For requests of some hundred bytes to a server on the same machine: a request is one HEADERS and one DATA
frame, nothing is pushed, priorities don't matter. What the server sends is hostile: a frame, a header block
and the frames without content have bounds, and what is beyond them ends the connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from collector.cri import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_END_STREAM = _ACK = 0x1
_END_HEADERS, _PADDED, _PRIORITIZED = 0x4, 0x8, 0x20
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE = 1, 2, 4

_DEFAULT_WINDOW = 65535
# What the server may send before we have read it: a list of 100 containers at once.
WINDOW_BYTES = 256 << 10
MAX_FRAME_BYTES = 16384  # SETTINGS_MAX_FRAME_SIZE, which we leave at its default
MAX_BLOCK_BYTES = 32 << 10
# Pings, settings and empty frames in a row. grpc-go pings a silent connection every two hours.
MAX_IDLE_FRAMES = 1000
_MAX_STREAM_ID = (1 << 31) - 1


class Kind:
    """Of frames, as their heads have it."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class ProtocolError(Exception):
    """The server does not speak HTTP/2 as it should, or says that we don't. The connection is over."""


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers or trailers of a stream."""

    stream: int
    pairs: dict[str, str]
    is_end: bool


@dataclass(frozen=True, slots=True)
class Content:
    stream: int
    data: bytes
    is_end: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The server gave the stream up."""

    stream: int
    code: int


Event = Headers | Content | Reset


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Connection:
    """`outgoing` is what has to be sent; whoever sends it clears it."""

    def __init__(self) -> None:
        settings = ((_HEADER_TABLE_SIZE, 0), (_ENABLE_PUSH, 0), (_INITIAL_WINDOW_SIZE, WINDOW_BYTES))
        self.outgoing = bytearray(PREFACE)
        self.outgoing += frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *one) for one in settings))
        self.outgoing += frame(Kind.WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW_BYTES - _DEFAULT_WINDOW))
        self._incoming = bytearray()
        self._next_stream = 1
        self._open: dict[int, int] = {}  # stream -> bytes read that the server was not given room for yet
        self._read_bytes = 0  # of all streams, the same
        self._may_send = _DEFAULT_WINDOW
        self._block: tuple[int, bool, bytearray] | None = None  # headers whose rest has not come
        self._idle_frames = 0

    def request(self, headers: Iterable[tuple[str, str]], body: bytes) -> int:
        """Begins a stream with all that it sends; its number. Raises ProtocolError."""
        block = hpack.encode(headers)
        assert len(block) <= MAX_FRAME_BYTES >= len(body)
        if len(body) > self._may_send:
            raise ProtocolError("the server takes no more requests")
        stream = self._next_stream
        if stream > _MAX_STREAM_ID:
            raise ProtocolError("the connection's streams are used up")
        self._next_stream += 2
        self._may_send -= len(body)
        self._open[stream] = 0
        self.outgoing += frame(Kind.HEADERS, _END_HEADERS, stream, block) + frame(
            Kind.DATA, _END_STREAM, stream, body
        )
        return stream

    def cancel(self, stream: int) -> None:
        """Nothing of this stream is of interest any more."""
        if self._open.pop(stream, None) is not None:
            self.outgoing += frame(Kind.RST_STREAM, 0, stream, struct.pack(">I", 8))

    def feed(self, data: bytes) -> Iterator[Event]:
        """What the bytes say. Raises ProtocolError."""
        self._incoming += data
        while len(self._incoming) >= 9:
            size = int.from_bytes(self._incoming[:3], "big")
            if size > MAX_FRAME_BYTES:
                raise ProtocolError(f"a frame of {size} bytes: not HTTP/2")
            if len(self._incoming) < 9 + size:
                return
            kind, flags, stream = struct.unpack_from(">BBI", self._incoming, 3)
            payload = bytes(self._incoming[9 : 9 + size])
            del self._incoming[: 9 + size]
            self._count(kind, size)
            yield from self._take(kind, flags, stream & _MAX_STREAM_ID, payload)

    def _count(self, kind: int, size: int) -> None:
        self._idle_frames = 0 if kind == Kind.DATA and size else self._idle_frames + 1
        if self._idle_frames > MAX_IDLE_FRAMES:
            raise ProtocolError(f"{MAX_IDLE_FRAMES} frames without content")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> Iterator[Event]:
        if (self._block is not None) != (kind == Kind.CONTINUATION):
            raise ProtocolError("headers that are not continued, or a continuation of none")
        match kind:
            case Kind.DATA:
                yield from self._take_data(flags, stream, payload)
            case Kind.HEADERS:
                yield from self._take_headers(flags, stream, payload)
            case Kind.CONTINUATION:
                yield from self._take_continuation(flags, stream, payload)
            case Kind.RST_STREAM:
                if self._open.pop(stream, None) is not None:
                    yield Reset(stream, _number(payload))
            case Kind.PUSH_PROMISE:
                raise ProtocolError("a push, which was refused")
            case Kind.GOAWAY:
                raise ProtocolError(f"the server ends the connection (code {_number(payload[4:])})")
            case _:
                self._take_control(kind, flags, stream, payload)

    def _take_control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """SETTINGS, PING, WINDOW_UPDATE; unknown kinds are left out, as the RFC wants."""
        if kind == Kind.SETTINGS and not flags & _ACK:
            # Of its settings none matters: our requests are small and one after the other.
            self.outgoing += frame(Kind.SETTINGS, _ACK, 0, b"")
        elif kind == Kind.PING and not flags & _ACK:
            if len(payload) != 8:
                raise ProtocolError(f"a ping of {len(payload)} bytes")
            self.outgoing += frame(Kind.PING, _ACK, 0, payload)
        elif kind == Kind.WINDOW_UPDATE and not stream:
            self._may_send = min(self._may_send + _number(payload), _MAX_STREAM_ID)

    def _take_data(self, flags: int, stream: int, payload: bytes) -> Iterator[Event]:
        data, is_end = _without_padding(flags, payload), bool(flags & _END_STREAM)
        self._read_bytes = self._give_room(0, self._read_bytes + len(payload))
        if stream not in self._open:
            return  # cancelled, and on its way before the server knew
        if is_end:
            del self._open[stream]
        else:
            self._open[stream] = self._give_room(stream, self._open[stream] + len(payload))
        yield Content(stream, data, is_end)

    def _give_room(self, stream: int, read_bytes: int) -> int:
        if read_bytes < WINDOW_BYTES // 2:
            return read_bytes
        self.outgoing += frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", read_bytes))
        return 0

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> Iterator[Event]:
        block = _without_padding(flags, payload)
        if flags & _PRIORITIZED:
            block = block[5:]
        self._block = (stream, bool(flags & _END_STREAM), bytearray(block))
        if flags & _END_HEADERS:
            yield from self._end_headers()

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> Iterator[Event]:
        assert self._block is not None
        begun, _, block = self._block
        block += payload
        if stream != begun or len(block) > MAX_BLOCK_BYTES:
            raise ProtocolError("headers of more than one stream, or too many")
        if flags & _END_HEADERS:
            yield from self._end_headers()

    def _end_headers(self) -> Iterator[Event]:
        assert self._block is not None
        (stream, is_end, block), self._block = self._block, None
        try:
            pairs = dict(hpack.decode(bytes(block)))
        except ValueError as reason:
            raise ProtocolError(f"headers that can't be read: {reason}") from reason
        if stream not in self._open:
            return
        if is_end:
            del self._open[stream]
        yield Headers(stream, pairs, is_end)


def _number(payload: bytes) -> int:
    if len(payload) < 4:
        raise ProtocolError("a frame is too short")
    return int.from_bytes(payload[:4], "big") & _MAX_STREAM_ID


def _without_padding(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError("more padding than there is in the frame")
    return payload[1 : len(payload) - payload[0]]

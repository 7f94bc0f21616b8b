"""The forward protocol as a client speaks it, without a socket: bytes in, bytes out.

Source: Forward Protocol Specification v1 (fluentd wiki), and what Fluentd and
Fluent Bit do where it is silent. A request is `[tag, entries, option]` in the
PackedForward mode: `entries` is a binary of `[EventTime, record]` in msgpack one
after the other, exactly as a Chunk has them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

from collector.delivery.chunk import Packed
from collector.entries import Pairs, time_ns, unpack_entries
from collector.outputs.connector import ProtocolError
from collector.packing import pack

# What a receiver may send in one message. Fluent Bit's own buffer for an ack is 512 bytes; HELO and PONG
# have a nonce, a salt, a reason and a host name.
MAX_MESSAGE_BYTES = 4096


Options = dict[str, str | int]
Parts = tuple[bytes, Packed, bytes]
"""A request, to be written one after the other; the entries are not copied."""


@dataclass(frozen=True, slots=True)
class Request:
    """`chunk_id` is what the receiver has to acknowledge; b"": nothing."""

    parts: Parts
    chunk_id: bytes


def encode_message(tag: str, entries: Packed, options: Options | None) -> Parts:
    """A request in PackedForward mode; CompressedPackedForward where the options say so."""
    return _head(tag, options) + _binary_header(len(entries)), entries, _tail(options)


def encode_forward(tag: str, entries: Packed, records: int, options: Options | None) -> Parts:
    """A request in Forward mode, which Fluentd up to 0.12 reads."""
    return _head(tag, options) + _array_header(records), entries, _tail(options)


def encode_messages(
    tag: str,
    entries: Packed,
    tag_of: Callable[[str, Pairs], str | None],
    chunk_id: bytes | None,
    extra: Options,
) -> list[Request]:
    """A request in Message mode for each entry, with the tag that `tag_of` makes (None: `tag`)."""
    requests: list[Request] = []
    for number, (found, time, record) in enumerate(split_entries(entries)):
        own_id = _numbered(chunk_id, number) if chunk_id else None
        options = message_options(0, own_id, sized=False, compressed="", extra=extra)
        head = _head(tag_of(tag, found) or tag, options, 3 if options is None else 4)
        requests.append(Request((head + time, record, _tail(options)), own_id or b""))
    return requests


def _numbered(chunk_id: bytes, number: int) -> bytes:
    return hashlib.blake2b(chunk_id + number.to_bytes(4, "big"), digest_size=16).digest()


def _head(tag: str, options: Options | None, size: int = 0) -> bytes:
    return _array_header(size or (2 if options is None else 3)) + pack(tag)


def _tail(options: Options | None) -> bytes:
    return b"" if options is None else pack(options)


def _array_header(size: int) -> bytes:
    if size < 1 << 4:
        return bytes((0x90 + size,))
    if size < 1 << 16:
        return b"\xdc" + size.to_bytes(2, "big")
    return b"\xdd" + size.to_bytes(4, "big")


def _binary_header(size: int) -> bytes:
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def message_options(
    records: int,
    chunk_id: bytes | None,
    *,
    sized: bool,
    compressed: str,
    extra: Options | None = None,
) -> Options | None:
    """The options of a request, `chunk` first as Fluent Bit has it; None when there is none to send.

    A `chunk` asks the receiver for an ack. `compressed` is gzip, zstd or nothing;
    `records` of 0 are those of Message mode, which tells no size.
    """
    options: Options = {}
    if chunk_id is not None:
        options["chunk"] = base64.b64encode(chunk_id).decode()
    if records and (sized or options or compressed or extra):
        options["size"] = records
    if options or extra:
        options["fluent_signal"] = 0
    if compressed:
        options["compressed"] = compressed
    return options | (extra or {}) or None


def integer_times(entries: Packed) -> bytes:
    """The entries with times in whole seconds, for Fluentd up to 0.12 (Time_as_Integer)."""
    parts: list[bytes] = []
    entries = bytes(entries)
    unpacker = _unpacker(entries)
    while unpacker.tell() < len(entries):
        unpacker.read_array_header()
        seconds = time_ns(unpacker.unpack()) // 1_000_000_000
        begin = unpacker.tell()
        unpacker.skip()
        parts += (b"\x92", pack(seconds), entries[begin : unpacker.tell()])
    return b"".join(parts)


def without_metadata(entries: Packed) -> bytes:
    """The entries as `[time, record]`, those of Fluent Bit's own shape `[[time, metadata], record]` too."""
    entries = bytes(entries)
    if b"\x92\x92" not in entries:
        return entries
    parts: list[bytes] = []
    unpacker = _unpacker(entries)
    while (begin := unpacker.tell()) < len(entries):
        unpacker.read_array_header()
        if entries[unpacker.tell()] != 0x92:
            unpacker.skip()
            unpacker.skip()
            parts.append(entries[begin : unpacker.tell()])
            continue
        unpacker.read_array_header()
        time = entries[unpacker.tell() : _skip(unpacker)]
        record = entries[_skip(unpacker) : _skip(unpacker)]
        parts += (b"\x92", time, record)
    return b"".join(parts)


def split_entries(entries: Packed) -> Iterator[tuple[Pairs, bytes, bytes]]:
    """Each entry's pairs, its time and its record as they stand there, metadata left out."""
    plain = without_metadata(entries)
    unpacker = _unpacker(plain)
    for _, pairs in unpack_entries(plain):
        unpacker.read_array_header()
        time = plain[unpacker.tell() : _skip(unpacker)]
        record = plain[unpacker.tell() : _skip(unpacker)]
        yield pairs, time, record


def _unpacker(entries: bytes) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(entries), 1))
    unpacker.feed(entries)
    return unpacker


def _skip(unpacker: Any) -> int:
    """Where the value ends that was skipped."""
    unpacker.skip()
    end: int = unpacker.tell()
    return end


class Messages:
    """Splits what a receiver sends into msgpack messages; strings stay bytes. Holds 12 KiB at most."""

    def __init__(self) -> None:
        # Beside a message there may be the beginning of the next, and what arrives then.
        room_bytes = 3 * MAX_MESSAGE_BYTES
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=room_bytes)
        self._open_bytes = 0  # of a message, as far as it came without another's end

    def feed(self, data: bytes) -> list[Any]:
        """The messages completed by `data`. Raises ProtocolError."""
        try:
            self._unpacker.feed(data)
            found = list(self._unpacker)
        except (ValueError, TypeError, msgpack.UnpackException) as reason:
            # BufferFull is an UnpackException; malformed bytes, too deep or too long ones a ValueError; a key
            # that is a map or an array a TypeError.
            raise ProtocolError("sent what is not a message of the forward protocol") from reason
        self._open_bytes = 0 if found else self._open_bytes + len(data)
        if self._open_bytes > MAX_MESSAGE_BYTES:
            raise ProtocolError("sent a message that has no end")
        return found


def is_ack(message: object, chunk_id: bytes) -> bool:
    """Whether the message acknowledges the chunk of this id: the same bytes that were sent."""
    return isinstance(message, dict) and message.get(b"ack") == base64.b64encode(chunk_id)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client proves itself with. `username` is used when the receiver asks for one."""

    shared_key: str
    self_hostname: str
    username: str = ""
    password: str = ""


class Handshake:
    """HELO, PING, PONG, from the client's side. Feed it what arrives until `established`."""

    def __init__(self, credentials: Credentials, salt: bytes | None = None) -> None:
        self._credentials = credentials
        self._salt = salt or secrets.token_bytes(16)
        self._nonce = b""
        self._messages = Messages()
        self._greeted = False
        self.established = False
        self.keepalive = True

    def receive(self, data: bytes) -> bytes:
        """What to answer (b"": nothing). Raises ProtocolError."""
        answer = b""
        for message in self._messages.feed(data):
            if self.established:
                raise ProtocolError("sent more than the handshake has")
            if self._greeted:
                self._check_pong(message)
                self.established = True
            else:
                answer = self._answer_helo(message)
                self._greeted = True
        return answer

    def _answer_helo(self, message: object) -> bytes:
        match message:
            case [b"HELO", {b"nonce": bytes(nonce), **options}]:
                self._nonce = nonce
            case _:
                raise ProtocolError("did not begin with HELO: does it expect a shared key?")
        self.keepalive = options.get(b"keepalive", True) is not False
        auth = options.get(b"auth") or b""
        if not isinstance(auth, bytes):
            raise ProtocolError("sent a HELO whose auth is not a string")
        own = self._credentials
        username = own.username if auth else ""
        password = _hex_sha512(auth, own.username.encode(), own.password.encode()) if auth else ""
        ping = [
            "PING",
            own.self_hostname,
            self._salt,
            self._digest(own.self_hostname.encode()),
            username,
            password,
        ]
        return pack(ping)

    def _check_pong(self, message: object) -> None:
        match message:
            case [b"PONG", True, _, bytes(hostname), bytes(digest)]:
                pass
            case [b"PONG", False, bytes(reason), *_]:
                raise ProtocolError(f"refused the handshake: {reason[:200].decode(errors='replace')}")
            case _:
                raise ProtocolError("answered PING with what is not PONG")
        if not hmac.compare_digest(digest, self._digest(hostname).encode()):
            raise ProtocolError("does not know the shared key")

    def _digest(self, hostname: bytes) -> str:
        return _hex_sha512(self._salt, hostname, self._nonce, self._credentials.shared_key.encode())


def _hex_sha512(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()

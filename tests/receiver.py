"""A forward-protocol receiver for tests: real sockets, real TLS, and every way to misbehave.

Decodes with msgpack, all modes and both entry shapes of current Fluent Bit, and
keeps what it was sent. Independent of the sender's code.
"""

from __future__ import annotations

import asyncio
import enum
import gzip
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgpack
import zstandard

SLOW_READ_BYTES = 8 << 10


class Behaviour(enum.Enum):
    """What a receiver does with a chunk that it has read completely."""

    ACCEPT = enum.auto()  # keep it, and ack it when it asks
    HANG = enum.auto()  # keep it, never ack, keep the connection
    CLOSE = enum.auto()  # forget it and close without an ack
    KEEP_AND_CLOSE = enum.auto()  # keep it and close without an ack: the sender must send it again
    WRONG_ACK = enum.auto()  # keep it and ack another id
    GARBAGE = enum.auto()  # keep it and answer with what is not msgpack


@dataclass(slots=True)
class Received:
    """One message."""

    tag: str
    entries: list[tuple[int, Any]]  # time in ns, record
    options: dict[str, Any]
    connection: int
    packed: bytes = b""  # the entries as they came, PackedForward only

    @property
    def chunk(self) -> str | None:
        return self.options.get("chunk")


@dataclass(slots=True)
class Users:
    """What the handshake demands. `password` "" asks for no user."""

    shared_key: str
    username: str = ""
    password: str = ""
    keepalive: bool = True


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(eq=False)
class Receiver:
    """`behave(received)` decides for each chunk; change it, and all before `received`, at any time."""

    behave: Callable[[Received], Behaviour] = lambda received: Behaviour.ACCEPT
    ack_delay_s: float = 0.0
    reset_on_data: bool = False  # reset the connection when the first bytes of a chunk arrive
    reading: asyncio.Event = field(default_factory=_set_event)  # cleared: nothing more is read
    pace_bytes_s: float = 0.0  # above 0: reads no faster, and what it has not read waits with the sender
    users: Users | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    port: int = 0
    failures: list[BaseException] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def records(self) -> list[Any]:
        return [record for received in self.received for _, record in received.entries]

    async def start(self, *, tls: ssl.SSLContext | None = None, port: int = 0, unix_path: str = "") -> None:
        if unix_path:
            self._server = await asyncio.start_unix_server(self._serve, unix_path)
            return
        ahead = SLOW_READ_BYTES if self.pace_bytes_s else 1 << 20  # asyncio reads twice as much ahead
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=tls, limit=ahead)
        if (
            self.pace_bytes_s
        ):  # of the sockets to come; else the kernel, or asyncio, takes seconds' worth at once
            self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_READ_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening and drops all connections, as when the process dies."""
        assert self._server is not None
        self._server.close()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._notify()

    def drop(self) -> None:
        """Resets all connections; new ones may come."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Returns when something that happened here has made the condition true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        self.open_connections += 1
        self._notify()
        try:
            await self._converse(reader, writer, self.connections)
        except (ConnectionError, ssl.SSLError):
            pass
        except Exception as reason:
            self.failures.append(reason)
            raise
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()
            self.open_connections -= 1
            self._notify()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=1 << 30)
        if self.users and not await _shake_hands(self.users, reader, writer, unpacker):
            return
        while data := await self._read(reader):
            if self.reset_on_data:
                writer.transport.abort()
                return
            await self.reading.wait()
            unpacker.feed(data)
            for message in unpacker:
                if not await self._take(_decode(message, connection), writer):
                    return

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        if not self.pace_bytes_s:
            return await reader.read(1 << 20)
        await asyncio.sleep(SLOW_READ_BYTES / self.pace_bytes_s)
        return await reader.read(SLOW_READ_BYTES)

    async def _take(self, received: Received, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        behaviour = self.behave(received)
        if behaviour is not Behaviour.CLOSE:
            self.received.append(received)
            self._notify()
        if behaviour in (Behaviour.CLOSE, Behaviour.KEEP_AND_CLOSE):
            return False
        if behaviour is Behaviour.GARBAGE:
            writer.write(b"\xc1\xc1\xc1")
        elif behaviour is Behaviour.WRONG_ACK:
            writer.write(msgpack.packb({"ack": "somebody else's"}))
        elif behaviour is Behaviour.ACCEPT and received.chunk is not None:
            if self.ack_delay_s:
                await asyncio.sleep(self.ack_delay_s)
            writer.write(msgpack.packb({"ack": received.chunk}))
        await writer.drain()
        return True


def _decode(message: Any, connection: int) -> Received:
    tag, second, *rest = message
    is_message = isinstance(second, int | msgpack.ExtType)
    options = {} if is_message else _options(rest)
    if isinstance(second, list):
        return Received(_tag(tag), _entries(second), options, connection)
    if is_message:
        return Received(_tag(tag), _entries([(second, rest[0])]), _options(rest[1:]), connection)
    if isinstance(second, bytes):
        packed = _unpacked(second, options.get("compressed", "text"))
        unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=1 << 30)
        unpacker.feed(packed)
        return Received(_tag(tag), _entries(list(unpacker)), options, connection, packed)
    raise ValueError(f"no mode of the protocol: {message!r}")


def _tag(tag: bytes) -> str:
    return tag.decode(errors="surrogateescape")


def _options(rest: list[Any]) -> dict[str, Any]:
    return {key.decode(): _text(value) for key, value in (rest[0] if rest else {}).items()}


def _unpacked(payload: bytes, compressed: str) -> bytes:
    if compressed == "gzip":
        return gzip.decompress(payload)
    return zstandard.ZstdDecompressor().decompress(payload) if compressed == "zstd" else payload


def _entries(entries: list[Any]) -> list[tuple[int, Any]]:
    return [(_time_ns(time), record) for time, record in entries]


def _time_ns(time: Any) -> int:
    if isinstance(time, list):  # with metadata beside it
        time = time[0]
    if isinstance(time, msgpack.ExtType):
        return int.from_bytes(time.data[:4], "big") * 10**9 + int.from_bytes(time.data[4:], "big")
    return int(time) * 10**9


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


async def _shake_hands(
    users: Users, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, unpacker: Any
) -> bool:
    nonce, auth = os.urandom(16), os.urandom(16) if users.password else b""
    writer.write(msgpack.packb(["HELO", {"nonce": nonce, "auth": auth, "keepalive": users.keepalive}]))
    ping = None
    while ping is None:
        data = await reader.read(4096)
        if not data:
            return False
        unpacker.feed(data)
        ping = next(iter(unpacker), None)
    kind, hostname, salt, digest, username, password = ping
    key = users.shared_key.encode()
    reason = ""
    if kind != b"PING" or digest.decode() != _digest(salt, hostname, nonce, key):
        reason = "shared_key mismatch"
    elif users.password and (username, password.decode()) != (
        users.username.encode(),
        _digest(auth, users.username.encode(), users.password.encode()),
    ):
        reason = "username/password mismatch"
    if reason:
        writer.write(msgpack.packb(["PONG", False, reason, "", ""]))
        await writer.drain()
        return False
    writer.write(msgpack.packb(["PONG", True, "", "receiver", _digest(salt, b"receiver", nonce, key)]))
    await writer.drain()
    return True


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


@asynccontextmanager
async def receiving(
    receiver: Receiver | None = None, *, tls: ssl.SSLContext | None = None, unix_path: str = ""
) -> AsyncIterator[Receiver]:
    """A started receiver; its own failures fail the test."""
    receiver = receiver or Receiver()
    await receiver.start(tls=tls, unix_path=unix_path)
    try:
        yield receiver
    finally:
        await receiver.stop()
    assert not receiver.failures

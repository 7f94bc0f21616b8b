"""A receiver of the forward protocol that costs as little as it can, in a process of its own.

Entries are thrown away (without TLS not even copied out of the kernel), written to a file for each tag, or,
for one tag, decoded for the times that stand in them. Messages have to be PackedForward with the option
`size`. With acks a file has the records of its tag in the order in which they were sent.
"""

from __future__ import annotations

import multiprocessing
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgpack

from tests.certificates import Authority

READ_BYTES = 1 << 20
HEAD_BYTES = 64 << 10
# A line of a log under test that says when it was written, on CLOCK_MONOTONIC.
STAMP = re.compile(rb"at=(\d+)\.")


class Taken(NamedTuple):
    """What has come when the wanted number of records was there. `end_s` is on CLOCK_MONOTONIC."""

    records: int
    bytes: int
    end_s: float
    waits_ms: list[float]


class Source(Protocol):
    """Bytes of a connection."""

    def receive(self, limit: int) -> bytes: ...

    def drop(self, buffer: memoryview) -> int: ...

    def send(self, answer: bytes) -> None: ...


class PlainSource:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self, limit: int) -> bytes:
        return self._connection.recv(limit)

    def drop(self, buffer: memoryview) -> int:
        return self._connection.recv_into(buffer, len(buffer), socket.MSG_TRUNC)

    def send(self, answer: bytes) -> None:
        self._connection.sendall(answer)


class TlsSource:
    """Reads a megabyte at a time: OpenSSL by itself would ask the kernel twice for each 16 KiB."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ask(self._tls.do_handshake)

    def receive(self, limit: int) -> bytes:
        return bytes(self._ask(lambda: self._tls.read(limit)))

    def drop(self, buffer: memoryview) -> int:
        return int(self._ask(lambda: self._tls.read(len(buffer), buffer)))

    def send(self, answer: bytes) -> None:
        self._tls.write(answer)
        self._connection.sendall(self._outgoing.read())

    def _ask(self, operation: Callable[[], Any]) -> Any:
        while True:
            try:
                done = operation()
            except ssl.SSLWantReadError:
                self._pass_on()
                data = self._connection.recv(READ_BYTES)
                if not data:
                    return b""
                self._incoming.write(data)
            else:
                self._pass_on()
                return done

    def _pass_on(self) -> None:
        if self._outgoing.pending:
            self._connection.sendall(self._outgoing.read())


class Sink:
    """The state of the process: what all connections have brought."""

    def __init__(self, told: Connection, folder: Path | None, probe: bytes) -> None:
        self._told = told
        self._folder = folder
        self._probe = probe
        self._lock = threading.Lock()
        self._wanted = self._wanted_stamps = self._records = self._bytes = 0
        self._waits_ms: list[float] = []

    def want(self, records: int, stamps: int) -> None:
        with self._lock:
            self._wanted, self._wanted_stamps = records, stamps
            self._tell()

    def take(self, source: Source) -> None:
        pending = b""
        buffer = memoryview(bytearray(READ_BYTES))
        while True:
            head = _read_head(pending)
            if head is None:
                data = source.receive(HEAD_BYTES)
                if not data:
                    return
                pending += data
                continue
            tag, size, at = head
            body, pending = pending[at : at + size], pending[at + size :]
            self._take_body(tag, body, size, source, buffer)
            options, pending = _read_options(pending, source)
            self._count(int(options["size"]), size)
            if "chunk" in options:
                source.send(msgpack.packb({"ack": options["chunk"]}))

    def _take_body(self, tag: bytes, body: bytes, size: int, source: Source, buffer: memoryview) -> None:
        left = size - len(body)
        is_probe = bool(self._probe) and self._probe in tag
        if self._folder is None and not is_probe:
            while left:
                left -= source.drop(buffer[:left])
            return
        parts = [body]
        while left:
            parts.append(source.receive(min(left, READ_BYTES)))
            left -= len(parts[-1])
        if is_probe:
            now_ns = time.monotonic_ns()
            self._waits_ms += [(now_ns - int(at)) / 1e6 for at in STAMP.findall(b"".join(parts))]
        else:
            assert self._folder is not None
            with open(self._folder / tag.decode(), "ab") as file:
                file.writelines(parts)

    def _count(self, records: int, size: int) -> None:
        with self._lock:
            self._records += records
            self._bytes += size
            self._tell()

    def _tell(self) -> None:
        is_there = self._wanted and self._records >= self._wanted
        if is_there or (self._wanted_stamps and len(self._waits_ms) >= self._wanted_stamps):
            self._told.send(Taken(self._records, self._bytes, time.monotonic(), self._waits_ms))
            self._wanted = self._wanted_stamps = self._records = self._bytes = 0
            self._waits_ms = []


_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def _read_length(data: bytes, at: int) -> tuple[int, int] | None:
    """Of a str or bin: its length, and where it begins."""
    if at >= len(data):
        return None
    if 0xA0 <= data[at] < 0xC0:
        return data[at] & 0x1F, at + 1
    size = _LENGTHS[data[at]]
    if len(data) < at + 1 + size:
        return None
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def _read_head(data: bytes) -> tuple[bytes, int, int] | None:
    """Tag, length of the entries, and where they begin."""
    if not data:
        return None
    if data[0] != 0x93:
        raise ValueError(f"a message begins with {data[:16]!r}, not as [tag, entries, options]")
    tag = _read_length(data, 1)
    entries = tag and _read_length(data, tag[1] + tag[0])
    return tag and entries and (data[tag[1] : tag[1] + tag[0]], *entries)


def _read_options(pending: bytes, source: Source) -> tuple[dict[str, Any], bytes]:
    while True:
        unpacker = msgpack.Unpacker()
        unpacker.feed(pending[:HEAD_BYTES])
        try:
            return unpacker.unpack(), pending[unpacker.tell() :]
        except msgpack.OutOfData:
            pending += source.receive(HEAD_BYTES)


class RunningSink:
    """Where a sink listens. It tells when so many records, or stamped ones, have come as it was asked for."""

    def __init__(self, port: int, pipe: Connection) -> None:
        self.port = port
        self._pipe = pipe

    def want(self, records: int) -> None:
        self._pipe.send((records, 0))

    def want_stamps(self, records: int) -> None:
        self._pipe.send((0, records))

    def wait(self, timeout_s: float) -> Taken:
        """Raises TimeoutError."""
        if not self._pipe.poll(timeout_s):
            raise TimeoutError(f"the records did not all come within {timeout_s:g} s")
        taken: Taken = self._pipe.recv()
        return taken


@contextmanager
def running_sink(
    tls: Authority | None = None, folder: Path | None = None, probe: str = ""
) -> Iterator[RunningSink]:
    """`folder`: where entries are kept; `probe`: a part of the tag whose records are stamped."""
    own, its = multiprocessing.Pipe()
    arguments = (its, tls, folder, probe.encode())
    process = multiprocessing.get_context("fork").Process(target=_serve, args=arguments, daemon=True)
    process.start()
    try:
        yield RunningSink(own.recv(), own)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, tls: Authority | None, folder: Path | None, probe: bytes) -> None:
    context = tls.server_context() if tls else None
    sink = Sink(pipe, folder, probe)
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        threading.Thread(target=_accept, args=(server, context, sink), daemon=True).start()
        while True:
            sink.want(*pipe.recv())


def _accept(server: socket.socket, context: ssl.SSLContext | None, sink: Sink) -> None:
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_converse, args=(connection, context, sink), daemon=True).start()


def _converse(connection: socket.socket, context: ssl.SSLContext | None, sink: Sink) -> None:
    with connection:
        sink.take(TlsSource(connection, context) if context else PlainSource(connection))

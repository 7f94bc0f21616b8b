"""One connection of an output: a non-blocking socket, plain or TLS, written with few copies.

asyncio's streams would copy: what a socket does not take at once is appended to a
buffer. Here the chunk's own bytes are given to the kernel (`sendmsg`), or to OpenSSL
and what that made of them to the kernel (tls_stream.py), until all are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import socket
import ssl
import sys
import termios
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from collector.native.sealing import Waits
from collector.outputs.dialling import SILENCE_S
from collector.outputs.tls_stream import TlsStream

Result = TypeVar("Result")

# A close in good order waits this long for the receiver to have read everything.
LINGER_S = 1.0

RECEIVE_BYTES = 4096
# The longest record of TLS, with what surrounds it, and the next one's beginning.
TLS_RECEIVE_BYTES = 20 << 10
# What TLS itself answers while a link is idle goes out with the next use; a receiver that wants more
# (26 bytes for each change of keys) is done without.
IDLE_ANSWERS_BYTES = 16 << 10
# Small messages are one record.
TLS_RECORD_BYTES = 16 << 10


class ConnectionEnded(ConnectionResetError):
    """The receiver has closed the connection."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the receiver closed the connection")


class Link:
    """A connection. A wait in which the receiver takes and says nothing for `silence_s` raises TimeoutError.

    Its socket is registered for reading once and for all, since two system calls for each
    chunk would cost more than the message around it; what arrives is for who waits, for who
    watches, or for later.
    """

    def __init__(self, sock: socket.socket, silence_s: float = SILENCE_S) -> None:
        self._socket = sock
        self._tls: TlsStream | None = None
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._is_registered = False
        self._awaited: asyncio.Future[None] | None = None
        self._ended: Callable[[], None] | None = None
        self.uses = 0
        self.reusable = True  # what the receiver said about it

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Puts TLS on the connection. Raises ssl.SSLError, OSError, TimeoutError."""
        tls = TlsStream(context, server_name)
        try:
            while not tls.shake_hands():
                await self._exchange(tls)
        except ssl.SSLError:
            self._say_why(tls)
            raise
        await self._flush(tls)
        tls.gather()
        self._tls = tls

    async def send(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Writes the buffers one after the other; returns when the kernel has all of them."""
        if self._tls:
            await self._send_sealed(self._tls, buffers)
            return
        views = deque(memoryview(buffer) for buffer in buffers if buffer)
        while views:
            sent = await self._complete(lambda: self._socket.sendmsg(views), self._writable)
            while views and sent >= len(views[0]):
                sent -= len(views.popleft())
            if sent:
                views[0] = views[0][sent:]

    async def _send_sealed(self, tls: TlsStream, buffers: Sequence[bytes | memoryview]) -> None:
        if sum(map(len, buffers)) <= TLS_RECORD_BYTES:
            buffers = (b"".join(buffers),)
        for buffer in buffers:
            await self._seal(tls, memoryview(buffer), flush=buffer is buffers[-1])

    async def _seal(self, tls: TlsStream, view: memoryview, *, flush: bool) -> None:
        while True:
            view, waits = tls.send(self._socket, view, flush=flush)
            if waits is Waits.NOTHING:
                return
            await (self._writable() if waits is Waits.ROOM else self._exchange(tls))

    async def _flush(self, tls: TlsStream) -> None:
        """Sends what is sealed."""
        await self._seal(tls, memoryview(b""), flush=True)

    async def _exchange(self, tls: TlsStream) -> None:
        """Sends what is sealed and feeds what the receiver says."""
        await self._flush(tls)
        tls.feed(await self._receive(TLS_RECEIVE_BYTES))

    def _say_why(self, tls: TlsStream) -> None:
        """The alert that says why there will be no session, if there is room for it."""
        with contextlib.suppress(OSError):
            self._socket.send(tls.take_sealed())

    async def receive(self, most: int = RECEIVE_BYTES) -> bytes:
        """Some bytes, at least one. Raises ConnectionEnded."""
        data = await (self._receive_opened(self._tls, most) if self._tls else self._receive(most))
        if not data:
            raise ConnectionEnded
        return data

    async def _receive_opened(self, tls: TlsStream, most: int) -> bytes:
        while (data := tls.open(most)) is None:
            await self._exchange(tls)
        return data

    async def _receive(self, most: int) -> bytes:
        return await self._complete(lambda: self._socket.recv(most), self._readable)

    async def receive_all(self, most: int) -> bytes:
        """What is there, one byte at least; TLS gives one record a call. Raises ConnectionEnded."""
        parts = [await self.receive(most)]
        left = most - len(parts[0])
        with contextlib.suppress(OSError):  # what came before it counts; the next call meets it again
            while left > 0 and (part := self._receive_now(left)):
                parts.append(part)
                left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _receive_now(self, most: int) -> bytes | None:
        """What is there; None: nothing yet. Raises OSError."""
        try:
            if self._tls is None:
                return self._socket.recv(most)
            while (data := self._tls.open(most)) is None:
                self._tls.feed(self._socket.recv(TLS_RECEIVE_BYTES))
        except BlockingIOError:
            return None
        return data

    def watch(self, ended: Callable[[], None]) -> None:
        """While nothing is asked of the receiver: calls `ended` when it closes, or says anything."""
        self._ended = ended
        self._register()
        if self._tls and self._tls.unopened_bytes:
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        if self._ended and self._has_ended():
            self._ended()

    def _has_ended(self) -> bool:
        """Whether the receiver has closed, or said what it was not asked for."""
        try:
            data = self._socket.recv(TLS_RECEIVE_BYTES)
        except BlockingIOError:
            data = None
        except OSError:
            return True
        if not self._tls or data == b"":
            return data is not None
        if data:
            self._tls.feed(data)
        try:
            is_silent = self._tls.open(1) is None  # session tickets, other keys
        except ssl.SSLError:
            return True
        return not is_silent or self._tls.sealed_bytes > IDLE_ANSWERS_BYTES

    def unwatch(self) -> None:
        self._ended = None

    @property
    def is_closed(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        """Drops the connection."""
        self.unwatch()
        self._unregister()
        self._socket.close()

    async def finish(self) -> None:
        """Ends the connection after the receiver has read everything, or after LINGER_S.

        Closing while something from the receiver is unread would make the kernel
        send a reset, and a reset takes away what the receiver has not read yet.
        """
        self.unwatch()
        try:
            async with asyncio.timeout(LINGER_S):
                if self._tls:
                    self._tls.end()
                    await self._flush(self._tls)
                self._socket.shutdown(socket.SHUT_WR)
                while await self._receive(RECEIVE_BYTES):
                    pass
        except OSError:
            pass  # it is being ended: what it says no longer matters
        finally:
            self.close()

    async def _complete(self, operation: Callable[[], Result], wait: Callable[[], Awaitable[None]]) -> Result:
        """Tries until the socket does not say that it would block."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                await wait()

    def _register(self) -> None:
        if not self._is_registered:
            self._is_registered = True
            self._loop.add_reader(self._socket.fileno(), self._arrived)

    def _unregister(self) -> None:
        if self._is_registered:
            self._is_registered = False
            self._loop.remove_reader(self._socket.fileno())

    def _arrived(self) -> None:
        if self._awaited:
            _set(self._awaited)
        elif self._ended:
            self._look()
        else:
            # Epoll would tell again and again what is read when it is asked for.
            self._unregister()

    async def _readable(self) -> None:
        self._register()
        self._awaited = self._loop.create_future()
        try:
            await self._wait(self._awaited)
        finally:
            self._awaited = None

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._socket.fileno(), _set, ready)
        try:
            await self._wait(ready)
        finally:
            self._loop.remove_writer(self._socket.fileno())

    async def _wait(self, ready: asyncio.Future[None]) -> None:
        silence = _Silence(self._loop, self._silence_s, self._socket, ready)
        try:
            await ready
        finally:
            silence.end()


class _Silence:
    """Gives up a wait after a time in which the receiver took nothing of what the kernel has for it.

    A slow receiver of a large chunk is not silent: for as long as it reads there may be neither room for more
    nor an answer.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        silence_s: float,
        sock: socket.socket,
        ready: asyncio.Future[None],
    ) -> None:
        self._loop, self._silence_s, self._socket, self._ready = loop, silence_s, sock, ready
        self._untaken_bytes = _untaken_bytes(sock)
        self._timer = loop.call_later(silence_s, self._look)

    def _look(self) -> None:
        before, self._untaken_bytes = self._untaken_bytes, _untaken_bytes(self._socket)
        if self._untaken_bytes < before:
            self._timer = self._loop.call_later(self._silence_s, self._look)
        elif not self._ready.done():
            self._ready.set_exception(TimeoutError())

    def end(self) -> None:
        self._timer.cancel()


def _untaken_bytes(sock: socket.socket) -> int:
    """Bytes that the kernel has and the receiver's has not taken (SIOCOUTQ)."""
    if sock.fileno() < 0:  # closed by who did not wait
        return 0
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)

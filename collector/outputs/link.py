"""One connection of an output: a non-blocking socket, plain or TLS, written without copies.

asyncio's streams would copy: what a socket does not take at once is appended to a
buffer, and TLS goes through two memory BIOs. Here the chunk's own bytes are given
to the kernel (`sendmsg`) or to OpenSSL until all are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from collector.outputs.dialling import SILENCE_S

Result = TypeVar("Result")

# A close in good order waits this long for the receiver to have read everything.
LINGER_S = 1.0

RECEIVE_BYTES = 4096
TLS_RECORD_BYTES = 16 << 10


class ConnectionEnded(ConnectionResetError):
    """The receiver has closed the connection."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the receiver closed the connection")


class Link:
    """A connection. A wait without progress for `silence_s` ends with TimeoutError."""

    def __init__(self, sock: socket.socket, silence_s: float = SILENCE_S) -> None:
        self._socket = sock
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._watched = False
        self.uses = 0
        self.reusable = True  # what the receiver said about it

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Puts TLS on the connection. Raises ssl.SSLError, OSError, TimeoutError."""
        secured = context.wrap_socket(
            self._socket, server_hostname=server_name, do_handshake_on_connect=False
        )
        self._socket = secured
        await self._complete(secured.do_handshake, self._readable)

    async def send(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Writes the buffers one after the other; returns when the kernel has all of them."""
        if isinstance(self._socket, ssl.SSLSocket):
            if sum(map(len, buffers)) <= TLS_RECORD_BYTES:
                buffers = (b"".join(buffers),)
            for buffer in buffers:
                await self._send_secured(self._socket, memoryview(buffer))
            return
        views = deque(memoryview(buffer) for buffer in buffers if buffer)
        while views:
            sent = await self._complete(lambda: self._socket.sendmsg(views), self._writable)
            while views and sent >= len(views[0]):
                sent -= len(views.popleft())
            if sent:
                views[0] = views[0][sent:]

    async def _send_secured(self, secured: ssl.SSLSocket, view: memoryview) -> None:
        """OpenSSL takes one TLS record a call, 65,000 of them for a GiB: nothing else is done between two."""
        while view:
            try:
                while view:
                    view = view[secured.send(view) :]
            except ssl.SSLWantWriteError:
                await self._writable()
            except ssl.SSLWantReadError:
                await self._readable()

    async def receive(self, most: int = RECEIVE_BYTES) -> bytes:
        """Some bytes, at least one. Raises ConnectionEnded."""
        data = await self._complete(lambda: self._socket.recv(most), self._readable)
        if not data:
            raise ConnectionEnded
        return data

    async def receive_all(self, most: int) -> bytes:
        """What is there, one byte at least; TLS gives one record a call. Raises ConnectionEnded."""
        parts = [await self.receive(most)]
        left = most - len(parts[0])
        while left > 0:
            try:
                part = self._socket.recv(left)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:
                break  # what came before it counts; the next call meets it again
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self) -> bytes:
        return self._socket.recv(RECEIVE_BYTES)

    def watch(self, ended: Callable[[], None]) -> None:
        """While nothing is asked of the receiver: calls `ended` when it closes, or says anything."""
        self._watched = True
        self._loop.add_reader(self._socket.fileno(), self._look, ended)

    def _look(self, ended: Callable[[], None]) -> None:
        try:
            self._read()
        except (BlockingIOError, ssl.SSLWantReadError):
            return  # TLS 1.3 session tickets come by themselves
        except OSError:
            pass
        ended()

    def unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._socket.fileno())

    def close(self) -> None:
        """Drops the connection."""
        self.unwatch()
        self._socket.close()

    async def finish(self) -> None:
        """Ends the connection after the receiver has read everything, or after LINGER_S.

        Closing while something from the receiver is unread would make the kernel
        send a reset, and a reset takes away what the receiver has not read yet.
        """
        self.unwatch()
        try:
            with contextlib.suppress(ssl.SSLError):
                if isinstance(self._socket, ssl.SSLSocket):
                    self._socket.unwrap()
            self._socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LINGER_S):
                while await self._complete(self._read, self._readable):
                    pass
        except OSError:
            pass  # it is being ended: what it says no longer matters
        finally:
            self.close()

    async def _complete(self, operation: Callable[[], Result], wait: Callable[[], Awaitable[None]]) -> Result:
        """Tries until the socket does not say that it would block. TLS may want to read in order to write."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                await wait()
            except ssl.SSLWantReadError:
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()

    async def _readable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(self._socket.fileno(), _set, ready)
        try:
            async with asyncio.timeout(self._silence_s):
                await ready
        finally:
            self._loop.remove_reader(self._socket.fileno())

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._socket.fileno(), _set, ready)
        try:
            async with asyncio.timeout(self._silence_s):
                await ready
        finally:
            self._loop.remove_writer(self._socket.fileno())


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)

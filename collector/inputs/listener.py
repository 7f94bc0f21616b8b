"""A listening socket of an input: clients let in one by one, with TLS where asked, up to a number."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable

from collector.certificates import ContextOfFiles
from collector.errors import OperatorError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]
"""Speaks with a client; the text is its address. The connection is closed when it returns."""

BACKLOG = 128  # Fluent Bit's net.backlog
TLS_HANDSHAKE_S = 10.0
# A reader holds up to twice as much before it stops the client.
READ_AHEAD_BYTES = 32 << 10
# How long no client is let in when there are no descriptors left.
PAUSE_S = 0.5


class Unlistenable(OperatorError):
    """The place to listen at can't be had."""


def listen(address: str, port: int) -> socket.socket:
    """Raises Unlistenable."""
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=BACKLOG)
    except (OSError, socket.gaierror) as reason:
        raise _unlistenable(f"{address}:{port}", reason) from None


def listen_unix(path: str, mode: int | None) -> socket.socket:
    """A socket left behind by a process that is gone is replaced. Raises Unlistenable."""
    try:
        _remove_left_behind(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(BACKLOG)
    except OSError as reason:
        raise _unlistenable(path, reason) from None
    return sock


def _remove_left_behind(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # somebody's file: binding will say so
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def _unlistenable(where: str, reason: OSError) -> Unlistenable:
    return Unlistenable(
        f"{where} can't be listened at: {reason.strerror or reason}.",
        "Nobody can connect.",
        "Look with `ss -lp` who has it, or choose another.",
    )


class Listener:
    """Lets clients in until it is told to stop. `refuse(cause)` counts those that are not."""

    def __init__(
        self,
        sock: socket.socket,
        serve: Serve,
        *,
        tls: ContextOfFiles | None,
        max_clients: int,
        refuse: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._serve = serve
        self._tls = tls
        self._max_clients = max_clients
        self._refuse = refuse
        self._log = log
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    async def run(self, stop: asyncio.Event) -> None:
        """Accepts until `stop`; returns when all clients are gone."""
        accepting = asyncio.create_task(self._accept())
        try:
            await stop.wait()
            accepting.cancel()
            self._socket.close()
            if self._clients:
                await asyncio.wait(self._clients)
        finally:
            for task in (accepting, *self._clients):
                task.cancel()
            self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(self._socket)
            except OSError as reason:
                # The client was gone before it was let in; or there are no descriptors for it.
                if reason.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._log.error("no client can be let in: %s", reason.strerror)
                    await asyncio.sleep(PAUSE_S)
                continue
            if len(self._clients) >= self._max_clients:
                self._refuse("connections")
                sock.close()
                continue
            task = loop.create_task(self._converse(sock, _spelled(address)))
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

    async def _converse(self, sock: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            # A client that was switched off says nothing for ever.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        reader = asyncio.StreamReader(READ_AHEAD_BYTES, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        context = self._tls.context() if self._tls else None
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=context,
                ssl_handshake_timeout=TLS_HANDSHAKE_S if context else None,
            )
        except (OSError, TimeoutError) as reason:
            sock.close()
            self._refuse("tls")
            self._log.warning("%s could not begin TLS: %s", address, reason)
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._serve(reader, writer, address)
        except (ConnectionError, OSError) as reason:
            self._log.debug("%s: %s", address, reason)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()


def _spelled(address: object) -> str:
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return "a local client"

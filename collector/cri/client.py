"""A connection to a runtime's socket, and calls over it, one at a time."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

from collector.cri import grpc
from collector.cri.grpc import Answer, Call, Stream
from collector.cri.http2 import Connection, ProtocolError
from collector.version import version

CALL_S = 10  # a busy containerd answers within a second or two
# A piece is decoded without a pause: 30 containers, some ms.
_PIECE_BYTES = 32 << 10
# Of a stream of events, which may come as fast as the runtime likes: 16 KiB each 10 ms.
_STREAM_PIECE_BYTES, _STREAM_PAUSE_S = 16 << 10, 0.01


class NotARuntime(Exception):
    """Who listens at the socket is not to be believed."""


class Client:
    """Made by `connect`. Calls raise OSError, ProtocolError, grpc.Refused, and what `take` raises."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = Connection()
        self._user_agent = f"podwitness/{version()}"

    @classmethod
    async def connect(cls, path: str) -> Self:
        """Raises OSError (TimeoutError is one), NotARuntime."""
        async with asyncio.timeout(CALL_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=_PIECE_BYTES)
        uid = _peer_uid(writer)
        if uid not in (0, os.geteuid()):
            writer.close()
            raise NotARuntime(f"{path} is served by user {uid}, not by root")
        return cls(reader, writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def call(self, method: str, request: bytes, take: Callable[[int, int | bytes], None]) -> Answer:
        """`take` is given the number and value of each of the answer's fields, as they come."""
        answer = Answer()
        deadline_s = asyncio.get_running_loop().time() + CALL_S
        await self._run(answer, method, request, take, deadline_s)
        return answer

    async def stream(self, method: str, request: bytes, take: Callable[[bytes], None]) -> None:
        """`take` is given messages, until the runtime ends it. It may be silent for as long as it likes."""

        def take_message(_: int, message: int | bytes) -> None:
            assert isinstance(message, bytes)
            take(message)

        await self._run(Stream(), method, request, take_message, None)

    async def _run(
        self,
        call: Call,
        method: str,
        request: bytes,
        take: Callable[[int, int | bytes], None],
        deadline_s: float | None,
    ) -> None:
        is_stream = deadline_s is None
        head = grpc.headers(method, self._user_agent, 0 if is_stream else CALL_S)
        stream = self._connection.request(head, grpc.message(request))
        try:
            while not call.is_done:
                async with asyncio.timeout_at(deadline_s):
                    await self._send()
                    data = await self._reader.read(_STREAM_PIECE_BYTES if is_stream else _PIECE_BYTES)
                if not data:
                    raise ProtocolError("the runtime has closed the connection")
                self._take(stream, call, data, take)
                if is_stream:
                    await asyncio.sleep(_STREAM_PAUSE_S)
        finally:
            self._connection.cancel(stream)

    def _take(self, stream: int, call: Call, data: bytes, take: Callable[[int, int | bytes], None]) -> None:
        for event in self._connection.feed(data):
            if event.stream == stream:
                for number, value in call.take(event):
                    take(number, value)

    async def _send(self) -> None:
        if self._connection.outgoing:
            self._writer.write(bytes(self._connection.outgoing))
            self._connection.outgoing.clear()
            await self._writer.drain()


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    # struct ucred of unix(7): pid, uid, gid
    credentials = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    uid: int = struct.unpack("3i", credentials)[1]
    return uid

"""Input `forward`: what Fluentd, Fluent Bit, another podwitness or a logging library sends.

A message is acknowledged when all outputs have its records, or the spool has; one
that was taken twice (its ack was lost) has the same chunk id both times, made
from the client's. While the outputs have no room, clients are not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.config.instances import InputCommon
from collector.config.kinds import Kind
from collector.config.schema import boolean, integer, key, repeated, size_bytes, text
from collector.delivery.chunk import Chunk
from collector.filters.chain import Tagged
from collector.inputs.admission import Admission, Holder
from collector.inputs.forward_handshake import MAX_PING_BYTES, Gate, Refused, ServerHandshake
from collector.inputs.forward_messages import (
    Message,
    MessageStream,
    NotForward,
    acknowledgement,
    read_message,
)
from collector.inputs.listener import Listener, listen, listen_unix
from collector.inputs.made_chunks import chunks
from collector.inputs.tls import ServerTlsSettings, server_sessions
from collector.inputs.under_way import UnderWay
from collector.service.stalls import Stall

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Receives records from Fluentd, Fluent Bit, another podwitness or a logging library."

MAX_CLIENTS = 1024
HANDSHAKE_S = 10.0
# A message has to be there whole by then, not counting the time in which it was not read.
MESSAGE_S = 120.0
# A client that does not read its acks is gone.
ACK_S = 60.0
# Larger messages are read in a thread, so that one of some MiB holds nobody up.
IN_THREAD_FROM_BYTES = 64 << 10
# Messages of all clients together: some of the largest, so that a few can arrive beside each other.
LARGEST_TOGETHER = 4


def _read_user(written: str) -> tuple[str, str]:
    name, *password = written.split(maxsplit=1)
    if not password:
        raise ValueError("expected a user's name and password.")
    return name, password[0]


def _read_mode(written: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", written):
        raise ValueError("expected permissions in three octal digits, such as 0660.")
    return int(written, 8)


user: Kind[tuple[str, str]] = Kind("name and password", _read_user, show=lambda value: "")
permissions: Kind[int] = Kind("octal permissions", _read_mode)


@dataclass(frozen=True)
class Settings(ServerTlsSettings):
    """Keys of [INPUT] Name forward."""

    listen: str = key("Listen", text, default="0.0.0.0", help="Address to listen at.")
    port: int = key(
        "Port", integer(1, 65535), default="24224", help="Port to listen at; UDP for signs of life too."
    )
    unix_path: str = key(
        "Unix_Path", text, default="", help="UNIX socket to listen at in place of Listen and Port."
    )
    unix_perm: int | None = key(
        "Unix_Perm", permissions, default=None, help="Permissions of the UNIX socket."
    )
    buffer_chunk_size: int = key(
        "Buffer_Chunk_Size", size_bytes, default="1024000", help="Most bytes read from a client at a time."
    )
    buffer_max_size: int = key(
        "Buffer_Max_Size",
        size_bytes,
        default="6144000",
        help="Most bytes of a message, and of its entries once they are decompressed.",
    )
    tag_prefix: str = key(
        "Tag_Prefix", text, default="", help="What is put before the tags that clients send."
    )
    shared_key: str = key("Shared_Key", text, default="", help="Secret that clients have to know.")
    empty_shared_key: bool = key(
        "Empty_Shared_Key", boolean, default="Off", help="Do the handshake with an empty shared key."
    )
    self_hostname: str = key(
        "Self_Hostname", text, default="", help="Own name in the handshake; the host's name if not given."
    )
    users: tuple[tuple[str, str], ...] = key(
        "Security.Users", repeated(user), default=(), help="A user that is let in, as `name password`."
    )

    def __post_init__(self) -> None:
        if self.unix_path and self.tls:
            raise ValueError("has both Unix_Path and tls: TLS needs Listen and Port.")
        if self.users and not self.has_handshake:
            raise ValueError("has Security.Users without Shared_Key or Empty_Shared_Key.")
        if self.buffer_max_size < 1024 or self.buffer_chunk_size < 1024:
            raise ValueError("has a Buffer_Max_Size or Buffer_Chunk_Size below 1024 bytes.")
        super().__post_init__()

    @property
    def has_handshake(self) -> bool:
        return bool(self.shared_key) or self.empty_shared_key

    @property
    def gate(self) -> Gate:
        return Gate(self.shared_key, self.self_hostname or socket.gethostname(), dict(self.users))


class Forward:
    """Implements Input. Raises Unlistenable, TlsFilesUnusable when made: a taken port ends the start."""

    def __init__(self, settings: Settings, context: InputContext) -> None:
        self._settings = settings
        self._context = context
        self._admission = Admission(max(LARGEST_TOGETHER * settings.buffer_max_size, 1 << 20))
        self._started_ns = time.time_ns()
        self._messages = 0
        self._taking = UnderWay(context.name, "message")
        tls = server_sessions(settings, context.log)
        sock, self._beats = _open_sockets(settings)
        self.address = sock.getsockname()
        self._listener = Listener(
            sock, self._serve, tls=tls, max_clients=MAX_CLIENTS, refuse=self._refuse, log=context.log
        )
        self._stop = asyncio.Event()
        self._idle: set[asyncio.Task[Any]] = set()  # waiting for their client
        self._under_way: dict[bytes, asyncio.Task[bool]] = {}  # chunks to be acknowledged, by their ids

    def stalls(self, now_s: float) -> Iterable[Stall]:
        """Messages that are there whole and not handed over."""
        return self._taking.stalls(now_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Receives until `stop`; a message that is there whole is still taken."""
        self._stop = stop
        answering = await self._answer_beats()
        stopping = asyncio.create_task(self._stop_idle(stop))
        try:
            await self._listener.run(stop)
        finally:
            stopping.cancel()
            if answering is not None:
                answering.close()
            if self._settings.unix_path:
                with contextlib.suppress(OSError):
                    os.unlink(self._settings.unix_path)

    async def _answer_beats(self) -> asyncio.DatagramTransport | None:
        if self._beats is None:
            return None
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(_Heartbeat, sock=self._beats)
        return transport

    async def _stop_idle(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for task in list(self._idle):
            task.cancel()

    def _refuse(self, cause: str) -> None:
        self._context.metrics.add("podwitness_forward_refused_total", self._context.name, cause)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        put_out = asyncio.Event()

        def evict() -> None:
            put_out.set()
            task.cancel()

        holder = self._admission.enter(evict)
        self._context.metrics.set("podwitness_forward_clients", self._context.name, to=self._listener.clients)
        try:
            if self._settings.has_handshake:
                await self._shake_hands(reader, writer)
            await self._receive(reader, writer, holder)
        except NotForward as reason:
            self._turn_away(address, str(reason), reason.cause)
        except Refused as reason:
            writer.write(reason.answer)
            self._turn_away(address, f"is not let in: {reason}", "handshake")
        except asyncio.CancelledError:
            if put_out.is_set():
                total = self._admission.total_bytes
                said = f"holds most of the {total} bytes that unfinished messages may take together"
                self._turn_away(address, said, "memory")
            elif not self._stop.is_set():
                raise
        finally:
            self._admission.leave(holder)
            left = self._listener.clients - 1
            self._context.metrics.set("podwitness_forward_clients", self._context.name, to=left)

    def _turn_away(self, address: str, reason: str, cause: str) -> None:
        self._refuse(cause)
        self._context.log.warning("%s %s; its connection is closed", address, reason)

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshake = ServerHandshake(self._settings.gate)
        stream = MessageStream(MAX_PING_BYTES)
        writer.write(handshake.greeting())
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                while True:
                    data = await self._read(reader, 4096)
                    if not data:
                        raise NotForward("left within the handshake", "handshake")
                    for ping in stream.feed(data):
                        writer.write(handshake.answer(ping))
                        return
        except TimeoutError:
            raise NotForward(f"did not finish the handshake in {HANDSHAKE_S:g} s", "slow") from None

    async def _read(self, reader: asyncio.StreamReader, size_bytes: int) -> bytes:
        """What the client sends next; b"" at its end, and when it is time to stop."""
        task = asyncio.current_task()
        assert task is not None
        if self._stop.is_set():
            return b""
        self._idle.add(task)
        try:
            return await reader.read(size_bytes)
        finally:
            self._idle.discard(task)

    async def _receive(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, holder: Holder
    ) -> None:
        stream = MessageStream(self._settings.buffer_max_size)
        loop = asyncio.get_running_loop()
        left_s = MESSAGE_S
        while True:
            began_s = loop.time()
            try:
                async with asyncio.timeout(left_s if len(stream) else None):
                    data = await self._read(reader, self._settings.buffer_chunk_size)
            except TimeoutError:
                raise NotForward(f"did not finish its message in {MESSAGE_S:g} s", "slow") from None
            if not data:
                return
            left_s = max(0.0, left_s - (loop.time() - began_s)) if len(stream) else MESSAGE_S
            await self._admission.hold(holder, len(stream) + len(data))
            for raw in stream.feed(data):
                left_s = MESSAGE_S
                await self._take(raw, writer, holder)
            await self._admission.hold(holder, len(stream))

    async def _take(self, raw: bytes, writer: asyncio.StreamWriter, holder: Holder) -> None:
        """Hands a message to the router and acknowledges it."""
        with self._taking.taken():
            message = await self._read_message(raw)
            if message is None:
                return
            await self._context.chain.ready(self._tag(message.tag))
            made = self._chunked(message)
        size_bytes = len(raw) + len(message.entries)
        is_safe = True
        for chunk in made:
            with self._taking.offered():
                if message.ack:
                    await self._admission.hold(holder, 0)
                    is_safe = await self._hand_over(chunk, size_bytes)
                else:
                    await self._admission.hold(holder, size_bytes, complete=True)
                    await self._context.intake.submit(chunk)
        # Without an ack the client sends the message again.
        if message.ack and is_safe:
            await self._acknowledge(writer, message.ack)

    async def _read_message(self, raw: bytes) -> Message | None:
        limit_bytes, now_ns = self._settings.buffer_max_size, time.time_ns()
        if len(raw) < IN_THREAD_FROM_BYTES:
            return read_message(raw, now_ns, limit_bytes)
        return await asyncio.to_thread(read_message, raw, now_ns, limit_bytes)

    async def _acknowledge(self, writer: asyncio.StreamWriter, ack: bytes) -> None:
        writer.write(acknowledgement(ack))
        try:
            async with asyncio.timeout(ACK_S):
                await writer.drain()
        except TimeoutError:
            raise NotForward(f"did not read its acks for {ACK_S:g} s", "slow") from None

    async def _hand_over(self, chunk: Chunk, size_bytes: int) -> bool:
        """Whether the chunk is safe now. It stays under way when its client leaves.

        A client that had no ack in time sends the chunk again, and again while the
        outputs are down: then it waits for the one that is under way.
        """
        if chunk.id not in self._under_way:
            holder, begun = self._admission.enter(lambda: None), False
            try:
                await self._admission.hold(holder, size_bytes, complete=True)
                if chunk.id not in self._under_way:  # nobody else had it while there was no room
                    self._under_way[chunk.id] = self._begin(chunk, holder)
                    begun = True
            finally:
                if not begun:
                    self._admission.leave(holder)
        return await asyncio.shield(self._under_way[chunk.id])

    def _begin(self, chunk: Chunk, holder: Holder) -> asyncio.Task[bool]:
        task = asyncio.create_task(self._context.intake.submit_safely(chunk))

        def end(_: asyncio.Task[bool]) -> None:
            del self._under_way[chunk.id]
            self._admission.leave(holder)

        task.add_done_callback(end)
        return task

    def _chunked(self, message: Message) -> list[Chunk]:
        context = self._context
        if message.malformed:
            context.metrics.add(
                "podwitness_forward_malformed_records_total", context.name, by=message.malformed
            )
        tag = self._tag(message.tag)
        _, rest = context.chain.record_plan(tag)
        parts = [Tagged(tag, message.entries, message.records)]
        if rest:
            parts = context.chain.apply(rest, tag, message.entries, None)
        self._messages += 1
        ident: tuple[bytes | str | int, ...] = (
            context.node_id,
            context.name,
            self._started_ns,
            self._messages,
        )
        if message.ack:
            ident = ("forward", tag, message.ack)
        left = [part for part in parts if part.records]
        return chunks(context.name, left, ident, raw_bytes=len(message.entries))

    def _tag(self, sent: str) -> str:
        common = self._context.plugin.common
        own = common.tag if isinstance(common, InputCommon) else ""
        return own or self._settings.tag_prefix + sent


class _Heartbeat(asyncio.DatagramProtocol):
    """Fluentd's UDP heartbeat: a byte, and it back."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(data) == 1:  # never more than was sent, so that nobody is flooded by a forged address
            self._transport.sendto(b"\0", addr)


def _open_sockets(settings: Settings) -> tuple[socket.socket, socket.socket | None]:
    if settings.unix_path:
        return listen_unix(settings.unix_path, settings.unix_perm), None
    sock = listen(settings.listen, settings.port)
    beats = socket.socket(sock.family, socket.SOCK_DGRAM)
    try:
        beats.bind(sock.getsockname()[:2])
    except OSError:
        beats.close()
        return sock, None  # another program has the UDP port: Fluentd's other heartbeats work without it
    beats.setblocking(False)
    return sock, beats


def make(settings: Settings, context: InputContext) -> Input:
    return Forward(settings, context)

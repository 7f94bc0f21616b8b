"""Output `forward`: to Fluentd, Fluent Bit, or whatever speaks the forward protocol.

One message per chunk (PackedForward), one chunk under way per connection. With
Require_ack_response a chunk counts as delivered when the receiver has answered
with its id; anything else, silence included, ends the connection, and the chunk
is sent again with the same id on a new one. Without it a chunk counts as
delivered when the kernel has taken it, which a receiver that dies can belie.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.schema import boolean, choice, integer, key, text
from collector.outputs.forward_protocol import (
    Credentials,
    Handshake,
    Messages,
    ProtocolError,
    encode_message,
    integer_times,
    is_ack,
    message_options,
)
from collector.outputs.link import SILENCE_S, Link, connect
from collector.outputs.pool import ConnectionSettings, Pool
from collector.outputs.resolver import Endpoint, Resolver
from collector.outputs.tls import TlsSessions, TlsSettings
from collector.plugin import DeliveryError

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk

SUMMARY = "Sends to Fluentd, Fluent Bit or another receiver of the forward protocol."

# Each has its own connection. More would only help where a receiver takes long to acknowledge.
DELIVERIES = 4

_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to ask for a gzip header


@dataclass(frozen=True)
class Settings(ConnectionSettings, TlsSettings):
    """Keys of [OUTPUT] Name forward."""

    host: str = key("Host", text, default="127.0.0.1", help="Receiver's name or address.")
    port: int = key("Port", integer(1, 65535), default="24224", help="Receiver's port.")
    unix_path: str = key("Unix_Path", text, default="", help="UNIX socket to use in place of Host and Port.")
    require_ack_response: bool = key(
        "Require_ack_response",
        boolean,
        default="Off",
        help="Count a chunk as delivered only when the receiver has acknowledged it.",
    )
    send_options: bool = key(
        "Send_options", boolean, default="Off", help="Tell the number of records of each chunk."
    )
    time_as_integer: bool = key(
        "Time_as_Integer", boolean, default="Off", help="Times in whole seconds, for Fluentd up to 0.12."
    )
    tag: str = key("Tag", text, default="", help="Tag to send in place of the records' own.")
    compress: str = key(
        "Compress", choice("text", "gzip"), default="text", help="gzip: entries are sent compressed."
    )
    shared_key: str = key("Shared_Key", text, default="", help="Secret that both ends prove to know.")
    empty_shared_key: bool = key(
        "Empty_Shared_Key", boolean, default="Off", help="Do the handshake with an empty shared key."
    )
    self_hostname: str = key(
        "Self_Hostname", text, default="", help="Own name in the handshake; the host's name if not given."
    )
    username: str = key("Username", text, default="", help="For a receiver that asks for a user.")
    password: str = key("Password", text, default="", help="Password of Username.")

    def __post_init__(self) -> None:
        if self.unix_path and self.tls:
            raise ValueError("has both Unix_Path and tls: TLS needs Host and Port.")
        super().__post_init__()

    @property
    def credentials(self) -> Credentials | None:
        """What the handshake proves; None: there is none."""
        if not self.shared_key and not self.empty_shared_key:
            return None
        own_name = self.self_hostname or socket.gethostname()
        return Credentials(self.shared_key, own_name, self.username, self.password)


def make(settings: Settings, context: Context) -> ForwardOutput:
    """Raises TlsFilesUnusable."""
    return ForwardOutput(settings, TlsSessions(settings, context.log) if settings.tls else None)


class ForwardOutput:
    """Implements Output. Up to DELIVERIES chunks may be under way at the same time."""

    deliveries = DELIVERIES

    def __init__(self, settings: Settings, tls: TlsSessions | None) -> None:
        self._settings = settings
        self._tls = tls
        self._endpoint = Endpoint(settings.host, settings.port, settings.unix_path)
        self._resolver = Resolver(self._endpoint)
        self._credentials = settings.credentials
        self._pool = Pool(settings, self._open)

    async def deliver(self, chunk: Chunk) -> None:
        """Returns when the receiver has the chunk. Raises DeliveryError."""
        parts = await self._encode(chunk)
        try:
            link = await self._pool.take()
            kept = link.uses > 0
            try:
                await self._send_over(link, chunk, parts)
            except ConnectionError:
                if not kept:
                    raise
                # The receiver ended it while it was idle: nothing that a new connection would not mend.
                await self._send_over(await self._open(), chunk, parts)
        except (OSError, ProtocolError) as reason:
            raise DeliveryError(f"{self._endpoint} {_sentence(reason)}") from reason

    async def close(self) -> None:
        """Ends connections in good order."""
        await self._pool.close()

    async def _encode(self, chunk: Chunk) -> tuple[bytes, bytes, bytes]:
        own = self._settings
        entries = integer_times(chunk.entries) if own.time_as_integer else chunk.entries
        compressed = own.compress == "gzip"
        if compressed:
            # In a thread, which zlib lets run beside the loop: 2 MiB take about 50 ms.
            entries = await asyncio.to_thread(zlib.compress, entries, wbits=_GZIP)
        options = message_options(
            chunk.records,
            chunk.id if own.require_ack_response else None,
            sized=own.send_options,
            compressed=compressed,
        )
        return encode_message(own.tag or chunk.tag, entries, options)

    async def _send_over(self, link: Link, chunk: Chunk, parts: tuple[bytes, bytes, bytes]) -> None:
        try:
            await link.send(parts)
            if self._settings.require_ack_response:
                await _receive_ack(link, chunk.id)
        except BaseException:
            link.close()
            raise
        await self._pool.give_back(link)

    async def _open(self) -> Link:
        """A new connection, after TLS and handshake. Raises DeliveryError."""
        timeout_s = self._settings.connect_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connect(timeout_s)
        except TimeoutError as reason:
            raise DeliveryError(
                f"{self._endpoint} did not accept a connection in {timeout_s:g} s"
            ) from reason
        except (OSError, ProtocolError) as reason:
            raise DeliveryError(f"can't connect to {self._endpoint}: it {_sentence(reason)}") from reason

    async def _connect(self, timeout_s: float) -> Link:
        addresses = await self._resolver.addresses()
        link = await connect(addresses, timeout_s, self._settings.io_timeout_s or SILENCE_S)
        try:
            if self._tls:
                await link.start_tls(self._tls.context(), self._tls.server_name(self._settings.host))
            if self._credentials:
                await _shake_hands(link, Handshake(self._credentials))
        except BaseException:
            link.close()
            raise
        return link


async def _shake_hands(link: Link, handshake: Handshake) -> None:
    while not handshake.established:
        answer = handshake.receive(await link.receive())
        if answer:
            await link.send([answer])
    link.reusable = handshake.keepalive


async def _receive_ack(link: Link, chunk_id: bytes) -> None:
    messages = Messages()
    while True:
        for message in messages.feed(await link.receive()):
            if not is_ack(message, chunk_id):
                raise ProtocolError("acknowledged another chunk than the one that was sent")
            return


def _sentence(reason: Exception) -> str:
    """What the receiver did, as the rest of a sentence that begins with its name."""
    if isinstance(reason, TimeoutError) and reason.errno is None:
        return "neither read nor answered in time"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"has a certificate that can't be trusted: {reason.verify_message}"
    if isinstance(reason, ssl.SSLError):
        return f"broke TLS: {reason.reason or reason}"
    if isinstance(reason, socket.gaierror):
        return f"has no address: {reason.strerror}"
    if isinstance(reason, OSError) and reason.errno:
        return f"failed: {os.strerror(reason.errno)} ({errno.errorcode.get(reason.errno, reason.errno)})"
    return str(reason)

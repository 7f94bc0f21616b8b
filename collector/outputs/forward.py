"""Output `forward`: to Fluentd, Fluent Bit, or whatever speaks the forward protocol.

One message per chunk (PackedForward), one chunk under way per connection. With
Require_ack_response a chunk counts as delivered when the receiver has answered
with its id; anything else, silence included, ends the connection, and the chunk
is sent again with the same id on a new one. Without it a chunk counts as
delivered when the kernel has taken it, which a receiver that dies can belie.

As in Fluent Bit, Time_as_Integer makes it Forward mode, and a Tag that names
values of the record makes it Message mode, a message for each record.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector import compression
from collector.accessor import Template
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, integer, key, repeated, text
from collector.outputs.connector import Connector, NetworkSettings, ProtocolError, sentence
from collector.outputs.forward_protocol import (
    Credentials,
    Handshake,
    Messages,
    Request,
    encode_forward,
    encode_message,
    encode_messages,
    integer_times,
    is_ack,
    message_options,
    without_metadata,
)
from collector.outputs.link import Link
from collector.outputs.pool import Pool
from collector.outputs.resolver import Endpoint
from collector.outputs.upstream import Upstream
from collector.plugin import Connections, DeliveryError, Output

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk, Packed

SUMMARY = "Sends to Fluentd, Fluent Bit or another receiver of the forward protocol."

# Each has its own connection. More would only help where a receiver takes long to acknowledge.
DELIVERIES = 4

# Messages (of Message mode) that are sent before their acks are read: few enough for the acks to find room in
# the socket's buffers, or both ends would wait for the other to read.
ACKS_BEHIND = 256


def _read_option(written: str) -> tuple[str, str]:
    name, *value = written.split(maxsplit=1)
    if not value:
        raise ValueError("expected a name and a value.")
    if name in ("chunk", "size", "compressed", "fluent_signal"):
        raise ValueError(f"expected another name: {name} is set by podwitness.")
    return name, value[0]


option: Kind[tuple[str, str]] = Kind("name and value", _read_option, show=" ".join)


@dataclass(frozen=True)
class Settings(NetworkSettings):
    """Keys of [OUTPUT] Name forward."""

    host: str = key("Host", text, default="127.0.0.1", help="Receiver's name or address.")
    port: int = key("Port", integer(1, 65535), default="24224", help="Receiver's port.")
    unix_path: str = key("Unix_Path", text, default="", help="UNIX socket to use in place of Host and Port.")
    upstream: str = key(
        "Upstream",
        text,
        default="",
        help="File with an [UPSTREAM] and a [NODE] for each receiver, or the name of an [UPSTREAM].",
    )
    require_ack_response: bool = key(
        "Require_ack_response",
        boolean,
        default="Off",
        help="Count a chunk as delivered only when the receiver has acknowledged it.",
    )
    send_options: bool = key(
        "Send_options", boolean, default="Off", help="Tell the number of records of each chunk."
    )
    add_option: tuple[tuple[str, str], ...] = key(
        "add_option", repeated(option), default=(), help="Another option of the protocol, to be sent too."
    )
    time_as_integer: bool = key(
        "Time_as_Integer", boolean, default="Off", help="Times in whole seconds, for Fluentd up to 0.12."
    )
    retain_metadata: bool = key(
        "retain_metadata_in_forward_mode",
        boolean,
        default="Off",
        help="Whether metadata beside the time of a record that came by a forward input is passed on; "
        "Fluentd before 1.16 drops such records.",
    )
    tag: str = key(
        "Tag",
        text,
        default="",
        help="Tag to send in place of the records' own; may name values: `app.$stream`.",
    )
    compress: str = key(
        "Compress", choice("text", "gzip", "zstd"), default="text", help="How entries are compressed."
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
        if self.compressed and self.time_as_integer:
            raise ValueError(
                "has both Compress and Time_as_Integer, which Fluentd 0.12 does not read: keep one."
            )
        if self.compressed and not Template.read(self.tag).is_constant:
            raise ValueError("has both Compress and a Tag that names values of the record: keep one.")
        compression.require(self.compress)
        super().__post_init__()

    @property
    def compressed(self) -> bool:
        return self.compress != "text"

    @property
    def credentials(self) -> Credentials | None:
        """What the handshake proves; None: there is none."""
        if not self.shared_key and not self.empty_shared_key:
            return None
        own_name = self.self_hostname or socket.gethostname()
        return Credentials(self.shared_key, own_name, self.username, self.password)


def make(settings: Settings, context: Context) -> Output:
    """Raises TlsFilesUnusable."""
    # Only what came by the forward protocol can have metadata; looking for it costs a pass over the bytes.
    may_have_metadata = any(one.plugin == "forward" for one in context.document.inputs)
    nodes = context.plugin.nodes
    if not nodes or settings.unix_path:
        return ForwardOutput(settings, context.log, may_have_metadata=may_have_metadata)
    return Upstream(
        [
            (node, ForwardOutput(node.settings, context.log, may_have_metadata=may_have_metadata))
            for node in nodes
        ],
        context.log,
    )


class ForwardOutput:
    """Implements Output: one receiver. Up to `deliveries` chunks may be under way at the same time."""

    def __init__(self, settings: Settings, log: logging.Logger, *, may_have_metadata: bool = False) -> None:
        self._settings = settings
        self._strips = may_have_metadata and not settings.retain_metadata
        self._tag = Template.read(settings.tag)
        self._credentials = settings.credentials
        self._connector = Connector(
            settings,
            Endpoint(settings.host, settings.port, settings.unix_path),
            log,
            begin=self._shake_hands if self._credentials else None,
        )
        self._pool = Pool(settings, self._connector.open)
        self.deliveries = settings.deliveries(DELIVERIES)

    async def deliver(self, chunk: Chunk) -> None:
        """Returns when the receiver has the chunk. Raises DeliveryError."""
        requests = await self._encode(chunk)
        try:
            link = await self._pool.take()
            kept = link.uses > 0
            try:
                await self._send_over(link, requests)
            except ConnectionError:
                if not kept:
                    raise
                # The receiver ended it while it was idle: nothing that a new connection would not mend.
                await self._send_over(await self._pool.take_new(), requests)
        except (OSError, ProtocolError) as reason:
            raise DeliveryError(f"{self._connector.endpoint} {sentence(reason)}") from reason

    @property
    def connections(self) -> Connections:
        return self._pool.connections

    async def close(self) -> None:
        """Ends connections in good order."""
        await self._pool.close()

    async def _encode(self, chunk: Chunk) -> list[Request]:
        own = self._settings
        entries: Packed = without_metadata(chunk.entries) if self._strips else chunk.entries
        if own.time_as_integer:
            entries = integer_times(entries)
        ack = own.require_ack_response
        if not self._tag.is_constant:
            tag_of = self._tag.fill
            return await asyncio.to_thread(
                encode_messages, chunk.tag, entries, tag_of, chunk.id if ack else None, dict(own.add_option)
            )
        if own.compressed:
            entries = await asyncio.to_thread(compression.compress, entries, own.compress)
        options = message_options(
            chunk.records,
            chunk.id if ack else None,
            sized=own.send_options,
            compressed=own.compress if own.compressed else "",
            extra=dict(own.add_option),
        )
        tag = own.tag or chunk.tag
        if own.time_as_integer:
            parts = encode_forward(tag, entries, chunk.records, options)
        else:
            parts = encode_message(tag, entries, options)
        return [Request(parts, chunk.id if ack else b"")]

    async def _send_over(self, link: Link, requests: list[Request]) -> None:
        try:
            for begin in range(0, len(requests), ACKS_BEHIND):
                some = requests[begin : begin + ACKS_BEHIND]
                await link.send([part for request in some for part in request.parts])
                if some[0].chunk_id:
                    await _receive_acks(link, [request.chunk_id for request in some])
        except BaseException:
            link.close()
            raise
        await self._pool.give_back(link)

    async def _shake_hands(self, link: Link) -> None:
        assert self._credentials is not None
        handshake = Handshake(self._credentials)
        while not handshake.established:
            answer = handshake.receive(await link.receive())
            if answer:
                await link.send([answer])
        link.reusable = handshake.keepalive


async def _receive_acks(link: Link, chunk_ids: list[bytes]) -> None:
    messages = Messages()
    waiting = deque(chunk_ids)
    while waiting:
        for message in messages.feed(await link.receive()):
            if not waiting or not is_ack(message, waiting.popleft()):
                raise ProtocolError("acknowledged another chunk than the one that was sent")

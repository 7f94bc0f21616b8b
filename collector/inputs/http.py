"""`[INPUT] Name http`: records that are posted as JSON, as Fluent Bit's in_http takes them.

A request is answered as done when the router has its records; with a spool or an
output's acknowledgement behind it, when they are safe. One that finds no room is
answered late, and so holds its client back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from collector.config.instances import InputCommon
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, integer, key, repeated, size_bytes, text
from collector.delivery.chunk import Chunk
from collector.entries import Pairs, pack_entry
from collector.inputs.http_records import BadBody, records, tag_in, tag_of, unpacked
from collector.inputs.listener import Listener, listen
from collector.inputs.made_chunks import chunks, filtered
from collector.inputs.tls import ServerTlsSettings, server_sessions
from collector.inputs.under_way import UnderWay
from collector.service.http import MAX_HEAD_BYTES, BadRequest, Request, parse_head
from collector.service.stalls import Stall

if TYPE_CHECKING:
    from collector.context import InputContext
    from collector.plugin import Input

SUMMARY = "Takes records that are posted over HTTP."

MAX_CLIENTS = 256
# What all clients' bodies may take at the same time; others wait before theirs is read.
BODIES_BYTES = 32 << 20
REQUEST_S = 30.0  # a client that dribbles its request is cut off
IDLE_S = 75.0
STOP_S = 1.0
# A longer one is no address. It goes into each record, and there are many in a body.
MAX_ADDRESS_CHARACTERS = 64


def _read_header(written: str) -> tuple[str, str]:
    name, _, value = written.strip().partition(" ")
    if not value.strip() or any(one in written for one in "\r\n:"):
        raise ValueError("expected a header's name and its value, without a colon between them.")
    return name, value.strip()


header_kind = Kind("name and value", _read_header)


@dataclass(frozen=True)
class Settings(ServerTlsSettings):
    listen: str = key("Listen", text, default="0.0.0.0", help="Address to listen at.")
    port: int = key("Port", integer(0, 65535), default="9880", help="Port to listen at.")
    tag_key: str = key("Tag_Key", text, default="", help="A key of a record whose text is its tag.")
    buffer_max_size: int = key(
        "Buffer_Max_Size",
        size_bytes,
        default="4M",
        other_names=("http_server.buffer_max_size",),
        help="Longest body of a request.",
    )
    buffer_chunk_size: int = key(
        "Buffer_Chunk_Size",
        size_bytes,
        default="512k",
        other_names=("http_server.buffer_chunk_size",),
        help="Accepted; a body is read in one go.",
    )
    max_connections: int = key(
        "Max_Connections",
        integer(0),
        default="0",
        other_names=("http_server.max_connections",),
        help=f"Most clients at a time; 0, and what is above it: {MAX_CLIENTS}.",
    )
    successful_response_code: int = key(
        "Successful_Response_Code",
        Kind("200, 201 or 204", lambda written: int(choice("200", "201", "204").read(written))),
        default="201",
        help="Status of the answer to a request that was taken.",
    )
    success_header: tuple[tuple[str, str], ...] = key(
        "Success_Header", repeated(header_kind), default=(), help="A header of that answer, and its value."
    )
    add_remote_addr: bool = key(
        "Add_Remote_Addr",
        boolean,
        default="Off",
        help="Whether the client's address becomes a key: the first one of the header X-Forwarded-For, if it "
        f"has at most {MAX_ADDRESS_CHARACTERS} characters, else that of the connection.",
    )
    remote_addr_key: str = key(
        "Remote_Addr_Key", text, default="REMOTE_ADDR", help="What that key is called."
    )
    http2: bool = key(
        "HTTP2",
        boolean,
        default="On",
        other_names=("http_server.http2",),
        help="Accepted; HTTP/1.1 is spoken.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.buffer_max_size > BODIES_BYTES:
            raise ValueError(f"has a Buffer_Max_Size above {BODIES_BYTES >> 20}M.")

    @property
    def max_clients(self) -> int:
        return min(self.max_connections or MAX_CLIENTS, MAX_CLIENTS)


class Room:
    """Bytes that are shared; who asks for more than there is waits."""

    def __init__(self, total_bytes: int) -> None:
        self._left_bytes = total_bytes
        self._freed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def held(self, size_bytes: int):  # type: ignore[no-untyped-def]
        async with self._freed:
            await self._freed.wait_for(lambda: self._left_bytes >= size_bytes)
            self._left_bytes -= size_bytes
        try:
            yield
        finally:
            async with self._freed:
                self._left_bytes += size_bytes
                self._freed.notify_all()


class Http:
    """The running input."""

    def __init__(self, settings: Settings, context: InputContext) -> None:
        self._settings = settings
        self._context = context
        self._tls = server_sessions(settings, context.log)
        self._room = Room(BODIES_BYTES)
        self._started_ns = time.time_ns()
        self._requests = 0
        self._taking = UnderWay(context.name, "request")
        self.port = settings.port
        self.is_listening = asyncio.Event()

    def stalls(self, now_s: float) -> Iterable[Stall]:
        """Requests that are there whole and not handed over."""
        return self._taking.stalls(now_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Raises Unlistenable."""
        self._stop = stop
        sock = listen(self._settings.listen, self._settings.port)
        self.port = sock.getsockname()[1]
        listener = Listener(
            sock,
            self._converse,
            tls=self._tls,
            max_clients=self._settings.max_clients,
            refuse=lambda cause: self._context.metrics.add(
                "podwitness_http_refused_total", self._context.name, cause
            ),
            log=self._context.log,
        )
        self.is_listening.set()
        await listener.run(stop)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        keep_alive, wait_s = True, REQUEST_S
        while keep_alive and not self._stop.is_set():
            request = await self._head(reader, wait_s)
            if request is None:
                return
            if isinstance(request, BadRequest):
                await self._answer(
                    writer, request.status, HTTPStatus(request.status).phrase, keep_alive=False
                )
                return
            keep_alive, wait_s = request.keep_alive, IDLE_S
            if request.headers.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                await self._take(request, reader, writer, client_of(request, address))
            except BadBody as reason:
                self._context.metrics.add("podwitness_http_refused_total", self._context.name, "body")
                await self._answer(writer, HTTPStatus.BAD_REQUEST, f"error: {reason}\n", keep_alive=False)
                return

    async def _head(self, reader: asyncio.StreamReader, wait_s: float) -> Request | BadRequest | None:
        """None: the client has gone, or stays silent, or it is time to stop."""
        reading = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((reading, stopping), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return None
            head = reading.result()
            if len(head) > MAX_HEAD_BYTES:
                return BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return parse_head(head, self._settings.buffer_max_size, takes_chunks=True)
        except BadRequest as reason:
            return reason
        except asyncio.LimitOverrunError:
            return BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except (asyncio.IncompleteReadError, OSError):
            return None
        finally:
            reading.cancel()
            stopping.cancel()

    async def _take(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        """Raises BadBody, OSError."""
        settings = self._settings
        expected = settings.buffer_max_size if request.body_bytes < 0 else request.body_bytes
        async with self._room.held(expected):
            try:
                async with asyncio.timeout(REQUEST_S):
                    body = await _body(reader, request, settings.buffer_max_size)
            except (TimeoutError, asyncio.IncompleteReadError):
                raise ConnectionResetError("the request did not end") from None
            if (request.method, request.path) == ("GET", "/health"):
                await self._answer(writer, HTTPStatus.OK, health(), keep_alive=request.keep_alive)
                return
            if request.method not in ("POST", "PUT"):
                raise BadBody("records are posted")
            encoding = request.headers.get("content-encoding", "")
            with self._taking.taken():
                plain = await asyncio.to_thread(unpacked, body, encoding, settings.buffer_max_size)
                found = records(plain, request.headers.get("content-type", ""))
                made = await self._chunked(found, tag_of(request.path), address)
            with self._taking.offered():
                safe = [await self._context.intake.submit_safely(chunk) for chunk in made]
                is_safe = all(safe)
        if not is_safe:
            await self._answer(
                writer, HTTPStatus.SERVICE_UNAVAILABLE, "podwitness is stopping\n", keep_alive=False
            )
            return
        await self._answer(writer, settings.successful_response_code, "", keep_alive=request.keep_alive)

    async def _chunked(self, found: list[Pairs], path_tag: str, address: str) -> list[Chunk]:
        context, now_ns = self._context, time.time_ns()
        by_tag: dict[str, list[bytes]] = {}
        for pairs in found:
            tag = (tag_in(pairs, self._settings.tag_key) if self._settings.tag_key else None) or path_tag
            if self._settings.add_remote_addr:
                pairs = [*pairs, (self._settings.remote_addr_key, address)]
            by_tag.setdefault(tag or self._own_tag, []).append(pack_entry(now_ns, pairs))
        self._requests += 1
        ident = (context.node_id, context.name, self._started_ns, self._requests)
        for tag in by_tag:
            await context.chain.ready(tag)
        parts = [part for tag, packed in by_tag.items() for part in filtered(context, tag, b"".join(packed))]
        return chunks(context.name, parts, ident)

    @property
    def _own_tag(self) -> str:
        common = self._context.plugin.common
        return (common.tag if isinstance(common, InputCommon) else "") or self._context.name

    async def _answer(
        self, writer: asyncio.StreamWriter, status: int, body: str, *, keep_alive: bool
    ) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        if status < HTTPStatus.BAD_REQUEST:
            lines += [f"{name}: {value}" for name, value in self._settings.success_header]
        content = body.encode()
        if status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(content)}")
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        writer.write("\r\n".join([*lines, "\r\n"]).encode() + content)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_S):
                await writer.drain()


def health() -> str:
    """What a probe is told, in Fluent Bit's form."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    return json.dumps({"status": "ok", "message": "records are taken", "timestamp": f"{now}000Z"}) + "\n"


def client_of(request: Request, peer: str) -> str:
    """The address that a client has, or says it has: of a proxy's list the first, as Fluent Bit takes it."""
    first = request.headers.get("x-forwarded-for", "").partition(",")[0].strip()
    if first and len(first) <= MAX_ADDRESS_CHARACTERS:
        return first
    return peer.rpartition(":")[0] or peer


async def _body(reader: asyncio.StreamReader, request: Request, limit_bytes: int) -> bytes:
    """Raises BadBody, IncompleteReadError."""
    if request.body_bytes >= 0:
        return await reader.readexactly(request.body_bytes)
    pieces: list[bytes] = []
    total_bytes = 0
    while True:
        size_bytes = _chunk_bytes(await reader.readuntil(b"\r\n"))
        total_bytes += size_bytes
        if total_bytes > limit_bytes:
            raise BadBody(f"the body is larger than {limit_bytes} bytes")
        if not size_bytes:
            while (await reader.readuntil(b"\r\n")) != b"\r\n":
                pass  # trailers
            return b"".join(pieces)
        pieces.append(await reader.readexactly(size_bytes))
        if await reader.readexactly(2) != b"\r\n":
            raise BadBody("a chunk of the body does not end where it says")


def _chunk_bytes(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if not 0 < len(size) <= 8 or not all(one in b"0123456789abcdefABCDEF" for one in size):
        raise BadBody("a chunk of the body has no length")
    return int(size, 16)


def make(settings: Settings, context: InputContext) -> Input:
    """Raises TlsFilesUnusable."""
    return Http(settings, context)

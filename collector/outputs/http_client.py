"""Requests of the outputs that speak HTTP/1.1: kept connections, TLS, a proxy; and what an answer means.

An own client, because aiohttp takes 17 MiB and has connections, TLS and timeouts
of its own beside those that the net.* and tls.* keys set up here.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector import compression
from collector.config.kinds import Kind
from collector.config.schema import boolean, integer, key, repeated, seconds, text
from collector.outputs.connector import Connector, NetworkSettings, ProtocolError, sentence
from collector.outputs.http_response import Response, ResponseReader
from collector.outputs.link import ConnectionEnded, Link
from collector.outputs.parts import TooLarge, in_halves
from collector.outputs.pool import Pool
from collector.outputs.proxy import Proxy, environment_proxy, proxy_kind
from collector.outputs.resolver import Endpoint
from collector.outputs.text import quoted
from collector.plugin import Connections, DeliveryError, Rejected
from collector.version import version

if TYPE_CHECKING:
    from collector.delivery.chunk import Chunk

# Chunks on their way at the same time, each on a connection of its own: a server takes its time to answer.
DELIVERIES = 4

# A server that asks to be left alone (Retry-After) is, but not for longer.
LONGEST_PAUSE_S = 300.0

# What is kept of an answer where only its status and some words count.
ANSWER_BYTES = 64 << 10

# What an answer's text may take in the log.
EXCERPT_CHARACTERS = 300

# Not now, but perhaps later (RFC 9110, RFC 6585).
_TRANSIENT = (408, 425, 429)
_TOO_LARGE = 413

Headers = Sequence[tuple[str, str]]
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_header_value(value: str) -> bool:
    """Whether it can stand in a header: it can't end the line."""
    return not any(one in value for one in "\r\n\0")


def _read_header(written: str) -> tuple[str, str]:
    name, *value = written.split(maxsplit=1)
    if not set(name) <= _TOKEN or not value or not is_header_value(value[0]):
        raise ValueError("expected the name of a header and its value, as in X-Scope team.")
    return name, value[0]


header_kind: Kind[tuple[str, str]] = Kind("name and value", _read_header, show=" ".join)


@dataclass(frozen=True)
class HttpSettings(NetworkSettings):
    """Keys of every output that speaks HTTP."""

    host: str = key("Host", text, default="127.0.0.1", help="Server's name or address.")
    port: int = key("Port", integer(1, 65535), default="80", help="Server's port.")
    user: str = key("http_User", text, default="", help="User for basic authentication.")
    password: str = key("http_Passwd", text, default="", help="Password of http_User.")
    response_timeout_s: float = key(
        "http.response_timeout",
        seconds,
        default="60",
        help="How long an answer may take; 0 is without limit.",
    )
    proxy: Proxy | None = key(  # noqa: RUF009
        "Proxy", proxy_kind, default=None, help="Proxy to connect through."
    )
    log_response_payload: bool = key(
        "log_response_payload",
        boolean,
        default="On",
        help="Whether an answer's text is logged when it refuses.",
    )

    def __post_init__(self) -> None:
        if self.password and not self.user:
            raise ValueError("has http_Passwd without http_User.")
        super().__post_init__()


@dataclass(frozen=True)
class HeaderSettings(HttpSettings):
    """The same, for outputs that send headers of one's own."""

    headers: tuple[tuple[str, str], ...] = key(
        "Header", repeated(header_kind), default=(), help="A header to send, as `Name value`."
    )


class HttpClient:
    """Sends requests to one server. Raises TlsFilesUnusable, and OperatorError for a bad HTTP_PROXY."""

    def __init__(
        self, settings: HttpSettings, log: logging.Logger, max_body_bytes: int = ANSWER_BYTES
    ) -> None:
        self.endpoint = Endpoint(settings.host, settings.port)
        self._settings = settings
        self._max_body_bytes = max_body_bytes
        self._proxy = settings.proxy
        if self._proxy is None and not settings.proxy_env_ignore:
            self._proxy = environment_proxy(os.environ, settings.host)
        self._connector = Connector(
            settings,
            self.endpoint,
            log,
            through=self._proxy.endpoint if self._proxy else None,
            tunnel=self._tunnel if self._proxy and settings.tls else None,
        )
        self._pool = Pool(settings, self._connector.open)
        self._paused_until_s = float("-inf")
        self._headers = [
            ("Host", _host_header(self.endpoint, settings.tls)),
            ("User-Agent", f"podwitness/{version()}"),
            ("Accept", "*/*"),
        ]
        if settings.user:
            token = base64.b64encode(f"{settings.user}:{settings.password}".encode()).decode()
            self._headers.append(("Authorization", f"Basic {token}"))
        if self._proxy and not settings.tls:
            self._headers += self._proxy.headers

    async def send(
        self, path: str, body: bytes, headers: Headers, *, method: str = "POST", compress: str = ""
    ) -> Response:
        """The answer, if it is one of success.

        Raises DeliveryError for trouble on the way and for answers that may be
        others later, Rejected for those that will not.
        """
        if compress:
            body = await asyncio.to_thread(compression.compress, body, compress)
            headers = [*headers, ("Content-Encoding", compress)]
        await self._wait_out_pause()
        try:
            response = await self._exchange(self._request(method, path, headers, len(body)), body)
        except (OSError, ProtocolError) as reason:
            raise DeliveryError(f"{self.endpoint} {sentence(reason)}") from reason
        self._judge(response)
        return response

    @property
    def connections(self) -> Connections:
        return self._pool.connections

    async def close(self) -> None:
        """Ends connections in good order."""
        await self._pool.close()

    def _request(self, method: str, path: str, headers: Headers, size: int) -> bytes:
        absolute = self._proxy and not self._settings.tls
        target = f"http://{self.endpoint}{path}" if absolute else path
        given = {name.lower() for name, _ in headers}
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._headers if name.lower() not in given]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {size}", "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape")

    async def _exchange(self, head: bytes, body: bytes) -> Response:
        link = await self._pool.take()
        kept = link.uses > 0
        reader = ResponseReader(self._max_body_bytes)
        try:
            return await self._exchange_over(link, reader, head, body)
        except ConnectionError:
            if not kept or reader.has_begun:
                raise
        # The server ended it while it was idle: nothing that a new connection would not mend.
        link = await self._pool.take_new()
        return await self._exchange_over(link, ResponseReader(self._max_body_bytes), head, body)

    async def _exchange_over(self, link: Link, reader: ResponseReader, head: bytes, body: bytes) -> Response:
        try:
            async with asyncio.timeout(self._settings.response_timeout_s or None):
                await link.send([head, body])
                response = await _receive(link, reader)
        except BaseException:
            link.close()
            raise
        if response.reusable:
            await self._pool.give_back(link)
        else:
            link.close()
        return response

    def _judge(self, response: Response) -> None:
        if response.is_success:
            return
        said = f"{self.endpoint} answered {response.status} {response.reason}".rstrip()
        if self._settings.log_response_payload and response.body:
            text = response.body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")
            said += f": {quoted(text[:EXCERPT_CHARACTERS])[1:-1]}"
        if response.status in _TRANSIENT or response.status >= 500:
            self._pause(response.headers.get("retry-after", ""))
            raise DeliveryError(said)
        if response.status < 400:
            raise DeliveryError(f"{said} (podwitness does not follow redirects)")
        raise TooLarge(said) if response.status == _TOO_LARGE else Rejected(said)

    def _pause(self, retry_after: str) -> None:
        wait_s = min(retry_after_s(retry_after, time.time()), LONGEST_PAUSE_S)
        if wait_s > 0:
            self._paused_until_s = asyncio.get_running_loop().time() + wait_s

    async def _wait_out_pause(self) -> None:
        await asyncio.sleep(max(0.0, self._paused_until_s - asyncio.get_running_loop().time()))

    async def _tunnel(self, link: Link) -> None:
        assert self._proxy is not None
        target = str(self.endpoint)
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in self._proxy.headers]
        await link.send(["\r\n".join([*lines, "", ""]).encode()])
        reader = ResponseReader(0)
        while not (status := reader.feed_head(await link.receive())):
            pass
        if not 200 <= status < 300:
            raise ProtocolError(f"is behind a proxy, {self._proxy.endpoint}, that answered {status}")


class HttpOutput(ABC):
    """Implements Output over a client. Up to `deliveries` chunks may be under way at the same time."""

    def __init__(
        self, settings: HttpSettings, log: logging.Logger, max_body_bytes: int = ANSWER_BYTES
    ) -> None:
        self._client = HttpClient(settings, log, max_body_bytes)
        self.deliveries = settings.deliveries(DELIVERIES)

    async def deliver(self, chunk: Chunk) -> None:
        """Returns when the server has said that it has the chunk. Raises DeliveryError, Rejected."""
        await in_halves(self._deliver, chunk)

    @abstractmethod
    async def _deliver(self, chunk: Chunk) -> None:
        """Sends it whole. Raises TooLarge, too."""

    @property
    def connections(self) -> Connections:
        return self._client.connections

    async def close(self) -> None:
        await self._client.close()


async def _receive(link: Link, reader: ResponseReader) -> Response:
    while True:
        try:
            data = await link.receive()
        except ConnectionEnded:
            if not reader.has_begun:
                raise
            return reader.end()
        response = reader.feed(data)
        if response is not None:
            return response


def retry_after_s(written: str, now_s: float) -> float:
    """Seconds that a Retry-After header asks for, by number or date; 0 for what is neither."""
    if written.isdecimal():
        return float(written[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(written).timestamp() - now_s)
    except (TypeError, ValueError):
        return 0.0


def last_of_each(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of headers with the same name the last (allow_duplicated_headers off)."""
    return list({name.lower(): (name, value) for name, value in headers}.values())


def _host_header(endpoint: Endpoint, tls: bool) -> str:
    if endpoint.port == (443 if tls else 80):
        return str(endpoint).rpartition(":")[0]
    return str(endpoint)

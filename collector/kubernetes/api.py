"""Requests to the API server or the kubelet: for an object, or for an answer that goes on for minutes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from collector.certificates import TlsFilesUnusable
from collector.kubernetes.api_errors import ApiRefused, ApiUnavailable
from collector.kubernetes.credentials import Token
from collector.kubernetes.objects import failure_of
from collector.outputs.connector import Connector, NetworkSettings, ProtocolError, sentence
from collector.outputs.http_response import Response, ResponseReader
from collector.outputs.link import Link
from collector.outputs.resolver import Endpoint
from collector.plugin import DeliveryError
from collector.version import version

# etcd takes objects of 1.5 MiB.
OBJECT_BYTES = 4 << 20
RECEIVE_BYTES = 64 << 10
# Of an answer that goes on for minutes. Its lines come one by one, and to wake up for each takes several
# times what is done with it: after the first one others may gather, unless enough of them came to pay for it.
STREAM_BYTES = 256 << 10
GATHER_S = 0.2
ENOUGH_BYTES = 64 << 10
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class ApiUrl:
    """Where the server is. `prefix` stands before every path (a proxy such as Rancher's)."""

    endpoint: Endpoint
    is_tls: bool
    prefix: str = ""

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{self.endpoint}{self.prefix}"


def read_url(written: str) -> ApiUrl:
    """Raises ValueError."""
    try:
        parts = urllib.parse.urlsplit(written)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}: expected https://host:port.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected https://host:port.")
    is_tls = parts.scheme == "https"
    return ApiUrl(Endpoint(parts.hostname, port or (443 if is_tls else 80)), is_tls, parts.path.rstrip("/"))


def kubelet_url(host: str, port: int) -> ApiUrl:
    return ApiUrl(Endpoint(host, port), is_tls=True)


class Api:
    """One server. Every request has its own connection: there are few, and a watch holds one for long."""

    def __init__(
        self,
        url: ApiUrl,
        settings: NetworkSettings,
        token: Token,
        log: logging.Logger,
    ) -> None:
        self.url = url
        self._settings = settings
        self._token = token
        self._log = log
        self._connector: Connector | None = None

    async def get(self, path: str, max_bytes: int = OBJECT_BYTES) -> bytes:
        """The answer's body. Raises ApiUnavailable, ApiRefused."""
        try:
            return await self._get(path, max_bytes)
        except ApiRefused as refused:
            if refused.status != _UNAUTHORIZED:
                raise
        # The kubelet may have replaced the token since it was read.
        self._token.forget()
        return await self._get(path, max_bytes)

    async def _get(self, path: str, max_bytes: int) -> bytes:
        reader = ResponseReader(max_bytes + 1)
        async with self._asked(path) as link:
            response = await self._receive(link, reader)
        if not response.is_success:
            raise _refused(response.status, response.body, response.reason)
        if len(response.body) > max_bytes:
            raise ApiUnavailable(f"answered with more than {max_bytes} bytes for {path}")
        return response.body

    async def lines(
        self, path: str, max_line_bytes: int = OBJECT_BYTES, *, silence_ends: bool = False
    ) -> AsyncGenerator[list[bytes], None]:
        """Lines of an answer as they come, until the server ends it: those that came together, one at least.

        `silence_ends`: so does silence, once the answer has begun. Raises ApiUnavailable, ApiRefused.
        """
        reader = ResponseReader(max_line_bytes + STREAM_BYTES)
        async with self._asked(path) as link:
            rest = bytearray()
            is_over = False
            while not is_over:
                try:
                    is_over = await self._feed(link, reader, STREAM_BYTES)
                except TimeoutError:
                    if not (silence_ends and reader.status):
                        raise
                    is_over = True
                if reader.status and not 200 <= reader.status < 300:
                    if reader.status == _UNAUTHORIZED:
                        self._token.forget()
                    raise await self._refusal(link, reader, is_over)
                body = reader.take_body()
                lines = _whole_lines(rest, body)
                if lines:
                    yield lines
                if len(rest) > max_line_bytes:
                    raise ApiUnavailable(f"sent a line of more than {max_line_bytes} bytes")
                if lines and len(body) < ENOUGH_BYTES and not is_over:
                    await asyncio.sleep(GATHER_S)

    async def _refusal(self, link: Link, reader: ResponseReader, is_over: bool) -> ApiRefused:
        while not is_over:
            is_over = await self._feed(link, reader, RECEIVE_BYTES)
        return _refused(reader.status, bytes(reader.take_body()), "")

    @contextlib.asynccontextmanager
    async def _asked(self, path: str) -> AsyncIterator[Link]:
        """A connection on which the request was sent."""
        head = await self._head(path)
        try:
            link = await self._connect().open()
        except (DeliveryError, TlsFilesUnusable) as reason:
            raise ApiUnavailable(f"is not there: {reason}") from None
        try:
            await link.send([head])
            yield link
        except (OSError, ProtocolError) as reason:
            raise ApiUnavailable(sentence(reason)) from None
        finally:
            link.close()

    def _connect(self) -> Connector:
        # Not at the start: the kubelet may not have mounted the certificates yet.
        if self._connector is None:
            self._connector = Connector(self._settings, self.url.endpoint, self._log)
        return self._connector

    async def _head(self, path: str) -> bytes:
        token = await self._token.value()
        lines = [
            f"GET {self.url.prefix}{path} HTTP/1.1",
            f"Host: {self.url.endpoint}",
            f"User-Agent: podwitness/{version()}",
            "Accept: application/json",
            "Connection: close",
        ]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")

    async def _receive(self, link: Link, reader: ResponseReader) -> Response:
        while True:
            try:
                data = await link.receive(RECEIVE_BYTES)
            except ConnectionError:
                if not reader.has_begun:
                    raise
                return reader.end()
            response = reader.feed(data)
            if response is not None:
                return response

    async def _feed(self, link: Link, reader: ResponseReader, most: int) -> bool:
        """Whether that was the end."""
        try:
            return reader.feed(await link.receive_all(most)) is not None
        except ConnectionError:
            # A server that goes down ends a watch anywhere.
            if not reader.status:
                raise
            return True


def _whole_lines(rest: bytearray, body: bytearray) -> list[bytes]:
    """Without empty ones; `rest` is the line that is not complete, before and after."""
    lines = []
    begin = 0
    with memoryview(body) as view:
        # split() would look at each byte; find() leaves it to memchr().
        while (end := body.find(b"\n", begin)) >= 0:
            rest += view[begin:end]
            lines.append(bytes(rest))
            rest.clear()
            begin = end + 1
        rest += view[begin:]
    return [line for line in lines if line and not line.isspace()]


def _refused(status: int, body: bytes, reason: str) -> ApiRefused:
    said = failure_of(body) or body[:200].decode("utf-8", "replace").strip() or reason or "no reason given"
    return ApiRefused(status, said)

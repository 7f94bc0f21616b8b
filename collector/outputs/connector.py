"""New connections to one receiver: name looked up, dialled, TLS; and what is said when that fails."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from collector.outputs.link import Link
from collector.outputs.pool import ConnectionSettings
from collector.outputs.resolver import Endpoint, Resolver
from collector.outputs.tls import TlsSessions, TlsSettings
from collector.plugin import DeliveryError


class ProtocolError(Exception):
    """The receiver refused, or said what the protocol does not allow; the connection is of no use."""


@dataclass(frozen=True)
class NetworkSettings(ConnectionSettings, TlsSettings):
    """Keys of every output that connects to a receiver."""

    def __post_init__(self) -> None:
        ConnectionSettings.__post_init__(self)
        TlsSettings.__post_init__(self)


class Connector:
    """Opens links to an endpoint. `begin` is what follows TLS (a handshake of the protocol's own).

    `through` is what is connected to in the endpoint's place (a proxy); then
    `tunnel` makes the way to the endpoint before TLS. Raises TlsFilesUnusable.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        endpoint: Endpoint,
        log: logging.Logger,
        *,
        through: Endpoint | None = None,
        tunnel: Callable[[Link], Awaitable[None]] | None = None,
        begin: Callable[[Link], Awaitable[None]] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._dialling = settings.dialling()
        self._resolver = Resolver(through or endpoint)
        self._tls = TlsSessions(settings, log) if settings.tls else None
        self._tunnel = tunnel
        self._begin = begin

    async def open(self) -> Link:
        """A new connection, ready for use. Raises DeliveryError."""
        timeout_s = self._dialling.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._open()
        except TimeoutError as reason:
            raise DeliveryError(f"{self.endpoint} did not accept a connection in {timeout_s:g} s") from reason
        except (OSError, ProtocolError) as reason:
            raise DeliveryError(f"can't connect to {self.endpoint}: it {sentence(reason)}") from reason

    async def _open(self) -> Link:
        addresses = await self._resolver.addresses()
        link = Link(await self._dialling.connect(addresses), self._dialling.silence_s)
        try:
            if self._tunnel:
                await self._tunnel(link)
            if self._tls:
                await link.start_tls(self._tls.context(), self._tls.server_name(self.endpoint.host))
            if self._begin:
                await self._begin(link)
        except BaseException:
            link.close()
            raise
        return link


def sentence(reason: Exception) -> str:
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

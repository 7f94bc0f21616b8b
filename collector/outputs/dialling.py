"""How a connection of an output is made: which addresses in which order, from where, how long it may take."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from collector.outputs.resolver import Address

# A receiver that neither reads nor answers for so long is gone; Fluentd waits for an ack as long. Holds where
# net.io_timeout is 0, which with Fluent Bit means for ever.
SILENCE_S = 190.0


def source(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address to connect from. Raises ValueError with a sentence."""
    try:
        return ipaddress.ip_address(written)
    except ValueError:
        raise ValueError(f"has a net.source_address {written!r} that is no IP address.") from None


@dataclass(frozen=True, slots=True)
class Dialling:
    """What the net.* keys say about connecting. `probes` are TCP options and their values; None: none."""

    timeout_s: float = 10.0
    silence_s: float = SILENCE_S
    source: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    family: int | None = None  # whose addresses come first
    probes: tuple[tuple[int, int], ...] | None = None

    def ordered(self, addresses: Sequence[Address]) -> list[Address]:
        """The addresses that can be used, in the order to be tried."""
        usable = list(addresses)
        if self.source is not None:
            wanted = socket.AF_INET if self.source.version == 4 else socket.AF_INET6
            usable = [one for one in usable if one[0] in (wanted, socket.AF_UNIX)]
        return sorted(usable, key=lambda one: self.family is not None and one[0] != self.family)

    async def connect(self, addresses: Sequence[Address]) -> socket.socket:
        """A non-blocking connection to the first address that answers. Raises OSError, TimeoutError."""
        failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        usable = self.ordered(addresses)
        for address in usable:
            try:
                # Each has its part of the time, so that one that never answers leaves some to the next.
                return await self._connect_one(address, self.timeout_s / len(usable))
            except OSError as reason:
                failure = reason
        raise failure

    async def _connect_one(self, address: Address, timeout_s: float) -> socket.socket:
        family, place = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if family != socket.AF_UNIX:
                self._set_options(sock)
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, place)
        except BaseException:
            sock.close()
            raise
        return sock

    def _set_options(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.probes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in self.probes:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        if self.source is not None:
            sock.bind((str(self.source), 0))

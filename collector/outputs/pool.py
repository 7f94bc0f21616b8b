"""Connections kept for the next chunk, as Fluent Bit's net.keepalive keys say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL

from collector.config.schema import boolean, integer, key, seconds, text
from collector.outputs.dialling import SILENCE_S, Dialling, source
from collector.outputs.link import Link
from collector.plugin import Connections


@dataclass(frozen=True)
class ConnectionSettings:
    """Keys of every output that connects somewhere. Times in seconds, 0 for none."""

    keepalive: bool = key("net.keepalive", boolean, default="On", help="Use a connection again.")
    idle_timeout_s: float = key(
        "net.keepalive_idle_timeout",
        seconds,
        default="30",
        help="Close a connection that was not used for so long; 0 keeps it.",
    )
    max_recycle: int = key(
        "net.keepalive_max_recycle",
        integer(minimum=0),
        default="2000",
        help="How many times a connection is used again; 0 is without limit.",
    )
    connect_timeout_s: float = key(
        "net.connect_timeout",
        seconds,
        default="10",
        help="How long connecting may take, TLS and handshake included.",
    )
    io_timeout_s: float = key(
        "net.io_timeout",
        seconds,
        default="0",
        help="How long a receiver may neither read nor answer; 0 stands for 190 seconds.",
    )
    max_connections: int = key(
        "net.max_worker_connections",
        integer(minimum=0),
        default="0",
        help="Most connections at the same time; 0: as many as the output sends chunks at a time.",
    )
    source_address: str = key(
        "net.source_address", text, default="", help="Own address to connect from; any where unset."
    )
    proxy_env_ignore: bool = key(
        "net.proxy_env_ignore",
        boolean,
        default="Off",
        help="Whether HTTP_PROXY and NO_PROXY of the environment are left alone by what speaks HTTP.",
    )
    prefer_ipv4: bool = key(
        "net.dns.prefer_ipv4", boolean, default="Off", help="Try a name's IPv4 addresses first."
    )
    prefer_ipv6: bool = key(
        "net.dns.prefer_ipv6", boolean, default="Off", help="Try a name's IPv6 addresses first."
    )
    tcp_keepalive: bool = key(
        "net.tcp_keepalive", boolean, default="Off", help="Let the kernel probe idle connections."
    )
    tcp_keepalive_time_s: int = key(
        "net.tcp_keepalive_time",
        integer(minimum=-1, maximum=32767),
        default="-1",
        help="Seconds of silence before the first probe; -1: the kernel's.",
    )
    tcp_keepalive_interval_s: int = key(
        "net.tcp_keepalive_interval",
        integer(minimum=-1, maximum=32767),
        default="-1",
        help="Seconds between probes without an answer; -1: the kernel's.",
    )
    tcp_keepalive_probes: int = key(
        "net.tcp_keepalive_probes",
        integer(minimum=-1, maximum=127),
        default="-1",
        help="Probes without an answer after which a connection is given up; -1: the kernel's.",
    )

    def __post_init__(self) -> None:
        if self.prefer_ipv4 and self.prefer_ipv6:
            raise ValueError("has both net.dns.prefer_ipv4 and net.dns.prefer_ipv6: keep one.")
        if self.source_address:
            source(self.source_address)

    def deliveries(self, most: int) -> int:
        """How many chunks may be sent at the same time: each has its own connection."""
        return min(most, self.max_connections or most)

    def dialling(self) -> Dialling:
        """How a connection is made."""
        return Dialling(
            timeout_s=self.connect_timeout_s,
            silence_s=self.io_timeout_s or SILENCE_S,
            source=source(self.source_address) if self.source_address else None,
            family=AF_INET if self.prefer_ipv4 else AF_INET6 if self.prefer_ipv6 else None,
            probes=self._probes() if self.tcp_keepalive else None,
        )

    def _probes(self) -> tuple[tuple[int, int], ...]:
        asked = (
            (TCP_KEEPIDLE, self.tcp_keepalive_time_s),
            (TCP_KEEPINTVL, self.tcp_keepalive_interval_s),
            (TCP_KEEPCNT, self.tcp_keepalive_probes),
        )
        return tuple((option, value) for option, value in asked if value > 0)


class Pool:
    """Idle connections, the last used first. `open_link` makes a new one.

    One timer looks after all of them: one for each use would be set and cancelled with each chunk.
    """

    def __init__(self, settings: ConnectionSettings, open_link: Callable[[], Awaitable[Link]]) -> None:
        self._settings = settings
        self._open = open_link
        self._idle: dict[Link, float] = {}  # and when they are given up, by the loop's clock
        self._lent: set[Link] = set()
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> Connections:
        busy = sum(not link.is_closed for link in self._lent)
        return Connections(busy + len(self._idle), busy)

    async def take(self) -> Link:
        """An idle connection (`uses` > 0), or a new one. Raises what opening raises."""
        if not self._idle:
            return await self.take_new()
        link, _ = self._idle.popitem()
        link.unwatch()
        self._lent.add(link)
        return link

    async def take_new(self) -> Link:
        """A connection that was not used before. Raises what opening raises."""
        link = await self._open()
        # Those that had an error are not given back.
        self._lent = {one for one in self._lent if not one.is_closed} | {link}
        return link

    async def give_back(self, link: Link) -> None:
        """After a use without error. A connection that had an error is closed by who had it."""
        self._lent.discard(link)
        link.uses += 1
        # Fluent Bit counts when a connection is handed back and closes it beyond the limit: limit + 1 uses.
        worn_out = 0 < self._settings.max_recycle < link.uses
        if not self._settings.keepalive or not link.reusable or worn_out:
            await link.finish()
            return
        timeout_s, loop = self._settings.idle_timeout_s, asyncio.get_running_loop()
        self._idle[link] = loop.time() + timeout_s
        if timeout_s and self._expiry is None:
            self._expiry = loop.call_later(timeout_s, self._drop_expired)
        link.watch(lambda: self._drop(link))

    def _drop_expired(self) -> None:
        """They stand in the order in which they were given back: the first is the next to be given up."""
        loop = asyncio.get_running_loop()
        self._expiry = None
        while self._idle:
            link, when_s = next(iter(self._idle.items()))
            if when_s > loop.time():
                self._expiry = loop.call_at(when_s, self._drop_expired)
                return
            self._drop(link)

    def _drop(self, link: Link) -> None:
        del self._idle[link]
        link.close()

    async def close(self) -> None:
        """Ends the idle connections in good order."""
        links = list(self._idle)
        self._idle.clear()
        if self._expiry:
            self._expiry.cancel()
        await asyncio.gather(*(link.finish() for link in links))

    def __len__(self) -> int:
        """Connections idle now."""
        return len(self._idle)

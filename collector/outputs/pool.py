"""Connections kept for the next chunk, as Fluent Bit's net.keepalive keys say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from collector.config.schema import boolean, integer, key, seconds
from collector.outputs.link import Link


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


class Pool:
    """Idle connections, the last used first. `open_link` makes a new one."""

    def __init__(self, settings: ConnectionSettings, open_link: Callable[[], Awaitable[Link]]) -> None:
        self._settings = settings
        self._open = open_link
        self._idle: dict[Link, asyncio.TimerHandle | None] = {}

    async def take(self) -> Link:
        """An idle connection (`uses` > 0), or a new one. Raises what opening raises."""
        if not self._idle:
            return await self._open()
        link, expiry = self._idle.popitem()
        if expiry:
            expiry.cancel()
        link.unwatch()
        return link

    async def give_back(self, link: Link) -> None:
        """After a use without error. A connection that had an error is closed by who had it."""
        link.uses += 1
        # Fluent Bit counts when a connection is handed back and closes it beyond the limit: limit + 1 uses.
        worn_out = 0 < self._settings.max_recycle < link.uses
        if not self._settings.keepalive or not link.reusable or worn_out:
            await link.finish()
            return
        timeout_s = self._settings.idle_timeout_s
        loop = asyncio.get_running_loop()
        self._idle[link] = loop.call_later(timeout_s, self._drop, link) if timeout_s else None
        link.watch(lambda: self._drop(link))

    def _drop(self, link: Link) -> None:
        expiry = self._idle.pop(link)
        if expiry:
            expiry.cancel()
        link.close()

    async def close(self) -> None:
        """Ends the idle connections in good order."""
        links = list(self._idle)
        for expiry in self._idle.values():
            if expiry:
                expiry.cancel()
        self._idle.clear()
        await asyncio.gather(*(link.finish() for link in links))

    def __len__(self) -> int:
        """Connections idle now."""
        return len(self._idle)

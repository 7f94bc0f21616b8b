"""Names to addresses, without making anything else wait for a name server that is silent.

asyncio's getaddrinfo uses the default thread pool: a few lookups that hang fill it,
and then positions are not written and files not read; at the end the process waits
for them. Here a lookup has a daemon thread, and there is one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass

Address = tuple[int, str | tuple[object, ...]]
"""Family, and what connect() takes."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect: a host and port, or the path of a UNIX socket."""

    host: str
    port: int
    unix_path: str = ""

    def __str__(self) -> str:
        if self.unix_path:
            return self.unix_path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Resolver:
    """The addresses of one endpoint, looked up anew for each connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lookup: asyncio.Future[list[Address]] | None = None

    async def addresses(self) -> list[Address]:
        """In the order to be tried. Raises socket.gaierror; waits as long as the name server takes."""
        if self._endpoint.unix_path:
            return [(socket.AF_UNIX, self._endpoint.unix_path)]
        with contextlib.suppress(socket.gaierror):
            return _look_up(self._endpoint, socket.AI_NUMERICHOST)
        if self._lookup is None:
            self._begin()
        assert self._lookup is not None
        return await asyncio.shield(self._lookup)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        lookup = self._lookup = loop.create_future()
        lookup.add_done_callback(self._end)

        def work() -> None:
            found: list[Address] | socket.gaierror
            try:
                found = _look_up(self._endpoint)
            except socket.gaierror as reason:
                found = reason
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_settle, lookup, found)

        threading.Thread(target=work, name=f"resolve {self._endpoint.host}", daemon=True).start()

    def _end(self, lookup: asyncio.Future[list[Address]]) -> None:
        self._lookup = None
        if not lookup.cancelled():
            lookup.exception()  # seen here, should everybody who asked be gone


def _settle(lookup: asyncio.Future[list[Address]], found: list[Address] | socket.gaierror) -> None:
    if lookup.cancelled():
        return
    if isinstance(found, socket.gaierror):
        lookup.set_exception(found)
    else:
        lookup.set_result(found)


def _look_up(endpoint: Endpoint, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]

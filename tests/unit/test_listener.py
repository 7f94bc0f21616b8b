"""The listening socket: places that can't be had, sockets left behind, the bound of clients."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path

import pytest

from collector.inputs.listener import Listener, Unlistenable, listen, listen_unix

LOG = logging.getLogger("test")


def test_a_place_that_is_taken() -> None:
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(
            Unlistenable, match=rf"127\.0\.0\.1:{port} can't be listened at: Address already in use"
        ):
            listen("127.0.0.1", port)
    with listen("::1", 0) as sock:
        assert sock.family == socket.AF_INET6
    with pytest.raises(Unlistenable, match="can't be listened at"):
        listen("not an address", 1)


def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "forward.sock")
    with listen_unix(path, 0o660):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        with pytest.raises(Unlistenable, match="Address already in use"):
            listen_unix(path, None)
    listen_unix(path, None).close()  # nobody listens any more
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(Unlistenable):
        listen_unix(str(file), None)
    assert file.read_text() == "kept"


def test_more_clients_than_there_may_be() -> None:
    refused: list[str] = []
    served: list[str] = []

    async def scenario() -> None:
        stop, full = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
            served.append(address)
            if len(served) == 2:
                full.set()
            assert await reader.read() == b""

        sock = listen("127.0.0.1", 0)
        place = sock.getsockname()
        listener = Listener(sock, serve, tls=None, max_clients=2, refuse=refused.append, log=LOG)
        running = asyncio.create_task(listener.run(stop))
        clients = [await asyncio.open_connection(*place) for _ in range(2)]
        await asyncio.wait_for(full.wait(), 10)
        reader, writer = await asyncio.open_connection(*place)
        assert await reader.read() == b""
        writer.close()
        assert (refused, listener.clients) == (["connections"], 2)
        for _, writer in clients:
            writer.close()
        stop.set()
        await running
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*place)

    asyncio.run(scenario())
    assert len(served) == 2

"""One connection: everything is written, silence ends, an idle one is watched."""

from __future__ import annotations

import asyncio
import socket

import pytest

from collector.outputs.link import ConnectionEnded, Link


async def pair(silence_s: float = 20) -> tuple[Link, socket.socket]:
    own, other = socket.socketpair()
    own.setblocking(False)
    other.setblocking(False)
    return Link(own, silence_s), other


def test_all_buffers_arrive_in_order_however_small_the_pieces() -> None:
    async def scenario() -> None:
        link, other = await pair()
        buffers = [bytes([number]) * size for number, size in enumerate((1, 0, 300_000, 7, 1 << 20))]
        sending = asyncio.create_task(link.send(buffers))
        received = bytearray()
        while len(received) < sum(map(len, buffers)):
            received += await asyncio.get_running_loop().sock_recv(other, 50_000)
        await sending
        assert received == b"".join(buffers)
        link.close()
        other.close()

    asyncio.run(scenario())


def test_a_receiver_that_does_not_read_or_answer_is_given_up() -> None:
    async def scenario() -> None:
        link, other = await pair(silence_s=0.05)
        with pytest.raises(TimeoutError):
            await link.receive()
        with pytest.raises(TimeoutError):
            await link.send([b"x" * (64 << 20)])
        link.close()
        other.close()

    asyncio.run(scenario())


def test_the_end_of_the_connection_is_an_error() -> None:
    async def scenario() -> None:
        link, other = await pair()
        other.close()
        with pytest.raises(ConnectionEnded):
            await link.receive()
        with pytest.raises(BrokenPipeError):
            await link.send([b"x"])
        link.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("said", [b"", b"?"])
def test_an_idle_link_notices_the_end_and_what_nobody_asked_for(said: bytes) -> None:
    async def scenario() -> None:
        link, other = await pair()
        ended = asyncio.Event()
        link.watch(ended.set)
        await asyncio.sleep(0)
        assert not ended.is_set()
        if said:
            other.send(said)
        else:
            other.close()
        async with asyncio.timeout(20):
            await ended.wait()
        link.close()
        other.close()

    asyncio.run(scenario())


def test_finish_waits_until_the_other_end_has_read_everything() -> None:
    async def scenario() -> None:
        link, other = await pair()
        await link.send([b"last words"])
        other.send(b"never read")
        finishing = asyncio.create_task(link.finish())
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(other, 100) == b"last words"
        assert await loop.sock_recv(other, 100) == b""
        assert not finishing.done()
        other.close()
        await finishing

    asyncio.run(scenario())

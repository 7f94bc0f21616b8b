"""Kept connections: how often they are used, and when they are ended (Fluent Bit's net.keepalive keys)."""

from __future__ import annotations

import asyncio
import socket

import pytest

from collector.outputs.link import Link
from collector.outputs.pool import ConnectionSettings, Pool
from tests.polling import until_so


class Opener:
    """Opens links to sockets that it keeps."""

    def __init__(self) -> None:
        self.others: list[socket.socket] = []

    async def __call__(self) -> Link:
        own, other = socket.socketpair()
        own.setblocking(False)
        self.others.append(other)
        other.shutdown(socket.SHUT_WR)  # so that nobody waits for the other end at the end
        return Link(own)


class QuietOpener(Opener):
    async def __call__(self) -> Link:
        own, other = socket.socketpair()
        own.setblocking(False)
        other.setblocking(False)
        self.others.append(other)
        return Link(own)


def test_the_last_used_is_the_first_taken() -> None:
    async def scenario() -> None:
        pool = Pool(ConnectionSettings(), QuietOpener())
        first, second = await pool.take(), await pool.take()
        await pool.give_back(first)
        await pool.give_back(second)
        assert (await pool.take(), await pool.take()) == (second, first)
        assert (first.uses, second.uses) == (1, 1)

    asyncio.run(scenario())


def test_connections_are_counted_until_they_are_closed() -> None:
    async def scenario() -> None:
        pool = Pool(ConnectionSettings(), QuietOpener())
        assert pool.connections == (0, 0)
        first, second = await pool.take(), await pool.take_new()
        assert pool.connections == (2, 2)
        await pool.give_back(first)
        assert pool.connections == (2, 1)
        second.close()  # it had an error
        assert pool.connections == (1, 0)
        assert await pool.take() is first
        assert pool.connections == (1, 1)
        await pool.give_back(first)
        await pool.close()
        assert pool.connections == (0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("max_recycle", "uses"), [(1, 2), (3, 4), (0, None)])
def test_a_link_has_its_recycles_and_one_use_more(max_recycle: int, uses: int | None) -> None:
    async def scenario() -> None:
        opener = QuietOpener()
        pool = Pool(ConnectionSettings(max_recycle=max_recycle), opener)
        for other_uses in range(1, 12):
            link = await pool.take()
            if len(opener.others) > 1:
                assert other_uses - 1 == uses
                return
            if uses == other_uses:
                opener.others[0].close()
            await pool.give_back(link)
        assert uses is None

    asyncio.run(scenario())


def test_without_keepalive_nothing_is_kept() -> None:
    async def scenario() -> None:
        pool = Pool(ConnectionSettings(keepalive=False), Opener())
        link = await pool.take()
        await pool.give_back(link)
        assert len(pool) == 0

    asyncio.run(scenario())


def test_an_idle_link_is_dropped_when_its_receiver_ends() -> None:
    async def scenario() -> None:
        opener = QuietOpener()
        pool = Pool(ConnectionSettings(), opener)
        await pool.give_back(await pool.take())
        assert len(pool) == 1
        opener.others[0].close()
        async with asyncio.timeout(20):
            while len(pool):  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0)
        assert (await pool.take()).uses == 0

    asyncio.run(scenario())


def test_close_ends_idle_links() -> None:
    async def scenario() -> None:
        opener = QuietOpener()
        pool = Pool(ConnectionSettings(), opener)
        await pool.give_back(await pool.take())
        closing = asyncio.create_task(pool.close())
        assert await asyncio.get_running_loop().sock_recv(opener.others[0], 10) == b""
        opener.others[0].close()
        await closing
        assert len(pool) == 0

    asyncio.run(scenario())


def test_idle_links_are_dropped_one_after_the_other() -> None:
    async def scenario() -> None:
        pool = Pool(ConnectionSettings(idle_timeout_s=0.2), QuietOpener())
        first, second, third = [await pool.take() for _ in range(3)]
        loop = asyncio.get_running_loop()
        left: list[tuple[int, float]] = []
        await pool.give_back(first)
        await pool.give_back(second)
        began_s = loop.time()
        await asyncio.sleep(0.1)
        await pool.give_back(third)
        while len(pool):
            before = len(pool)
            await until_so(lambda: len(pool) != before, every_s=0.005)  # noqa: B023
            left.append((len(pool), loop.time() - began_s))
        assert [count for count, _ in left][-2:] == [1, 0]
        assert left[-1][1] >= 0.3
        assert left[-2][1] >= 0.2
        # The timer is set again by who is given back next.
        await pool.give_back(await pool.take())
        await until_so(lambda: not len(pool))

    asyncio.run(scenario())

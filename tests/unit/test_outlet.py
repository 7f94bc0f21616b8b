"""An output's share, and what is said of its failures."""

from __future__ import annotations

import asyncio
import logging

import pytest

from collector.delivery.chunk import Chunk
from collector.delivery.lanes import Ticket
from collector.delivery.outlet import Outlet, Route


class Nowhere:
    async def deliver(self, chunk: Chunk) -> None: ...

    async def close(self) -> None: ...


class Several(Nowhere):
    deliveries = 4


def outlet(share_bytes: int = 100) -> Outlet:
    return Outlet(Route("out.0", Nowhere(), lambda tag: True), share_bytes, logging.getLogger("test"))


def test_an_output_says_how_many_deliveries_it_takes_at_once() -> None:
    assert Route("out.0", Nowhere(), lambda tag: True).deliveries == 1
    assert Route("out.0", Several(), lambda tag: True).deliveries == 4


def test_the_last_quarter_is_for_what_cannot_be_read_again() -> None:
    subject = outlet()
    assert subject.has_room(1000, durable=True)
    subject.size_bytes = 70
    assert [subject.has_room(5, durable=True), subject.has_room(6, durable=True)] == [True, False]
    assert [subject.has_room(30, durable=False), subject.has_room(31, durable=False)] == [True, False]


def test_failures_are_said_when_they_are_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    subject = outlet()
    for reason in ("refused", "refused", "silent", "refused"):
        subject.fails(reason)
    subject.works()
    subject.works()
    assert caplog.messages == ["out.0 can't deliver: refused", "out.0 delivers again"]


def test_no_delivery_begins_while_it_is_paused() -> None:
    async def scenario() -> None:
        subject = outlet()
        waiting = asyncio.create_task(subject.next())
        await asyncio.sleep(0)
        with subject.pausing():
            subject.lanes.push(Ticket(Chunk(b"i" * 16, "kube.a", b"x", 1, "tail.0", 0), 1, 1))
            subject.wake()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
        assert (await asyncio.wait_for(waiting, 20)).tag == "kube.a"

    asyncio.run(scenario())


def test_next_waits_for_work() -> None:
    async def scenario() -> None:
        subject = outlet()
        waiting = asyncio.create_task(subject.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        chunk = Chunk(b"i" * 16, "kube.a", b"x", 1, "tail.0", 0)
        subject.lanes.push(Ticket(chunk, 1, 1))
        subject.wake()
        assert (await waiting).chunk is chunk

    asyncio.run(scenario())


def ticket(tag: str) -> Ticket:
    return Ticket(Chunk(tag.encode() * 4, tag, b"x", 1, "tail.0", 0), 1, 1)


def test_one_is_woken_for_a_parcel_and_wakes_another_for_the_next() -> None:
    async def scenario() -> None:
        subject = outlet()
        waiting = [asyncio.create_task(subject.next()) for _ in range(4)]
        await asyncio.sleep(0)
        for tag in ("kube.a", "kube.b", "kube.c"):
            subject.lanes.push(ticket(tag))
        subject.wake()
        done, resting = await asyncio.wait(waiting, timeout=0.05)
        assert sorted(task.result().tag for task in done) == ["kube.a", "kube.b", "kube.c"]
        subject.lanes.push(ticket("kube.d"))
        subject.wake()
        assert (await resting.pop()).tag == "kube.d"

    asyncio.run(scenario())


def test_who_is_cancelled_when_its_turn_has_come_leaves_it_to_another() -> None:
    async def scenario() -> None:
        subject = outlet()
        first, second = (asyncio.create_task(subject.next()) for _ in range(2))
        await asyncio.sleep(0)
        subject.lanes.push(ticket("kube.a"))
        subject.wake()
        first.cancel()
        async with asyncio.timeout(20):
            assert (await second).tag == "kube.a"
        assert first.cancelled()

    asyncio.run(scenario())

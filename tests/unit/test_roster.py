"""Outputs that change while chunks are under way: collector.delivery.roster, by way of the router."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from collector.delivery.losses import LOSS_TAG
from collector.delivery.roster import Removed
from collector.delivery.spooling import Bounds
from collector.plugin import Rejected
from tests.unit.routing import House, Recorder, behind, chunk, never, refuse, route, routing
from tests.unit.spool_routing import hurry, spooled, to
from tests.unit.spooled import event


def test_a_changed_output_takes_over_what_was_not_delivered() -> None:
    async def scenario() -> None:
        before, after = Recorder(behave=refuse), Recorder()
        async with routing(route(before, retry_limit=None)) as house:
            for offset in range(5):
                await house.router.submit(chunk(b"%d" % offset, offset=offset))
            await before.wait_until(lambda: bool(before.tried))
            house.router.reroute(["out.0"], [route(after)], 20)
            await after.wait_until(lambda: after.entries == b"01234")
            await house.router.drain(20)
        assert before.accepted == []
        assert before.closed
        assert [position.offset for position in house.positions][-1] == 4

    asyncio.run(scenario())


def test_what_is_being_sent_is_finished_by_the_output_that_sends_it() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        before, after = Recorder(behave=behind(gate)), Recorder()
        async with routing(route(before)) as house:
            await house.router.submit(chunk(b"1"))
            await before.wait_until(lambda: bool(before.tried))
            house.router.reroute(["out.0"], [route(after)], 20)
            await house.router.submit(chunk(b"2", tag="other"))
            await after.wait_until(lambda: after.entries == b"2")
            assert not before.closed
            gate.set()
            await house.router.drain(20)
        assert (before.entries, after.entries) == (b"1", b"2")
        assert before.closed

    asyncio.run(scenario())


def test_a_removed_output_delivers_what_it_was_given_and_no_more() -> None:
    async def scenario() -> None:
        gone, stays = Recorder(behave=refuse), Recorder()
        async with routing(route(gone, retry_limit=None), route(stays, "out.1")) as house:
            await house.router.submit(chunk(b"1", offset=1))
            await gone.wait_until(lambda: bool(gone.tried))
            house.router.reroute(["out.1"], [], 20)
            await house.router.submit(chunk(b"2", offset=2))
            gone.behave = None
            await gone.wait_until(lambda: gone.entries == b"1")
            await house.router.drain(20)
        assert (gone.entries, stays.entries) == (b"1", b"12")
        assert [position.offset for position in house.positions][-1] == 2

    asyncio.run(scenario())


def test_what_a_removed_output_can_not_deliver_in_time_is_told() -> None:
    async def scenario() -> None:
        gone, stays = Recorder(behave=never()), Recorder()
        async with routing(route(gone), route(stays, "out.1")) as house:
            await house.router.submit(chunk(b"1", offset=1))
            await house.router.submit(chunk(b"2", tag="b", offset=2))
            await gone.wait_until(lambda: bool(gone.tried))
            gone.behave = refuse
            house.router.reroute(["out.1"], [], 0.01)
            await stays.wait_until(lambda: any(sent.tag == LOSS_TAG for sent in stays.accepted))
        assert house.metrics.value("podwitness_lost_records_total", "rejected") >= 1

    asyncio.run(scenario())


def test_a_new_output_is_given_what_comes_from_now_on() -> None:
    async def scenario() -> None:
        first, second = Recorder(), Recorder()
        async with routing(route(first)) as house:
            await house.router.submit(chunk(b"1"))
            await first.wait_until(lambda: first.entries == b"1")
            house.router.reroute(["out.0", "out.1"], [route(second, "out.1")], 20)
            await house.router.submit(chunk(b"2"))
            await house.router.drain(20)
        assert (first.entries, second.entries) == (b"12", b"2")
        assert first.closed
        assert second.closed

    asyncio.run(scenario())


def test_an_output_that_comes_back_while_it_leaves_goes_on() -> None:
    async def scenario() -> None:
        before, after = Recorder(behave=refuse), Recorder()
        async with routing(route(before, retry_limit=None)) as house:
            await house.router.submit(chunk(b"1"))
            await before.wait_until(lambda: bool(before.tried))
            house.router.reroute([], [], 20)
            house.router.reroute(["out.0"], [route(after)], 20)
            await house.router.submit(chunk(b"2"))
            await house.router.drain(20)
        assert after.entries == b"12"

    asyncio.run(scenario())


def test_who_waits_for_room_waits_for_the_new_outputs() -> None:
    async def scenario() -> None:
        stuck, free = Recorder(behave=never()), Recorder()
        async with routing(route(stuck), total_bytes=4000) as house:
            await house.router.submit(chunk(b"x" * 3000))
            waiting = asyncio.create_task(house.router.submit(chunk(b"y" * 3000, tag="b")))
            await asyncio.sleep(0)
            house.router.reroute(["out.1"], [route(free, "out.1")], 20)
            await asyncio.wait_for(waiting, 20)
            await free.wait_until(lambda: free.entries == b"y" * 3000)

    asyncio.run(scenario())


def test_a_removed_output_refuses() -> None:
    with pytest.raises(Rejected, match="removed"):
        asyncio.run(Removed().deliver(chunk(b"1")))


def outputs_of(house: House) -> set[str]:
    return {outlet.name for outlet in house.router._roster.all}


def test_who_was_removed_has_no_share_of_what_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)

    async def scenario() -> None:
        bounds = Bounds(backlog_bytes=6000)
        async with spooled(tmp_path, to(Recorder()), total_bytes=2100, bounds=bounds) as house:
            await asyncio.sleep(0)  # it runs
            for number in range(1, 6):
                last = Recorder(behave=never())
                house.router.reroute([f"out.{number}"], [to(last, f"out.{number}")], 20)
                await house.until(lambda: outputs_of(house) == {f"out.{number}"})  # noqa: B023
            for number in range(20):
                await house.router.submit(event(number, f"kernel.{number}"))
            await house.until(lambda: house.metrics.value("podwitness_spool_chunks_up") == 6)

    asyncio.run(scenario())


def test_who_was_removed_leaves_when_what_it_had_was_written_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered while its row is being written: the row is what it waits for."""
    hurry(monkeypatch)

    async def scenario() -> None:
        gate = asyncio.Event()
        slow, stays = Recorder(behave=behind(gate)), Recorder()
        async with spooled(tmp_path, to(slow), to(stays, "out.1")) as house:
            spooling = house.router.spooling
            assert spooling is not None
            await house.router.submit(event(1))
            await slow.wait_until(lambda: bool(slow.tried))
            outlet = next(one for one in house.router._roster.all if one.name == "out.0")
            async with spooling._thread.using:
                spooling.secure(outlet, "kernel.process")
            real, writing, go_on = spooling._spool.write, threading.Event(), threading.Event()

            def write(*args: Any, **changes: Any) -> Any:
                writing.set()
                assert go_on.wait(20)
                return real(*args, **changes)

            monkeypatch.setattr(spooling._spool, "write", write)
            await asyncio.to_thread(writing.wait, 20)
            house.router.reroute(["out.1"], [], 1000)
            gate.set()
            await slow.wait_until(lambda: bool(slow.accepted))
            await asyncio.sleep(0)
            go_on.set()
            await house.until(lambda: outputs_of(house) == {"out.1"})

    asyncio.run(scenario())

"""What the loop asks of the reading thread is done in order, and what it raises comes back."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from collector.inputs.reading_thread import ReadingThread


class Portion:
    """Something large."""


def test_calls_are_done_in_order_in_one_thread() -> None:
    async def scenario() -> None:
        done: list[tuple[int, str]] = []

        def call(number: int) -> int:
            done.append((number, threading.current_thread().name))
            return number

        thread = ReadingThread[int]("tail.0")
        asked = [thread.ask(lambda number=number: call(number)) for number in range(50)]  # type: ignore[misc]
        assert await asyncio.gather(*asked) == list(range(50))
        assert done == [(number, "tail.0") for number in range(50)]
        thread.close()
        assert "tail.0" not in {one.name for one in threading.enumerate()}

    asyncio.run(scenario())


def test_what_a_call_raises_is_raised_where_it_was_asked_and_the_next_is_done() -> None:
    async def scenario() -> None:
        thread = ReadingThread[float]("tail.0")
        with pytest.raises(ZeroDivisionError):
            await thread.ask(lambda: 1 / 0)
        assert await thread.ask(lambda: 1 / 2) == 0.5
        thread.close()

    asyncio.run(scenario())


def test_nobody_is_told_who_does_not_wait_any_more() -> None:
    async def scenario() -> None:
        thread = ReadingThread[bool]("tail.0")
        may_go_on = threading.Event()
        waiting = asyncio.create_task(_await(thread.ask(may_go_on.wait)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        may_go_on.set()
        assert await thread.ask(may_go_on.is_set)
        thread.close()

    asyncio.run(scenario())


async def _await(told: asyncio.Future[bool]) -> None:
    await told


def test_the_thread_keeps_nothing_of_what_it_gave() -> None:
    async def scenario() -> None:
        thread = ReadingThread[object]("tail.0")
        portion = await thread.ask(Portion)
        gone = weakref.ref(portion)
        del portion
        await thread.ask(Portion)  # it has left the first one by now
        gc.collect()
        assert gone() is None
        thread.close()

    asyncio.run(scenario())

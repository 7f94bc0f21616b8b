"""The memory of clients together: who waits, and who has to go."""

from __future__ import annotations

import asyncio

from collector.inputs.admission import Admission, Holder


def enter(admission: Admission, put_out: list[int], number: int) -> Holder:
    return admission.enter(lambda: put_out.append(number))


def test_who_wants_more_waits_for_messages_that_will_be_taken() -> None:
    async def scenario() -> None:
        admission, put_out = Admission(100), list[int]()
        one, two = enter(admission, put_out, 1), enter(admission, put_out, 2)
        await admission.hold(one, 80, complete=True)
        waiting = asyncio.create_task(admission.hold(two, 30))
        await asyncio.sleep(0)
        assert not waiting.done()
        await admission.hold(one, 0)
        await waiting
        assert (admission.used_bytes, put_out) == (30, [])

    asyncio.run(scenario())


def test_a_client_that_leaves_makes_room() -> None:
    async def scenario() -> None:
        admission = Admission(100)
        one, two = enter(admission, [], 1), enter(admission, [], 2)
        await admission.hold(one, 80, complete=True)
        waiting = asyncio.create_task(admission.hold(two, 30))
        await asyncio.sleep(0)
        admission.leave(one)
        await waiting

    asyncio.run(scenario())


def test_of_pieces_only_the_largest_has_to_go() -> None:
    async def scenario() -> None:
        admission, put_out = Admission(100), list[int]()
        holders = [enter(admission, put_out, number) for number in range(3)]
        await admission.hold(holders[0], 30)
        await admission.hold(holders[1], 60)
        await admission.hold(holders[2], 50)
        assert put_out == [1]
        assert admission.used_bytes == 80

    asyncio.run(scenario())


def test_the_one_that_wants_more_may_be_the_largest() -> None:
    async def scenario() -> None:
        admission = Admission(100)

        def evict() -> None:
            task.cancel()

        holder = admission.enter(evict)
        await admission.hold(enter(admission, [], 1), 30)
        await admission.hold(holder, 60)
        task = asyncio.create_task(admission.hold(holder, 90))
        await asyncio.wait([task])
        assert task.cancelled()
        assert admission.used_bytes == 30

    asyncio.run(scenario())


def test_a_single_one_has_what_it_takes() -> None:
    async def scenario() -> None:
        admission = Admission(100)
        await admission.hold(enter(admission, [], 1), 500, complete=True)
        assert admission.used_bytes == 500

    asyncio.run(scenario())

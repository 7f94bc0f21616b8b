"""Router and spool together: what goes to disk, what comes back, in which order, and what is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from collector.delivery.chunk import Chunk, Worth, chunk_id
from collector.delivery.spool import FILE_NAME, PAGE_BYTES
from collector.delivery.spooling import Bounds
from tests.unit.routing import House, Recorder, never, refuse
from tests.unit.spool_routing import hurry, line, numbers, spooled, to, written
from tests.unit.spooled import copy, event, opened


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_events_that_a_dead_output_does_not_take_survive_the_process(tmp_path: Path) -> None:
    """Nothing of the first process is closed: its files are what a kill -9 leaves."""

    async def first() -> None:
        dead = Recorder(behave=refuse)
        async with spooled(tmp_path / "a", to(dead)) as house:
            for number in range(20):
                await house.router.submit(event(number))
            await house.until(lambda: written(house) >= 20_000)
            copy(tmp_path / "a", tmp_path / "b")

    async def second() -> Recorder:
        alive = Recorder()
        async with spooled(tmp_path / "b", to(alive)) as house:
            await alive.wait_until(lambda: len(numbers(alive)) >= 20)
            await house.router.submit(event(20))
            await alive.wait_until(lambda: len(numbers(alive)) >= 21)
            assert house.metrics.total("podwitness_lost_records_total") == 0
        return alive

    asyncio.run(first())
    alive = asyncio.run(second())
    assert numbers(alive) == list(range(21))
    spool = opened(tmp_path / "b")
    assert spool.contents() == []
    spool.close()


def test_what_was_tried_before_a_crash_keeps_its_id(tmp_path: Path) -> None:
    async def scenario() -> None:
        dead = Recorder(behave=refuse)
        async with spooled(tmp_path / "a", to(dead)) as house:
            for number in range(5):
                await house.router.submit(event(number))
                await asyncio.sleep(0.005)
            await house.until(lambda: written(house) >= 5000)
            copy(tmp_path / "a", tmp_path / "b")
        alive = Recorder()
        async with spooled(tmp_path / "b", to(alive)):
            await alive.wait_until(lambda: len(numbers(alive)) >= 5)
        tried = {one.id: one.entries for one in dead.tried}
        assert tried
        arrived = {one.id: one.entries for one in alive.accepted}
        assert tried.items() <= arrived.items()

    asyncio.run(scenario())


def test_nothing_is_written_while_outputs_work(tmp_path: Path) -> None:
    async def scenario() -> None:
        alive = Recorder()
        async with spooled(tmp_path, to(alive)) as house:
            for number in range(200):
                await house.router.submit(event(number))
                await asyncio.sleep(0)
            await house.router.drain(20)
            assert written(house) == 0
        assert numbers(alive) == list(range(200))

    asyncio.run(scenario())


def test_a_stream_leaves_the_disk_again_when_the_output_works(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Recorder(behave=refuse)
        async with spooled(tmp_path, to(output)) as house:
            for number in range(50):
                await house.router.submit(event(number))
                await asyncio.sleep(0.002)
            output.behave = None
            number, quiet = 50, 0
            while quiet < 100:
                before = written(house)
                await house.router.submit(event(number))
                await asyncio.sleep(0.001)
                number += 1
                after = written(house)
                quiet = quiet + 1 if after == before and before else 0
                assert number < 5000
            await house.router.drain(20)
        assert numbers(output) == list(range(number))

    asyncio.run(scenario())


def test_a_dead_output_holds_the_other_back_by_nothing(tmp_path: Path) -> None:
    """Both take the same streams. What the dead one misses waits on disk, files too, and comes in order."""

    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        async with spooled(tmp_path, to(dead), to(alive, "out.1"), total_bytes=40_000) as house:
            for number in range(1, 300):
                await house.router.submit(line(number))
                await house.router.submit(event(number))
            await alive.wait_until(lambda: len(numbers(alive)) >= 2 * 299)
            await house.until(lambda: bool(house.positions) and house.positions[-1].offset == 299_000)
            dead.behave = None
            await dead.wait_until(lambda: len(numbers(dead)) >= 2 * 299)
            await house.router.drain(20)
        for output in (dead, alive):
            assert numbers(output, "kube") == list(range(1, 300))
            assert numbers(output, "kernel") == list(range(1, 300))
        assert house.metrics.total("podwitness_lost_records_total") == 0

    asyncio.run(scenario())


def test_an_inputs_own_bound_is_not_filled_by_a_dead_output(tmp_path: Path) -> None:
    """Mem_Buf_Limit counts what waits for any output: for a dead one that goes to the spool."""

    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        limits = {"tail.0": 3000}  # one chunk
        async with spooled(tmp_path, to(dead), to(alive, "out.1"), source_limits=limits) as house:
            for number in range(1, 21):
                await asyncio.wait_for(house.router.submit(line(number)), 20)
                assert house.router.statistics().size_bytes <= 2 * 2024
            await alive.wait_until(lambda: numbers(alive) == list(range(1, 21)))
            await house.until(lambda: bool(house.positions) and house.positions[-1].offset == 20_000)
            dead.behave = None
            await dead.wait_until(lambda: numbers(dead) == list(range(1, 21)))

    asyncio.run(scenario())


def test_an_inputs_own_bound_is_not_filled_by_an_output_that_never_answers(tmp_path: Path) -> None:
    """Its receiver takes all and acknowledges nothing: no delivery has failed so far."""

    async def scenario() -> None:
        deaf, alive = Recorder(behave=never()), Recorder()
        limits = {"tail.0": 3000}  # one chunk
        async with spooled(tmp_path, to(deaf), to(alive, "out.1"), source_limits=limits) as house:
            for number in range(1, 21):
                await asyncio.wait_for(house.router.submit(line(number)), 20)
            await alive.wait_until(lambda: numbers(alive) == list(range(1, 21)))
            await house.until(lambda: bool(house.positions) and house.positions[-1].offset == 20_000)
        assert deaf.accepted == []

    asyncio.run(scenario())


def test_a_chunk_larger_than_what_was_asked_for_finds_an_inputs_own_bound(tmp_path: Path) -> None:
    """Room for the usual is left, none for the next chunk: its input is at its bound all the same."""

    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        limits = {"tail.0": 5_000_000}
        async with spooled(tmp_path, to(dead), to(alive, "out.1"), source_limits=limits) as house:
            for number in range(1, 8):
                large = replace(line(number), entries=number.to_bytes(4, "big") * 425_000)
                await asyncio.wait_for(house.router.submit(large), 20)
            await alive.wait_until(lambda: len(alive.accepted) == 7)
        assert [one.id for one in alive.accepted] == [chunk_id("kube.a", number) for number in range(1, 8)]

    asyncio.run(scenario())


def test_what_all_outputs_refuse_waits_at_an_inputs_own_bound(tmp_path: Path) -> None:
    """The file is its own buffer."""

    async def scenario() -> None:
        dead, deaf = Recorder(behave=refuse), Recorder(behave=refuse)
        async with spooled(tmp_path, to(dead), to(deaf, "out.1"), source_limits={"tail.0": 3000}) as house:
            await house.router.submit(line(1))
            waiting = asyncio.create_task(house.router.submit(line(2)))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            assert written(house) == 0
            dead.behave = deaf.behave = None
            await waiting

    asyncio.run(scenario())


def test_a_file_waits_and_is_not_copied_until_it_is_about_to_vanish(tmp_path: Path) -> None:
    async def scenario() -> None:
        dead = Recorder(behave=refuse)
        vanishing = False
        async with spooled(tmp_path, to(dead), total_bytes=4000) as house:
            await house.router.submit(line(1, lambda: vanishing))
            waiting = asyncio.create_task(house.router.submit(line(2, lambda: vanishing)))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            assert written(house) == 0
            assert not house.router.takes("tail.0", "kube.a", lambda: vanishing)
            vanishing = True
            await waiting
            assert house.router.takes("tail.0", "kube.a", lambda: vanishing)
            await house.until(lambda: [one.offset for one in house.positions] == [1000, 2000])
            copy(tmp_path, tmp_path / "b")
        spool = opened(tmp_path / "b")
        ((source, position),) = spool.positions()
        assert (source, position.offset) == ("tail.0", 2000)
        assert [one.chunks for one in spool.contents()] == [2]
        spool.close()

    asyncio.run(scenario())


def test_what_is_left_at_the_end_is_there_at_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        hung = Recorder(behave=never())
        async with spooled(tmp_path, to(hung)) as house:
            for number in range(8):
                await house.router.submit(event(number))
            await house.router.submit(line(1, lambda: True, tag="kube.gone"))
            await house.router.submit(line(1, lambda: False, tag="kube.there"))
            left = await house.router.drain(0.001)
            assert left.chunks == 1
            assert [one.path for one in house.positions] == ["/var/log/a"]
        assert house.metrics.total("podwitness_lost_records_total") == 0
        alive = Recorder()
        async with spooled(tmp_path, to(alive)):
            await alive.wait_until(lambda: len(numbers(alive)) >= 9)
        assert numbers(alive, "kernel") == list(range(8))
        assert numbers(alive, "kube") == [1]

    asyncio.run(scenario())


@pytest.mark.parametrize(("limit", "is_kept"), [(1 << 20, True), (12_000, False)])
def test_what_one_output_has_is_not_sent_to_it_again_after_a_stop(
    tmp_path: Path, limit: int, is_kept: bool
) -> None:
    """What the other lacks is written, if there is room for it without dropping anything."""

    async def scenario() -> None:
        dead, alive = Recorder(behave=refuse), Recorder()
        async with spooled(tmp_path, to(dead, limit=limit), to(alive, "out.1")) as house:
            for number in range(1, 11):
                await house.router.submit(line(number))
                await house.router.submit(line(number, tag="kube.rewritten"))
                await dead.wait_until(lambda: len(dead.tried) >= 2)
            await alive.wait_until(lambda: len(numbers(alive)) == 20)
            assert house.positions == []
            await house.router.drain(0.001)
            assert {one.offset for one in house.positions[-1:]} == ({10_000} if is_kept else set())
        assert house.metrics.total("podwitness_lost_records_total") == 0
        later = Recorder()
        async with spooled(tmp_path, to(later, limit=limit), to(alive, "out.1")) as house:
            if is_kept:
                await later.wait_until(lambda: len(numbers(later)) == 20)
            await house.router.drain(20)
        assert numbers(later, "kube.a") == (list(range(1, 11)) if is_kept else [])
        assert len(numbers(alive)) == 20

    asyncio.run(scenario())


def test_what_no_output_has_is_left_in_its_file_at_a_stop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with spooled(tmp_path, to(Recorder(behave=refuse)), to(Recorder(behave=never()), "b")) as house:
            for number in range(1, 11):
                await house.router.submit(line(number))
            await house.router.drain(0.001)
        assert written(house) == 0
        assert house.positions == []

    asyncio.run(scenario())


def test_submit_safely_returns_when_the_spool_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        hung = Recorder(behave=never())
        async with spooled(tmp_path, to(hung)) as house:
            assert await asyncio.wait_for(house.router.submit_safely(event(1)), 20)
            copy(tmp_path, tmp_path / "b")
        spool = opened(tmp_path / "b")
        assert [one.chunks for one in spool.contents()] == [1]
        spool.close()

    asyncio.run(scenario())


def test_an_output_of_another_name_takes_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with spooled(tmp_path, to(Recorder(behave=refuse), "out.0"), to(Recorder(), "out.1")) as house:
            for number in range(5):
                await house.router.submit(event(number))
            await house.router.drain(0.001)
        heir, known = Recorder(), Recorder()
        async with spooled(tmp_path, to(heir, "new"), to(known, "out.1")):
            await heir.wait_until(lambda: len(numbers(heir)) >= 5)
        assert numbers(known) == []
        async with spooled(tmp_path, to(Recorder(behave=refuse), "new")) as house:
            await house.router.submit(event(9))
            await house.router.drain(0.001)
        async with spooled(tmp_path, to(Recorder(), "other", matches=lambda tag: False)) as house:
            assert house.loss("output_removed") == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("chunks_up", [1, 3])
def test_memory_for_what_is_read_back_is_bounded(tmp_path: Path, chunks_up: int) -> None:
    async def scenario() -> None:
        dead = Recorder(behave=refuse)
        async with spooled(tmp_path, to(dead, limit=1 << 20)) as house:
            for number in range(100):
                await house.router.submit(event(number, f"t{number}", size=4000))
            await house.router.drain(0.001)
        async with spooled(tmp_path, to(dead), bounds=Bounds(10_000, chunks_up)) as house:
            await dead.wait_until(lambda: bool(dead.tried))
            for _ in range(50):
                await asyncio.sleep(0.002)
                assert house.router.statistics().chunks <= chunks_up
                assert house.router.statistics().size_bytes <= 10_000
            dead.behave = None
            await dead.wait_until(lambda: len(dead.accepted) >= 100)

    asyncio.run(scenario())


def test_a_receiver_that_is_slower_than_what_comes(tmp_path: Path) -> None:
    """An hour of it, in small: more comes than goes, then less; nothing is lost and all is in order."""

    async def scenario() -> None:
        async def slow(sent: Chunk) -> None:
            await asyncio.sleep(0.03)

        async def events(house: House) -> None:
            for number in range(1, 1500):
                await house.router.submit(event(number, worth=Worth.FLOW))
                await asyncio.sleep(0 if number < 1000 else 0.001)

        async def lines(house: House) -> None:
            for number in range(1, 500):
                await house.router.submit(line(number))

        output = Recorder(behave=slow)
        async with spooled(tmp_path, to(output), total_bytes=40_000) as house:
            await asyncio.gather(events(house), lines(house))
            await output.wait_until(lambda: len(numbers(output)) >= 1499 + 499)
            assert written(house) > 0
            assert house.metrics.total("podwitness_lost_records_total") == 0
        assert numbers(output, "kernel") == list(range(1, 1500))
        assert numbers(output, "kube") == list(range(1, 500))

    asyncio.run(scenario())


def spoil(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(b"\xa5" * (path.stat().st_size - PAGE_BYTES))


def test_a_spool_that_gets_damaged_loses_what_it_had_and_says_exactly_how_much(tmp_path: Path) -> None:
    async def scenario() -> None:
        dead = Recorder(behave=refuse)
        async with spooled(tmp_path, to(dead), bounds=Bounds(1000, 1)) as house:
            for number in range(400):
                await house.router.submit(event(number, f"t{number % 4}"))
                if number == 3:  # what is tried stays in memory
                    await dead.wait_until(lambda: len(dead.tried) >= 4)
            await house.until(lambda: written(house) >= 400_000)
            spool = house.router.spooling
            assert spool is not None
            database = spool._spool._database
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            database.execute("PRAGMA cache_size = 0").fetchall()
            spoil(tmp_path / FILE_NAME)
            dead.behave = None
            await house.until(lambda: house.loss("spool_damaged") > 0)
            await house.router.submit(event(99))
            await dead.wait_until(lambda: 99 in numbers(dead, "kernel"))
            await house.until(lambda: len(set(numbers(dead, "t"))) + house.loss("spool_damaged") == 400)

    asyncio.run(scenario())

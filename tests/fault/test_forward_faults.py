"""Router and forward output against a receiver that misbehaves in every way.

What must hold: every record arrives; a position moves only over what was acknowledged;
what arrives twice was in flight when something broke, and comes with the same id.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.delivery.chunk import Chunk, FileKey, Position, chunk_id
from collector.delivery.retry import Backoff
from collector.delivery.router import Route, Router
from collector.entries import pack_entry
from collector.outputs.forward import ForwardOutput, Settings
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.certificates import Authority
from tests.polling import until_so
from tests.receiver import Behaviour, Received, Receiver, receiving

LOG = logging.getLogger("test")


class Pipeline:
    """A router with one forward output, and what it did to positions."""

    def __init__(self, receiver: Receiver, **changes: object) -> None:
        made = dataclasses.replace(
            Settings(),
            port=receiver.port,
            require_ack_response=True,
            **({"io_timeout_s": 0.2} | changes),  # type: ignore[arg-type]
        )
        self.offsets: dict[str, int] = {}
        self.metrics = Metrics(TABLE)
        output = ForwardOutput(made, LOG)
        self.router = Router(
            [Route("forward.0", output, lambda tag: True, retry_limit=None)],
            metrics=self.metrics,
            log=LOG,
            record=self._record,
            backoff=Backoff(0.001, 0.01),
        )
        self.moved = asyncio.Event()

    def _record(self, source: str, position: Position) -> None:
        assert position.offset > self.offsets.get(position.path, 0)
        self.offsets[position.path] = position.offset
        self.moved.set()

    async def send(self, numbers: Iterable[int], files: int = 3) -> None:
        for number in numbers:
            path = f"/var/log/{number % files}"
            entries = pack_entry(10**18, [("n", number), ("log", "x" * 100)])
            position = Position(FileKey(1, number % files), path, number + 1)
            await self.router.submit(
                Chunk(chunk_id(path, number), path, entries, 1, "tail.0", time.monotonic_ns(), position)
            )

    async def settled(self) -> None:
        await self.until(lambda: self.router.statistics().chunks == 0)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.moved.clear()
                await self.moved.wait()


@asynccontextmanager
async def pipeline(receiver: Receiver, **changes: object) -> AsyncIterator[Pipeline]:
    running = Pipeline(receiver, **changes)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.router.run())
        yield running
        await running.router.drain(30)


def numbers(receiver: Receiver) -> list[int]:
    return [record[b"n"] for record in receiver.records]


def check(receiver: Receiver, sent: int, files: int = 3) -> None:
    """Nothing is missing; each file is in order; what came twice came as the same chunk."""
    assert set(numbers(receiver)) == set(range(sent))
    first_of_id: dict[str | None, list[int]] = {}
    for received in receiver.received:
        content = [record[b"n"] for _, record in received.entries]
        assert first_of_id.setdefault(received.chunk, content) == content
    once = [number for content in first_of_id.values() for number in content]
    assert Counter(once) == Counter(range(sent))
    for file in range(files):
        of_file = [number for number in once if number % files == file]
        assert of_file == sorted(of_file)


BAD = [one for one in Behaviour if one is not Behaviour.ACCEPT]


@pytest.mark.parametrize("behaviour", BAD, ids=lambda behaviour: behaviour.name)
def test_every_other_chunk_goes_wrong(behaviour: Behaviour) -> None:
    async def scenario() -> None:
        answers = 0

        def behave(received: Received) -> Behaviour:
            nonlocal answers
            answers += 1
            return behaviour if answers % 2 else Behaviour.ACCEPT

        async with receiving(Receiver(behave=behave)) as receiver, pipeline(receiver) as running:
            await running.send(range(30))
            await running.settled()
            check(receiver, 30)
            assert set(running.offsets.values()) == {28, 29, 30}

    asyncio.run(scenario())


def test_no_position_moves_before_the_ack() -> None:
    async def scenario() -> None:
        hang = Receiver(behave=lambda received: Behaviour.HANG)
        async with receiving(hang) as receiver, pipeline(receiver) as running:
            await running.send(range(6))
            await receiver.wait_until(lambda: len(receiver.received) >= 9)
            assert running.offsets == {}
            receiver.behave = lambda received: Behaviour.ACCEPT
            await running.until(lambda: len(running.offsets) == 3)
            check(receiver, 6)

    asyncio.run(scenario())


def test_an_ack_that_comes_too_late_is_not_taken_for_that_of_the_next_chunk() -> None:
    async def scenario() -> None:
        async with receiving(Receiver(ack_delay_s=0.3)) as receiver, pipeline(receiver) as running:
            await running.send(range(3), files=1)
            await receiver.wait_until(lambda: len(receiver.received) >= 3)
            receiver.ack_delay_s = 0
            await running.settled()
            check(receiver, 3, files=1)

    asyncio.run(scenario())


def test_a_receiver_that_resets_connections_as_soon_as_data_comes() -> None:
    async def scenario() -> None:
        async with receiving(Receiver(reset_on_data=True)) as receiver, pipeline(receiver) as running:
            await running.send(range(10))
            await receiver.wait_until(lambda: receiver.connections >= 8)
            receiver.reset_on_data = False
            await running.settled()
            check(receiver, 10)

    asyncio.run(scenario())


def test_a_receiver_that_stops_reading_in_the_middle_of_a_chunk() -> None:
    async def scenario() -> None:
        async with receiving() as receiver, pipeline(receiver) as running:
            receiver.reading.clear()
            entries = pack_entry(10**18, [("n", 0), ("log", "x" * (16 << 20))])
            position = Position(FileKey(1, 0), "/var/log/0", 1)
            await running.router.submit(Chunk(b"i" * 16, "/var/log/0", entries, 1, "tail.0", 0, position))
            await receiver.wait_until(lambda: receiver.connections >= 3)
            assert running.offsets == {}
            receiver.reading.set()
            await running.settled()
            check(receiver, 1, files=1)

    asyncio.run(scenario())


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_a_receiver_that_dies_and_comes_back_again_and_again(tmp_path: Path, with_tls: bool) -> None:
    authority = Authority.make(tmp_path) if with_tls else None
    context: ssl.SSLContext | None = authority.server_context() if authority else None
    changes: dict[str, object] = {"tls": True, "ca_file": str(authority.certificate)} if authority else {}

    async def scenario() -> None:
        async with receiving(tls=context) as receiver, pipeline(receiver, **changes) as running:
            for life in range(1, 5):
                await running.send(range((life - 1) * 200, life * 200))
                await receiver.wait_until(lambda: len(receiver.records) >= life * 100)  # noqa: B023
                await receiver.stop()
                await asyncio.sleep(0.02)
                await receiver.start(tls=context, port=receiver.port)
            await running.settled()
            check(receiver, 800)
            assert max(running.offsets.values()) == 800
            duplicates = len(receiver.received) - len({one.chunk for one in receiver.received})
            assert duplicates <= 4 * 4  # deaths times deliveries under way

    asyncio.run(scenario())


def test_a_receiver_that_is_not_there_yet() -> None:
    async def scenario() -> None:
        receiver = Receiver()
        await receiver.start()
        await receiver.stop()
        async with pipeline(receiver) as running:
            await running.send(range(50))
            retries = "fluentbit_output_retries_total"
            await until_so(lambda: running.metrics.value(retries, "forward.0") >= 5)
            await receiver.start(port=receiver.port)
            await running.settled()
            check(receiver, 50)
        await receiver.stop()

    asyncio.run(scenario())


@settings(max_examples=settings().max_examples * 5 // 12)
@given(st.lists(st.sampled_from(list(Behaviour)), max_size=25), st.integers(1, 4), st.integers(1, 40))
def test_any_sequence_of_faults(behaviours: list[Behaviour], files: int, sent: int) -> None:
    async def scenario() -> None:
        ahead = iter(behaviours)
        receiver = Receiver(behave=lambda received: next(ahead, Behaviour.ACCEPT))
        async with receiving(receiver), pipeline(receiver, io_timeout_s=0.05) as running:
            await running.send(range(sent), files)
            await running.settled()
            check(receiver, sent, files)
            assert max(running.offsets.values()) == sent

    asyncio.run(scenario())

"""Chunks in flight keep their ids, and their records, over a kill -9 and over a stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent, get
from tests.agent.test_run_lifecycle import free_port
from tests.polling import until_so
from tests.receiver import Behaviour, Received, Receiver, receiving

T = "2026-01-01T00:00:00Z stdout F "
ENDS = [signal.SIGKILL, signal.SIGTERM]


class Keeper:
    """A receiver that acks the first chunks, and keeps the others without a word until `opens`."""

    def __init__(self, acked: int) -> None:
        self._acked = acked
        self.receiver = Receiver(behave=self._behave)
        self._before = 0

    def _behave(self, received: Received) -> Behaviour:
        self._acked -= 1
        return Behaviour.ACCEPT if self._acked >= 0 else Behaviour.HANG

    def opens(self) -> None:
        self._before = len(self.receiver.received)
        self.receiver.behave = lambda received: Behaviour.ACCEPT

    @property
    def before(self) -> list[Received]:
        return self.receiver.received[: self._before]

    @property
    def after(self) -> list[Received]:
        return self.receiver.received[self._before :]

    def has(self, count: int) -> bool:
        return len(self.receiver.received) == count

    def all_came(self, texts: set[bytes]) -> bool:
        return texts <= set(texts_of(self.after))

    def check(self) -> int:
        """Who throws away what has an id that it has seen has every record once; how many it threw away.

        Under one id come the same records, with the same times.
        """
        packed: dict[str | None, bytes] = {}
        for received in self.receiver.received:
            assert packed.setdefault(received.chunk, received.packed) == received.packed
        firsts = {received.chunk: received for received in reversed(self.receiver.received)}
        texts = texts_of(list(firsts.values()))
        assert sorted(texts) == sorted(set(texts))
        again = [one for one in self.after if one.chunk in {known.chunk for known in self.before}]
        return len(texts_of(again))


def texts_of(received: list[Received]) -> list[bytes]:
    return [record[b"log"] for one in received for _, record in one.entries]


class Node:
    """A folder of logs, and a configuration."""

    def __init__(self, folder: Path, *keepers: Keeper, tail: str = "", filters: str = "") -> None:
        self.folder = folder
        self.http = free_port()
        outputs = "".join(
            f"[OUTPUT]\n    Name forward\n    Match *\n    Port {keeper.receiver.port}\n"
            "    Require_ack_response On\n    Retry_Limit no_limits\n"
            for keeper in keepers
        )
        self.config = folder / "podwitness.conf"
        self.config.write_text(
            "[SERVICE]\n    Flush 0.05\n    Grace 1\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n"
            f"    HTTP_Port {self.http}\n"
            f"[INPUT]\n    Name tail\n    Path {folder}/*.log\n    Tag k.*\n    DB {folder}/tail.db\n"
            f"    Read_from_Head On\n    Rotate_Wait 1\n{tail}{filters}{outputs}"
        )
        self._number = 0

    def lines(self, count: int, form: str = "n={}\n") -> str:
        first, self._number = self._number, self._number + count
        return "".join(form.format(number) for number in range(first, self._number))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        with Agent("-c", str(self.config)) as agent:
            await asyncio.to_thread(agent.wait_until_running)
            yield agent

    def taken(self) -> int:
        """Records that the agent has read."""
        return int(metrics(self.http)["input"]["tail.0"]["records"])

    async def write(self, name: str, text: str, records: int) -> None:
        """Returns when they are read: they are a portion."""
        before = await asyncio.to_thread(self.taken)
        with (self.folder / name).open("a") as log:
            log.write(text)
        await until_so(lambda: self.taken() >= before + records)


def metrics(port: int) -> Any:
    return json.loads(get(port, "/api/v1/metrics")[1])


def run(scene: Callable[..., Any], folder: Path, *acked: int, **keys: Any) -> tuple[Keeper, ...]:
    """A scene between receivers that ack so many chunks."""

    async def play() -> tuple[Keeper, ...]:
        keepers = tuple(Keeper(count) for count in acked)
        async with contextlib.AsyncExitStack() as stack:
            for keeper in keepers:
                await stack.enter_async_context(receiving(keeper.receiver))
            await scene(Node(folder, *keepers, **keys), *keepers)
        return keepers

    return asyncio.run(play())


async def end_life(agent: Agent, end: signal.Signals, *keepers: Keeper) -> None:
    await asyncio.to_thread(agent.stop, end)
    for keeper in keepers:
        keeper.opens()


async def come_again(node: Node, texts: set[bytes], *keepers: Keeper) -> None:
    """A second life, until each receiver has these records."""
    async with node.running() as agent:
        for keeper in keepers:
            await keeper.receiver.wait_until(partial(keeper.all_came, texts))
        await asyncio.to_thread(agent.stop)


def numbers(first: int, end: int, form: str = "n={}") -> set[bytes]:
    return {form.format(number).encode() for number in range(first, end)}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("acked", [0, 1])
def test_more_was_written_meanwhile(tmp_path: Path, end: signal.Signals, acked: int) -> None:
    async def scene(node: Node, keeper: Keeper) -> None:
        async with node.running() as agent:
            for _ in range(5):
                await node.write("a.log", node.lines(100), 100)
            await keeper.receiver.wait_until(partial(keeper.has, acked + 1))
            await end_life(agent, end, keeper)
        with (tmp_path / "a.log").open("a") as log:
            log.write(node.lines(50))
        await come_again(node, numbers(acked * 100, 550), keeper)

    (keeper,) = run(scene, tmp_path, acked)
    assert keeper.check() >= 100


@pytest.mark.parametrize("end", ENDS)
def test_what_was_joined_is_joined_again(tmp_path: Path, end: signal.Signals) -> None:
    async def scene(node: Node, keeper: Keeper) -> None:
        keeper.receiver.reading.clear()
        async with node.running() as agent:
            for _ in range(4):
                await node.write("a.log", node.lines(10, T + "n={}\n"), 10)
            keeper.receiver.reading.set()
            await keeper.receiver.wait_until(partial(keeper.has, 2))
            await end_life(agent, end, keeper)
        await come_again(node, numbers(10, 40), keeper)

    (keeper,) = run(scene, tmp_path, 1, tail="    multiline.parser cri\n")
    assert [len(one.entries) for one in keeper.before] == [10, 30]
    assert keeper.check() >= 30


@pytest.mark.parametrize("end", ENDS)
def test_the_log_was_rotated_meanwhile(tmp_path: Path, end: signal.Signals) -> None:
    async def scene(node: Node, keeper: Keeper) -> None:
        async with node.running() as agent:
            await node.write("a.log", node.lines(100), 100)
            await keeper.receiver.wait_until(partial(keeper.has, 1))
            await node.write("a.log", node.lines(10), 10)
            await end_life(agent, end, keeper)
        (tmp_path / "a.log").rename(tmp_path / "a.log.1")
        (tmp_path / "a.log").write_text(node.lines(10))
        await come_again(node, numbers(0, 120), keeper)

    (keeper,) = run(scene, tmp_path, 0)
    assert keeper.check() == 100


def test_the_log_was_copied_and_truncated_meanwhile(tmp_path: Path) -> None:
    async def scene(node: Node, keeper: Keeper) -> None:
        async with node.running() as agent:
            for _ in range(2):
                await node.write("a.log", node.lines(100), 100)
            await keeper.receiver.wait_until(partial(keeper.has, 2))
            await until_so(lambda: (tmp_path / "tail.db").exists() and committed(node) > 0)
            await end_life(agent, signal.SIGKILL, keeper)
        (tmp_path / "a.log.1").write_bytes((tmp_path / "a.log").read_bytes())
        (tmp_path / "a.log").write_text(node.lines(10))
        await come_again(node, numbers(100, 210), keeper)

    (keeper,) = run(scene, tmp_path, 1)
    assert keeper.check() == 100


def committed(node: Node) -> int:
    with contextlib.closing(sqlite3.connect(node.folder / "tail.db")) as database:
        return int(
            database.execute("SELECT coalesce(max(offset), 0) FROM podwitness_positions").fetchone()[0]
        )


@pytest.mark.parametrize("end", ENDS)
def test_each_of_two_outputs_gets_the_ids_that_it_had(tmp_path: Path, end: signal.Signals) -> None:
    async def scene(node: Node, live: Keeper, dead: Keeper) -> None:
        async with node.running() as agent:
            for number in range(1, 5):
                await node.write("a.log", node.lines(10), 10)
                await live.receiver.wait_until(partial(live.has, number))
            await dead.receiver.wait_until(partial(dead.has, 1))
            await end_life(agent, end, live, dead)
        with (tmp_path / "a.log").open("a") as log:
            log.write(node.lines(5))
        await come_again(node, numbers(0, 45), live, dead)

    live, dead = run(scene, tmp_path, 1000, 0)
    assert live.check() == 40
    assert dead.check() == 10


JAVA = "    multiline.parser cri, java\n"


@pytest.mark.parametrize("end", ENDS)
def test_records_of_several_lines(tmp_path: Path, end: signal.Signals) -> None:
    trace = T + "java.lang.Exception: {}\n" + T + "\tat a.b(C.java:1)\n"

    async def scene(node: Node, keeper: Keeper) -> None:
        async with node.running() as agent:
            await node.write("a.log", node.lines(3, trace), 2)  # the third is open
            await keeper.receiver.wait_until(partial(keeper.has, 1))
            await node.write("a.log", node.lines(3, trace), 3)
            await end_life(agent, end, keeper)
        with (tmp_path / "a.log").open("a") as log:
            log.write(node.lines(1, trace) + T + "end\n")
        texts = numbers(0, 7, "java.lang.Exception: {}\n\tat a.b(C.java:1)")
        await come_again(node, texts | {b"end"}, keeper)

    (keeper,) = run(scene, tmp_path, 0, tail=JAVA)
    assert keeper.check() == 2


REWRITE = "[FILTER]\n    Name rewrite_tag\n    Match k.*\n    Rule $log [05]$ other false\n"
GREP = "[FILTER]\n    Name grep\n    Match *\n    Exclude log [37]$\n"


@pytest.mark.parametrize("end", ENDS)
def test_what_filters_made_of_it(tmp_path: Path, end: signal.Signals) -> None:
    async def scene(node: Node, keeper: Keeper) -> None:
        async with node.running() as agent:
            for _ in range(3):
                await node.write("a.log", node.lines(20), 16)
            await keeper.receiver.wait_until(partial(keeper.has, 2))
            await end_life(agent, end, keeper)
        texts = {text for text in numbers(0, 60) if text[-1:] not in b"37"}
        await come_again(node, texts, keeper)

    (keeper,) = run(scene, tmp_path, 0, filters=REWRITE + GREP)
    assert sorted(one.tag == "other" for one in keeper.before) == [False, True]
    assert keeper.check() == 16


def test_a_second_kill_before_they_came_again(tmp_path: Path) -> None:
    async def scene(node: Node, keeper: Keeper) -> None:
        for life in (1, 2, 3):
            async with node.running() as agent:
                if life == 1:
                    await node.write("a.log", node.lines(100), 100)
                await keeper.receiver.wait_until(partial(keeper.has, life))
                await asyncio.to_thread(agent.stop, signal.SIGKILL)
            with (tmp_path / "a.log").open("a") as log:
                log.write(node.lines(10))
        keeper.opens()
        await come_again(node, numbers(0, 130), keeper)

    (keeper,) = run(scene, tmp_path, 0)
    assert len({one.chunk for one in keeper.before}) == 1
    assert keeper.check() == 100
